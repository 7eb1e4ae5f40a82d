"""The training loop against a bare PyTorch loop: same network, same optimiser, same data in memory, nothing else.

Prints images per second of both, the best of alternating rounds on one thread, and their ratio: `python benchmarks/training.py`.
"""

import argparse
import time

import torch

from geed.allocator import keep_freed_memory
from geed.data.imageset import ImageSet
from geed.models.build import build
from geed.training.loop import fit

TARGET = 0.95
# name, image size, channels, training images, widths of the network, batch size
CASES = [("digits", 15, 1, 970, [12, 24, 24, 24], 32), ("MNIST", 29, 1, 768, [16, 32, 32, 32], 64)]
EPOCHS = 5


def network(size, channels, widths):
    spec = {"architecture": {"kind": "plain_cnn", "widths": widths}, "channels": channels, "size": size, "classes": 10}
    return build({**spec, "mean": channels * [0.5], "std": channels * [0.25]}, "benchmark")


def bare(model, images, labels, batch_size, device):
    """What anybody would write."""
    model.to(device).train()
    images, labels = images.to(device), labels.to(device)
    optimiser = torch.optim.AdamW(model.parameters(), 0.01, fused=True)
    for _ in range(EPOCHS):
        order = torch.randperm(len(images), device=device)
        for step in range(len(images) // batch_size):
            rows = order[step * batch_size : (step + 1) * batch_size]
            loss = torch.nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    if device == "cuda":
        torch.cuda.synchronize()


def ours(model, images, labels, batch_size, device, augmentation=()):
    data = ImageSet(images, labels, torch.arange(len(images)), tuple("0123456789"), "benchmark", "train")
    settings = {"epochs": EPOCHS, "batch_size": batch_size, "learning_rate": 0.01, "weight_decay": 0.01, "snapshots": []}
    run = {"name": "benchmark", "objective": "supervised", "augmentation": list(augmentation), "training": settings}
    fit(model, data, None, run, ("benchmark",), device=device)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # for both
    variants = {
        "bare": bare,
        "ours": ours,
        "ours, rotations:4": lambda *a: ours(*a, augmentation=["rotations:4"]),
        "ours, crop and noise": lambda *a: ours(*a, augmentation=["crop", "noise"]),
    }
    for name, size, channels, count, widths, batch_size in CASES:
        images, labels = torch.rand(count, channels, size, size), torch.arange(count) % 10
        seconds = {variant: [] for variant in variants}
        for turn in range(options.rounds + 1):
            for variant, function in variants.items():
                model = network(size, channels, widths)
                started = time.perf_counter()
                function(model, images, labels, batch_size, options.device)
                if turn:  # the first round warms up
                    seconds[variant].append(time.perf_counter() - started)
        seen = EPOCHS * (count // batch_size) * batch_size
        print(f"{name}: {count} images {channels} x {size} x {size}, batches of {batch_size}, {options.device}")
        for variant, times in seconds.items():
            ratio = min(seconds["bare"]) / min(times)
            verdict = f"  (target {TARGET}: {'met' if ratio >= TARGET else 'missed'})" if variant == "ours" else ""
            print(f"  {variant:22s} {seen / min(times):8.0f} images/s  {ratio:.3f} of bare{verdict}")


if __name__ == "__main__":
    main()
