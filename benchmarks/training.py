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


def perceptron():
    """The network and data of Moskalev et al. 2023: 233,225 weights, 36 x 36 pixels, 10,000 images, batches of 512."""
    spec = {"architecture": {"kind": "perceptron", "hidden": 128, "layers": 5}, "channels": 1, "size": 36, "classes": 9}
    return build({**spec, "mean": [0.1], "std": [0.3]}, "benchmark")


def bare_regularised(images, labels, epochs, weight):
    """What anybody would write: each batch rotated at random and, with a weight, once more for the regulariser."""
    model = perceptron().train()
    optimiser = torch.optim.Adam(model.parameters(), 8e-4)

    def rotated(batch):
        turns, moved = torch.randint(4, (len(batch),)), torch.empty_like(batch)
        for k in range(4):
            moved[turns == k] = batch[turns == k].rot90(k, (2, 3))
        return moved

    for _ in range(epochs):
        order = torch.randperm(len(images))
        for rows in order[: len(order) // 512 * 512].split(512):
            batch = rotated(images[rows])
            logits = model(batch)
            loss = torch.nn.functional.cross_entropy(logits, labels[rows])
            if weight:
                loss = loss + weight * 0.5 * (logits - model(rotated(batch))).square().sum(1).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def our_regularised(images, labels, epochs, weight):
    regulariser = {"kind": "invariance", "group": "rotations:4", "distance": "logit", "weight": weight}
    settings = {"epochs": epochs, "batch_size": 512, "learning_rate": 8e-4, "weight_decay": 0, "snapshots": []}
    settings |= {"optimiser": "adam", "schedule": "constant", "keep": "best_validation"}
    objective = regulariser if weight else "supervised"
    run = {"name": "benchmark", "objective": objective, "augmentation": ["rotations:4"], "training": settings}
    data = [
        ImageSet(x, y, torch.arange(len(x)), tuple("012345678"), "benchmark", "train")
        for x, y in zip(images, labels, strict=True)
    ]
    fit(perceptron(), *data, run, ("benchmark",))


def regularised(rounds, epochs=20):
    """Processor time of a run of 300 epochs, of ours with a validation accuracy every epoch, from the fastest of some rounds."""
    images = [torch.rand(count, 1, 36, 36) for count in (10_000, 2_000)]
    labels = [torch.arange(len(part)) % 9 for part in images]
    print("233,225 weights, 10,000 images 1 x 36 x 36, batches of 512, cpu, seconds of one core for 300 epochs")
    for name, weight in (("augmented", 0), ("augmented, regularised", 3)):
        seconds = {"bare": [], "ours": []}
        for _ in range(rounds):
            for variant, function, data in (
                ("bare", bare_regularised, (images[0], labels[0])),
                ("ours", our_regularised, (images, labels)),
            ):
                started = time.process_time()
                function(*data, epochs, weight)
                seconds[variant].append((time.process_time() - started) * 300 / epochs)
        bare, ours = (min(times) for times in seconds.values())
        print(f"  {name:22s} bare {bare:4.0f} s, ours {ours:4.0f} s  {bare / ours:.2f} times as fast")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--perceptron", action="store_true", help="only the perceptron of Moskalev et al. 2023")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # for both
    if options.perceptron:
        regularised(min(options.rounds, 3))
        return
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
