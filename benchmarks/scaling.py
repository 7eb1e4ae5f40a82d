"""How the cost of measuring scales with images, group elements and layers, each varied alone: what `geed plan` takes for granted.

    python benchmarks/scaling.py [--repeats 3]

Times are of the processor, not of the wall, so that other programs disturb them little; one thread. The exponent is the slope of
log seconds against log amount: 1 is proportional, 0 does not matter.
"""

import argparse
import math
import time

import torch

import geed
from geed import groups
from geed.models.build import build

METRICS = ["channel_eed/cosine", "latent_eed/cosine", "output_eed/kl", "consistency"]
BASE = {"images": 400, "group": "rotations:4", "layers": 4}
VARIED = {"images": [200, 400, 800, 1600], "group": ["reflections", "rotations:4", "dihedral:4"], "layers": [1, 2, 4, 8]}


def seconds(model: torch.nn.Module, *, images: int, group: str, layers: int, repeats: int) -> float:
    pixels = torch.rand(images, 3, 33, 33, generator=torch.Generator().manual_seed(0))
    chosen = [*list(model.profile)[: layers - 1], model.feature_layer]
    given = {"group": groups.parse(group), "metrics": METRICS, "layers": chosen, "device": "cpu"}
    geed.measure(model, pixels[:50], **given)
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        geed.measure(model, pixels, **given)
        taken.append(time.process_time() - started)
    return min(taken)


def slope(amounts: list[float], found: list[float]) -> float:
    x, y = [math.log(amount) for amount in amounts], [math.log(value) for value in found]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    spec = {"architecture": {"kind": "plain_cnn", "widths": [16] * 8}, "channels": 3, "size": 33, "classes": 10}
    model = build({**spec, "mean": [0.5] * 3, "std": [0.25] * 3}).eval()
    for name, values in VARIED.items():
        found = [seconds(model, **{**BASE, name: value}, repeats=arguments.repeats) for value in values]
        amounts = [groups.parse(value).order if name == "group" else value for value in values]
        listed = ", ".join(f"{amount:g}: {value:.2f} s" for amount, value in zip(amounts, found, strict=True))
        print(f"{'|G|' if name == 'group' else name:8} exponent {slope(amounts, found):5.2f}   ({listed})")


if __name__ == "__main__":
    main()
