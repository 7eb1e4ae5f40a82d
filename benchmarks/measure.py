"""How much measuring costs: ratios, taken in one run.

    OMP_NUM_THREADS=2 python benchmarks/measure.py [--quick] [--only cost|calls|memory]

What is compared is run in turns, and each ratio is the median over the rounds of the ratio within a round, because other load on
the machine then weighs on both sides alike; even so, two threads on a machine that is busy with something else mostly wait for
each other. Where the cost of measuring is shown, the seconds of processor time beside it (least over the rounds, all threads) are
steadier, the more so with one thread. The network is torchvision's ResNet-18 (52 leaves, eight of them called twice)
with random weights; the images are noise; the group is C4.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as `geed measure` does

import torch

import geed
from geed import compat, groups
from geed.metrics.registry import NAMES, parse

GRADIENT_FREE = [name for name in NAMES if parse(name).reads not in ("images", "action")]  # nor a user's action
TEN_LAYERS = ["relu", "maxpool", *(f"layer{stage}.{block}" for stage in range(1, 5) for block in range(2))]
GROUP = groups.rotations(4)


def resnet() -> torch.nn.Module:
    torch.manual_seed(0)
    return compat.import_torchvision().models.resnet18(num_classes=10).eval()


@torch.no_grad()
def bare(model: torch.nn.Module, images: torch.Tensor, batch_size: int) -> None:
    """The |D||G| forward passes and nothing else: no transformation, no hook, nothing kept."""
    for _ in range(GROUP.order):
        for batch in images.split(batch_size):
            model(batch)


def timed(sides: dict[str, Callable[[], object]], rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Side -> its seconds in each round: on the clock, and of processors."""
    for run in sides.values():
        run()
    seconds, work = ({name: [] for name in sides} for _ in range(2))
    for turn in range(rounds):
        names = list(sides)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started, working = time.perf_counter(), time.process_time()
            sides[name]()
            seconds[name].append(time.perf_counter() - started)
            work[name].append(time.process_time() - working)
    return seconds, work


def ratios(seconds: dict[str, list[float]], bases: list[str]) -> dict[tuple[str, str], float]:
    """(side, base) -> median over rounds of the side's seconds ÷ the base's seconds in the same round."""
    return {
        (name, base): statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))
        for name in seconds
        for base in bases
    }


def cost(rounds: int, count: int, size: int = 64) -> None:
    """Measuring against bare forward passes, of batches of 256 as it is asked to take and of 64, the fastest on a CPU."""
    model, images = resnet(), torch.rand(count, 3, size, size)
    labels = torch.zeros(count, dtype=torch.long)

    def measure(layers: list[str] | None, metrics: list[str]) -> Callable[[], object]:
        return lambda: geed.measure(model, images, group=GROUP, metrics=metrics, layers=layers, labels=labels, device="cpu")

    sides = {
        "bare forward passes, batches of 256": lambda: bare(model, images, 256),
        "bare forward passes, batches of 64": lambda: bare(model, images, 64),
        "10 layers, channel_eed only": measure(TEN_LAYERS, ["channel_eed"]),
        "10 layers, all gradient-free metrics": measure(TEN_LAYERS, GRADIENT_FREE),
        "every leaf, channel_eed only": measure(None, ["channel_eed"]),
        "every leaf, all gradient-free metrics": measure(None, GRADIENT_FREE),
    }
    threads = torch.get_num_threads()
    print(f"ResNet-18, {size} px, {count} images x {GROUP.order} elements, {len(GRADIENT_FREE)} metrics, threads: {threads}")
    print("  of batches of 256   of 64   processor time")
    seconds, work = timed(sides, rounds)
    bases = list(sides)[:2]
    found = ratios(seconds, bases)
    for name in sides:
        least = min(work[name])
        print(
            f"  {found[name, bases[0]]:15.3f} x {found[name, bases[1]]:7.3f} x {least:6.2f} s, "
            f"{least / min(work[bases[0]]):.3f} x, {least / min(work[bases[1]]):.3f} x  {name}"
        )


