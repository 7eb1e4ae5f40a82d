"""How much Lie derivatives cost: ratios to a forward pass, taken in one run.

    OMP_NUM_THREADS=1 python benchmarks/lie.py [--quick] [--only whole|layers|memory] [--networks resnet18,vit]

ResNet-18 and a small ViT (DeiT-tiny), random weights, 1,000 classes, noise of 224 px. Times are the processor's, everything is
run in turns and the best of the rounds is kept, because other load on the machine only ever makes things slower. "The authors'
way" is double backward through `grid_sample`, on one image at a time; by layer, that of every leaf, again for each of 100 random
probes. It is run with few probes, and a probe's cost is multiplied by 100.
"""

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import geed
from geed import compat
from geed.data.loading import load
from geed.lie.endtoend import DEFAULT
from geed.metrics.layers import leaves

PROBES = 100  # of the authors


def resnet18() -> nn.Module:
    torch.manual_seed(0)
    return compat.import_torchvision().models.resnet18().eval()


def vit() -> nn.Module:
    torch.manual_seed(0)
    return compat.import_timm().create_model("deit_tiny_patch16_224").eval()


NETWORKS = {"resnet18": resnet18, "vit": vit}


@torch.no_grad()
def forward(model: nn.Module, images: Tensor) -> None:
    model(images)


