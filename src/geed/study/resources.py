"""What a job asks of a scheduler: memory, time and GPUs, by the work that it does and the attempt that it is. Imports no torch.

The one place where that is decided. Rules hand it on under Snakemake's standard names (`mem_mb`, `runtime` in minutes, `gpu`),
which every scheduler's profile maps to its own options. Each attempt after the first asks for more: a job that was killed for its
memory or its time has a chance at the next one. Training goes on from its side checkpoint, so no time is lost with it. Requests
are rounded up to few sizes, so that like jobs ask for the same and can share a SLURM array, which has the resources of its first.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from geed.study import work
from geed.study.plan import Plan

# MB of a process that has imported its packages (measured 180 to 320 without torch, 400 to 665 with it); compilers reserve more.
_LIGHT, _HEAVY, _CUDA = 1000, 1500, 3000
_SHORTEST = 20  # minutes that any job is given: a cluster's file system may take minutes to import a package
# Rates, each a third of what was measured or slower (docs/slurm.md): on a core, and on a GPU.
_SECONDS = {False: {"images": 2e-4, "gmac": 0.3, "numbers": 2e-3, "sets": 2.0}, True: {"images": 5e-5, "gmac": 3e-3, "sets": 2.0}}
_TRIES = 4  # trainings of a search by bisection


def of_training(plan: Plan, run: str) -> dict[str, int]:
    """Training one run with one seed."""
    found = work.training(plan.runs[run], work.images(plan.sets[plan.runs[run]["data"]]))
    return _asked(plan, found.amounts, _HEAVY + 2 * found.megabytes)


def of_search(plan: Plan, run: str) -> dict[str, int]:
    """Searching the weight of a run's objective: several trainings, one after another."""
    asked = of_training(plan, run)
    return asked | {"runtime": _TRIES * asked["runtime"]}


def of_measuring(plan: Plan, run: str) -> dict[str, int]:
    """Measuring one trained network."""
    sets = {name: work.images(settings) for name, settings in plan.sets.items()}
    found = work.measuring(plan.runs[run], plan.evaluations_of(run), plan.corruptions, sets)
    return _asked(plan, found.amounts, _HEAVY + 2 * found.megabytes)


def of_looking(plan: Plan, run: str) -> dict[str, int]:
    """Steps that look at a few networks of one data set: readings, explained networks, the overview."""
    data = work.images(plan.sets[plan.runs[run]["data"]])
    return {**_asked(plan, {}, _HEAVY + 4 * data.megabytes("train", "test")), "runtime": 4 * _SHORTEST}


def of_preparing(plan: Plan, name: str) -> dict[str, int]:
    """Reading a data set and writing its splits; it is in memory as it was published, as numbers and as bytes."""
    size = work.images(plan.sets[name]).megabytes()
    return {"mem_mb": math.ceil(_LIGHT + 6 * size), "runtime": _SHORTEST + math.ceil(size / 100), "gpu": 0}


def of_corrupting(plan: Plan, name: str) -> dict[str, int]:
    """Corrupting the test images of a data set, one version at a time."""
    size = work.images(plan.sets[name]).megabytes("test")
    versions = len(plan.corruptions["names"]) * len(plan.corruptions["severities"])
    return {"mem_mb": math.ceil(_LIGHT + 8 * size), "runtime": _SHORTEST + math.ceil(versions * size / 200), "gpu": 0}


def of_reading(plan: Plan, runs: Iterable[str] = ()) -> dict[str, int]:
    """Steps that read the tables of some runs: claims, figures, the page."""
    tables = sum(len(plan.run_seeds[run]) for run in runs)
    return {"mem_mb": _LIGHT + 3 * tables, "runtime": _SHORTEST + tables // 10, "gpu": 0}


def grown(asked: Mapping[str, int], attempt: int) -> dict[str, int]:
    """What the same job asks for at its first, second, … attempt, in the sizes that there are.

    >>> grown({"mem_mb": 1100, "runtime": 21, "gpu": 1}, 1), grown({"mem_mb": 1100, "runtime": 21, "gpu": 1}, 2)
    ({'mem_mb': 1500, 'runtime': 30, 'gpu': 1}, {'mem_mb': 3000, 'runtime': 60, 'gpu': 1})
    """
    memory, minutes = _size(asked["mem_mb"], 1000), _size(asked["runtime"], 30)
    return {"mem_mb": memory * attempt, "runtime": minutes * attempt, "gpu": asked["gpu"]}


def _size(wanted: int, least: int) -> int:
    """The next of `least` times 1, 1.5, 2, 3, 4, 6, 8, 12 and so on."""
    whole = least
    while wanted > 1.5 * whole:
        whole *= 2
    return whole if wanted <= whole else whole * 3 // 2


def _asked(plan: Plan, amounts: Mapping[str, float], megabytes: float) -> dict[str, int]:
    # `auto` asks for no GPU: on a cluster nobody knows what a node has until the job is there, and a job would wait for ever.
    gpu = plan.device == "cuda"
    seconds = sum(_SECONDS[gpu].get(name, 0.0) * amount for name, amount in amounts.items())
    memory = math.ceil(megabytes + _CUDA * gpu)
    return {"mem_mb": memory, "runtime": _SHORTEST + math.ceil(seconds / 60), "gpu": int(gpu)}


def directives(asked: Callable[[Any], Mapping[str, int]]) -> dict[str, Callable[..., int]]:
    """The keywords of a rule's `resources:`, from a function of the wildcards.

    >>> directives(lambda wildcards: {"mem_mb": 700, "runtime": 20, "gpu": 0})["mem_mb"](None, attempt=2)
    2000
    """

    def one(key: str) -> Callable[..., int]:
        return lambda wildcards, attempt: grown(asked(wildcards), attempt)[key]

    return {key: one(key) for key in ("mem_mb", "runtime", "gpu")}