@torch.no_grad()
def one_call(model: torch.nn.Module, images: torch.Tensor, layer: str, metric: str, batch_size: int) -> float:
    """One layer and one metric in a call, the outputs of every element collected first, as metric libraries usually do it."""
    kept: list[torch.Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, inputs, result: kept.append(result.clone()))
    orbit = []
    for k in range(GROUP.order):
        kept.clear()
        for batch in images.split(batch_size):
            model(GROUP.act(k, batch))
        orbit.append(torch.cat(kept))
    handle.remove()
    total = 0.0
    for k, here in enumerate(orbit):
        there = GROUP.act(k, orbit[0]) if metric in ("cosine", "correlation") else torch.stack(orbit).mean(0)
        if metric == "correlation":
            here, there = here - here.mean((-2, -1), keepdim=True), there - there.mean((-2, -1), keepdim=True)
        if metric == "l2":
            total += (here - there).flatten(1).norm(dim=1).mean().item()
        else:
            start = 1 if metric == "orbit_cosine" else 2
            total += torch.cosine_similarity(here.flatten(start), there.flatten(start), dim=-1).mean().item()
    return total / GROUP.order


def calls(rounds: int, count: int, batch_size: int = 64, size: int = 64) -> None:
    """One pass against ten layers x four metrics, a call at a time."""
    model, images = resnet(), torch.rand(count, 3, size, size)
    metrics = ["channel_eed", "field_eed", "feature_correlation", "latent_eed/cosine"]

    def one_at_a_time() -> None:
        for layer in TEN_LAYERS:
            for metric in ("cosine", "correlation", "orbit_cosine", "l2"):
                one_call(model, images, layer, metric, batch_size)

    sides = {
        "one pass": lambda: geed.measure(model, images, group=GROUP, metrics=metrics, layers=TEN_LAYERS, device="cpu"),
        "ten layers x four metrics, a call at a time": one_at_a_time,
    }
    print(f"ResNet-18, {size} px, {count} images x {GROUP.order} elements:")
    for (name, _), ratio in ratios(timed(sides, rounds)[0], ["one pass"]).items():
        print(f"  {ratio:6.1f} x  {name}")


def _peak(count: int, group: str, queue: multiprocessing.SimpleQueue) -> None:
    """Peak resident memory, MB, of measuring `count` generated images in a process of its own."""
    torch.set_num_threads(1)
    model = resnet()
    batches = (torch.rand(256, 3, 32, 32) for _ in range(count // 256))
    metrics = [name for name in GRADIENT_FREE if name != "accuracy"]
    geed.measure(model, batches, group=groups.parse(group), metrics=metrics, layers=TEN_LAYERS, device="cpu")
    queue.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def memory(quick: bool) -> None:
    """Peak memory against the number of images and of elements, each in a fresh process."""
    context = multiprocessing.get_context("spawn")
    cases = [(1024, "reflections"), (4096 if quick else 16384, "reflections")]
    cases += [(256, "rotations:4"), (256, "dihedral:4"), (256, "translations:x=8,y=8")]
    print("Peak memory, ResNet-18, 32 px, batch of 256 forward passes, images generated as they are needed:")
    for count, group in cases:
        queue = context.SimpleQueue()
        process = context.Process(target=_peak, args=(count, group, queue))
        process.start()
        process.join()
        print(f"  {queue.get():6.0f} MB  {count:6d} images, {group} ({groups.parse(group).order} elements)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, and images where memory is measured")
    parser.add_argument("--only", choices=["cost", "calls", "memory"])
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    if arguments.only in (None, "cost"):
        cost(5 if arguments.quick else 11, 256)  # 256 images, so that a batch of 256 can be one
    if arguments.only in (None, "calls"):
        calls(2 if arguments.quick else 3, 64)
    if arguments.only in (None, "memory"):
        memory(arguments.quick)


if __name__ == "__main__":
    main()