def _translate(images: Tensor, t: Tensor) -> Tensor:
    shift = torch.cat([torch.eye(2), torch.stack([t[0], t[0] * 0])[:, None]], dim=1)
    grid = functional.affine_grid(shift.expand(len(images), 2, 3), images.shape, align_corners=True)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def double_backward(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The derivative at t = 0 of function(translated images), translated back if they are maps, by two backward passes."""
    with torch.enable_grad():
        t = torch.zeros(1, requires_grad=True)
        result = function(_translate(images, t))
        result = _translate(result, -t) if result.ndim == 4 and result.shape[-1] > 1 else result
        v = torch.ones_like(result, requires_grad=True)
        backward = torch.autograd.grad(result, t, v, create_graph=True)[0]
        return torch.autograd.grad(backward, v, torch.ones_like(backward), allow_unused=True)[0]


def authors_layerwise(model: nn.Module, images: Tensor, probes: int) -> None:
    """For each probe: every leaf's derivative once more, then a backward pass."""
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    busy = False

    def hook(module: nn.Module, inputs: tuple, result: Tensor) -> None:
        nonlocal busy
        if busy or inputs[0].ndim != 4:
            return
        busy = True
        derivative = double_backward(module, inputs[0].detach())
        busy = False

        def estimate(gradient: Tensor) -> None:
            (gradient * derivative).flatten(1).sum(dim=1).square()

        result.register_hook(estimate)

    handles = [model.get_submodule(name).register_forward_hook(hook) for name in leaves(model)]
    for _ in range(probes):
        probabilities = model(images.clone().requires_grad_()).softmax(dim=-1)
        (torch.randn_like(probabilities) * probabilities).sum().backward()
        model.zero_grad()
    for handle in handles:
        handle.remove()


def best(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Processor seconds of each side: the best of the rounds, all sides in turn."""
    seconds = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for name, run in sides.items():
            started = time.process_time()
            run()
            seconds[name] = min(seconds[name], time.process_time() - started)
    return seconds


def whole(name: str, rounds: int) -> None:
    """A derivative of the whole network, per image and transformation."""
    model, images = NETWORKS[name](), torch.rand(4, 3, 224, 224)
    sides: dict[str, Callable[[], object]] = {"forward pass": lambda: forward(model, images)}
    for count in (1, 2, 4, 8):
        sides[f"lie_derivative, {count} transformations"] = lambda count=count: geed.lie_derivative(
            model, images, DEFAULT[:count], device="cpu"
        )

    def authors() -> None:
        with sdpa_kernel(SDPBackend.MATH):
            double_backward(lambda x: model(x).softmax(dim=-1), images)

    sides["the authors' way: double backward"] = authors
    seconds = best(sides, rounds)
    print(f"{name}: per image and transformation, in forward passes (1 = {seconds['forward pass'] / 4 * 1e3:.0f} ms)")
    for side, spent in seconds.items():
        count = int(side.split()[1]) if side.startswith("lie") else 1
        print(f"  {spent / seconds['forward pass'] / count:6.2f} x  {side}")


def layers(name: str, rounds: int) -> None:
    """Every layer's share, per image, one transformation."""
    model, images = NETWORKS[name](), torch.rand(2, 3, 224, 224)

    def ours(**options) -> Callable[[], object]:
        return lambda: geed.layerwise_lie_derivative(model, images, "translation_x", device="cpu", **options)

    sides = {"forward pass": lambda: forward(model, images), "exact": ours(), "10 probes": ours(probes=10)}
    if name == "resnet18":
        theirs = NETWORKS[name]()
        sides["the authors' way"] = lambda: authors_layerwise(theirs, images[:1], 2)
    seconds = {side: spent / 2 for side, spent in best(sides, rounds).items()}  # two images, or two probes of one
    one = seconds["forward pass"]
    print(f"{name}, by layer: per image, one transformation, in forward passes (1 = {one * 1e3:.0f} ms)")
    print(f"  {seconds['exact'] / one:7.1f} x  exact\n  {seconds['10 probes'] / one:7.1f} x  10 probes")
    if name == "resnet18":
        spent = PROBES * seconds["the authors' way"]
        print(f"  {spent / one:7.1f} x  the authors' way, {PROBES} probes ({spent / PROBES / one:.1f} x a probe)")
        print(f"  {spent / seconds['exact']:7.1f} times faster: exact; {spent / seconds['10 probes']:.1f} times: 10 probes")


def errors(count: int) -> None:
    """Standard errors of the authors' number of probes, and of ten, over those of the exact terms, of the same images."""
    model, images = resnet18(), load("photo_patches", "test", size=64, channels=3, limit=count).images
    tables = {
        probes: geed.layerwise_lie_derivative(model, images, "translation_x", probes=probes, device="cpu")
        for probes in (None, PROBES, 10)
    }
    exact = tables[None]
    some = exact["value"] > 0
    print(
        f"resnet18, by layer, {count} photograph patches of 64 px: standard error ÷ that of the exact terms, median over layers"
    )
    for probes in (PROBES, 10):
        print(f"  {(tables[probes]['se'][some] / exact['se'][some]).median():6.3f}    {probes} probes")


def _peak(count: int, batch_size: int, queue: multiprocessing.SimpleQueue) -> None:
    torch.set_num_threads(1)
    model = resnet18()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    batches = (torch.rand(4, 3, 64, 64) for _ in range(count // 4))
    geed.layerwise_lie_derivative(model, batches, ["translation_x", "rotation"], batch_size=batch_size, device="cpu")
    queue.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def memory() -> None:
    """Peak memory above that of the network, against the number of images and the batch."""
    context = multiprocessing.get_context("spawn")
    print("ResNet-18, 64 px, by layer, two transformations: peak memory above the network's")
    for count, batch_size in ((4, 16), (16, 16), (4, 64)):
        queue = context.SimpleQueue()
        process = context.Process(target=_peak, args=(count, batch_size, queue))
        process.start()
        process.join()
        print(f"  {queue.get():6.0f} MB  {count} images, batch_size={batch_size}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and images")
    parser.add_argument("--only", choices=["whole", "layers", "memory"])
    parser.add_argument("--networks", default="resnet18,vit")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    for name in arguments.networks.split(","):
        if arguments.only in (None, "whole"):
            whole(name, 3 if arguments.quick else 6)
        if arguments.only in (None, "layers"):
            layers(name, 1 if arguments.quick else 2)
    if arguments.only in (None, "layers"):
        errors(8 if arguments.quick else 24)
    if arguments.only in (None, "memory"):
        memory()


if __name__ == "__main__":
    main()
