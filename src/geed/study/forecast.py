"""What a study will cost, from the records of jobs that ran: its jobs, their hours, memory and disk, by stage.

A job's seconds are taken as a sum of amounts of work (`geed.study.work`), each times a rate that is not negative; rates are
fitted to recorded jobs, by least squares of relative errors. How well that predicts is told by leaving each recorded run out,
fitting the rest, and predicting it. Peak memory and the size of outputs are fitted in the same way.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geed.study import work
from geed.study.plan import Plan

_BY_THEMSELVES = ("prepare", "corrupt", "train", "measure", "orbit", "explain", "readings")  # rules; all others read tables
STAGES = ("prepare", "corrupt", "search", "train", "measure", "look", "read")
_TRIES = 1.5  # of a search, times the logarithm of its grid: it bisects


@dataclass(frozen=True)
class Sample:
    """One recorded job.

    Attributes:
        rule: its rule.
        run: what is left out together: a run with all its seeds, or a data set.
        work: what its settings make it do.
        seconds: that it took, its start-up included.
        megabytes: its peak memory.
        written: megabytes of its outputs.
        gpu: the GPU that it used, or None.
    """

    rule: str
    run: str
    work: work.Work
    seconds: float
    megabytes: float
    written: float
    gpu: str | None


@dataclass(frozen=True)
class Fit:
    """Rates of one quantity.

    Attributes:
        rates: amount -> its rate; "each" is that of a job as such.
        error: a factor: nine of ten runs that were left out were predicted within it, to either side. NaN with fewer than three.
        jobs: recorded jobs.
        largest: amount -> the largest that was recorded.
    """

    rates: Mapping[str, float]
    error: float
    jobs: int
    largest: Mapping[str, float]

    def __call__(self, amounts: Mapping[str, float]) -> float:
        """The quantity of a job with these amounts."""
        return sum(rate * (1 if name == "each" else amounts.get(name, 0.0)) for name, rate in self.rates.items())

    def stretch(self, amounts: Mapping[str, float]) -> float:
        """How many times the largest recorded job a job is, by the amount that its prediction comes from."""
        shares = {name: rate * amounts.get(name, 0.0) for name, rate in self.rates.items() if name != "each"}
        name = max(shares, key=shares.__getitem__, default="")
        return amounts[name] / self.largest[name] if name and self.largest[name] else 1.0


def fit(samples: Sequence[tuple[str, Mapping[str, float], float]]) -> Fit:
    """Rates from (run, amounts, quantity) of recorded jobs."""
    names = ["each", *dict.fromkeys(name for _, amounts, _ in samples for name in amounts)]
    table = np.array([[1.0, *(amounts.get(name, 0.0) for name in names[1:])] for _, amounts, _ in samples])
    found = np.array([max(quantity, 1e-6) for *_, quantity in samples])
    ratios = []
    for run in dict.fromkeys(run for run, *_ in samples):
        left = np.array([name == run for name, *_ in samples])
        if not left.all():
            ratios.append(np.median(table[left] @ _rates(table[~left], found[~left]) / found[left]))
    error = float(np.quantile(np.exp(np.abs(np.log(np.maximum(ratios, 1e-6)))), 0.9)) if len(ratios) > 2 else math.nan
    rates, largest = _rates(table, found), table.max(axis=0)
    return Fit(dict(zip(names, map(float, rates), strict=True)), error, len(found), dict(zip(names, largest, strict=True)))


def _rates(table: np.ndarray, found: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    scale = np.maximum(table.max(axis=0), 1e-12)
    return nnls(table / scale / found[:, None], np.ones(len(found)))[0] / scale


def sample(content: Mapping[str, Any], sets: Mapping[str, work.Images], written: float) -> Sample | None:
    """What a job's record tells; None where it does not tell its cost: searches, and trainings that were copied or gone on with.

    Args:
        content: the record, as `geed.provenance.job` writes it.
        sets: the data sets of its study, as prepared.
        written: megabytes of its outputs.
    """
    rule, names, measured = content["rule"], content["wildcards"], content["measured"]
    settings, cost = content["params"], content["cost"]
    if rule == "train" and not (measured.get("resumed_from_epoch") or "trained_by" in measured):
        does = work.training(settings["run"], sets[settings["run"]["data"]])
    elif rule == "measure":
        does = work.measuring(settings["run"], settings["evaluations"], settings["corruptions"], sets)
    elif rule in ("prepare", "corrupt"):
        versions = len(settings["names"]) * len(settings["severities"]) if rule == "corrupt" else 1
        does = _of_set(sets[names["set"]], versions if rule == "corrupt" else 0)
    elif rule not in ("search", "train"):
        does = work.Work()
    else:
        return None
    seconds = cost["wall_seconds"] + cost.get("startup_seconds", 0.0)
    run = names.get("run") or names.get("set") or " ".join(names.values()) or rule
    return Sample(rule, run, does, seconds, cost["peak_memory_mb"], written, content["machine"].get("gpu"))


def prepared(content: Mapping[str, Any]) -> work.Images:
    """What the record of a `prepare` job says of its data set."""
    measured = content["measured"]
    channels, side, *_ = measured["shape"]
    splits = {split: entry["images"] for split, entry in measured["splits"].items()}
    classes = max(len(entry["classes"]) for entry in measured["splits"].values())
    return work.Images(channels, side, classes, splits)


def _of_set(images: work.Images, versions: int) -> work.Work:
    """Preparing a data set (no versions), or corrupting its test images."""
    size = images.megabytes("test") * versions if versions else images.megabytes()
    held = images.megabytes("test") if versions else size
    return work.Work({"megabytes": size}, held, size / 4)  # on disk a number of an image is one byte


@dataclass
class Stage:
    """The jobs of one stage, added up.

    Attributes:
        jobs: how many.
        hours: of one core each, or of one GPU; the sum, and the longest job's.
        gigabytes: memory of the largest job; what all of them write.
        stretch: how many times the largest recorded job the largest planned one is.
        unknown: jobs of which there is no record.
    """

    jobs: int = 0
    hours: float = 0.0
    longest: float = 0.0
    memory: float = 0.0
    disk: float = 0.0
    stretch: float = 0.0
    unknown: int = 0


@dataclass
class Forecast:
    """The cost of a study.

    Attributes:
        stages: by name, in the order of `STAGES`.
        fits: rule -> the fit of its seconds.
    """

    stages: dict[str, Stage] = field(default_factory=lambda: {name: Stage() for name in STAGES})
    fits: dict[str, Fit] = field(default_factory=dict)


def forecast(plan: Plan, samples: Iterable[Sample], reading: int) -> Forecast:
    """Add up what the jobs of a study will cost.

    Args:
        plan: the study.
        samples: recorded jobs, all of CPUs or all of GPUs.
        reading: how many jobs only read tables: claims, figures, pages.
    """
    by_rule: defaultdict[str, list[Sample]] = defaultdict(list)
    for entry in samples:
        by_rule[entry.rule if entry.rule in _BY_THEMSELVES else "read"].append(entry)
    result = Forecast()
    result.fits = {rule: fit([(s.run, s.work.amounts, s.seconds) for s in found]) for rule, found in by_rule.items()}
    memory = {
        rule: fit([(s.run, {"megabytes": s.work.megabytes}, s.megabytes) for s in found]) for rule, found in by_rule.items()
    }
    disk = {rule: fit([(s.run, {"written": s.work.written}, s.written) for s in found]) for rule, found in by_rule.items()}

    def add(stage: str, does: work.Work, count: int = 1, *, rule: str | None = None, times: float = 1.0) -> None:
        entry, rule = result.stages[stage], rule or stage
        entry.jobs += count
        if not count or rule not in result.fits:
            entry.unknown += count
            return
        hours = times * result.fits[rule](does.amounts) / 3600
        entry.hours += count * hours
        entry.longest = max(entry.longest, hours)
        entry.memory = max(entry.memory, memory[rule]({"megabytes": does.megabytes}) / 1024)
        entry.disk += count * disk[rule]({"written": does.written}) / 1024
        entry.stretch = max(entry.stretch, result.fits[rule].stretch(does.amounts))

    sets = {name: work.images(settings) for name, settings in plan.sets.items()}
    for name in _used(plan):
        add("prepare", _of_set(sets[name], 0))
    for name in plan.corrupted_sets:
        versions = len(plan.corruptions["names"]) * len(plan.corruptions["severities"])
        add("corrupt", _of_set(sets[name], versions))
    for name in trained(plan):
        run, seeds = plan.runs[name], len(plan.run_seeds[name])
        does = work.training(run, sets[run["data"]])
        if name in plan.searched:
            grid = run["objective"]["weight"]["grid"]
            add("search", does, rule="train", times=_TRIES * math.log2(len(grid)))
            add("train", work.Work(), rule="read")  # the seed that was searched with is copied
            seeds -= 1
        add("train", does, seeds)
        if name in plan.measured:
            measuring = work.measuring(run, plan.evaluations_of(name), plan.corruptions, sets)
            add("measure", measuring, len(plan.run_seeds[name]))
    for rule, wanted in (("orbit", plan.overview), ("explain", plan.explained), ("readings", plan.readings)):
        add("look", work.Work(), int(bool(wanted)), rule=rule)
    add("read", work.Work(), reading)
    return result


def trained(plan: Plan) -> list[str]:
    """The runs that are trained: those that are measured or looked at, and those that they start from."""
    wanted = {*plan.measured, *plan.explained_runs, *plan.readings_runs, *(plan.overview["runs"] if plan.overview else ())}
    starts = {name: run["initialisation"]["from"] for name, run in plan.runs.items()}
    while new := {starts[name] for name in wanted if starts[name]} - wanted:
        wanted |= new
    return [name for name in plan.runs if name in wanted]


def _used(plan: Plan) -> list[str]:
    """The data sets that some job reads."""
    names = {plan.runs[name]["data"] for name in trained(plan)}
    for name in plan.measured:
        for evaluation in plan.evaluations_of(name).values():
            names |= {evaluation["data"], *([evaluation["blend"]["with"]] if evaluation["blend"] else [])}
    return [name for name in plan.sets if name in names]
