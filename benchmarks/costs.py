"""What one forward pass of each published network costs: makes src/geed/study/costs.csv, from which `geed plan` counts.

    python benchmarks/costs.py

Networks of geed's registry and of workflow/studies/gruver_models.csv, built without memory for weights (PyTorch's meta device)
and counted by its flop counter, on one image of the size that they were trained with: multiply-adds in 10^9, layers that are
profiled, numbers that those put out, parameters. One that cannot be counted so is left out and said.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from geed.files import write_table
from geed.models.build import build
from geed.models.network import parameter_count
from geed.models.published import PRETRAINED, TIMM
from geed.study import work, zoo

ROOT = Path(__file__).parents[1]


def cost(name: str, size: int, classes: int) -> dict[str, Any]:
    """The row of a network: name, size, gmac, layers, numbers, parameters."""
    spec = {"architecture": {"kind": "pretrained", "name": name}, "channels": 3, "size": size, "classes": classes}
    numbers = 0

    def count(_module: Any, _inputs: Any, output: Any) -> None:
        nonlocal numbers
        numbers += output.numel() if isinstance(output, Tensor) else 0

    with torch.device("meta"):
        model = build(spec | {"mean": [0.0] * 3, "std": [1.0] * 3}).eval()
        for layer in model.profile:
            model.get_submodule(layer).register_forward_hook(count)
        with FlopCounterMode(display=False) as counter:  # not without gradients: some networks cannot be tracked then
            model(torch.empty(1, 3, size, size))
    gmac, layers = round(counter.get_total_flops() / 2e9, 6), len(model.profile)
    return {"name": name, "size": size, "gmac": gmac, "layers": layers, "numbers": numbers, "parameters": parameter_count(model)}


def main() -> None:
    """Count all and write the table."""
    import pandas as pd

    sizes = {name: 32 if name.startswith("cifar10") else 224 for name in PRETRAINED}
    sizes |= {TIMM + row["timm"]: int(row["size"]) for row in zoo.read(ROOT / "workflow/studies/gruver_models.csv")}
    rows = []
    for name, size in sizes.items():
        try:
            rows.append(cost(name, size, 10 if size == 32 else 1000))
        except Exception as error:  # a network may do anything
            print(f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:120]}")
    write_table(work.COSTS, pd.DataFrame(rows))
    print(f"{len(rows)} of {len(sizes)} networks: {work.COSTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
