"""The step that searches a regulariser's weight: the smallest of a grid with which the network becomes invariant enough."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from geed import files, groups
from geed.data import store
from geed.metrics.engine import measure
from geed.models import weights as model_weights
from geed.study.train import train_run, with_weight
from geed.training import checkpoints as side

COLUMNS = ("weight", "value", "se", "accuracy", "n_images", "taken")


def search_weight(
    run: Mapping[str, Any],
    *,
    study: str,
    seed: int,
    data: Path,
    result: Path,
    table: Path,
    weights: Path,
    history: Path,
    snapshots: Path,
    source: Path | None = None,
    published: Path | None = None,
    device: str = "auto",
    checkpoints: Path,
) -> dict[str, Any]:
    """Find the smallest weight whose network reaches `at_least` on validation images; no test image is looked at.

    Bisection, on the assumption that a larger weight never makes a network less invariant. Every candidate is trained exactly
    as the run would be, and kept aside, so that a search that was killed goes on where it was. Where no candidate reaches it,
    the most invariant one is taken (not the largest: a weight may be so large that nothing is learned), and the result says so.

    Args:
        run: settings of the run; `objective.weight` is {grid, metric, at_least, images}.
        study: its name.
        seed: the training seed of all candidates.
        data: prepared data.
        result: output, JSON: weight, reached, seed, and what was asked for.
        table: output, CSV, one row per weight tried, ascending, with columns COLUMNS: the metric's `value` and its standard error
            `se` over images, validation accuracy, and whether the weight was taken.
        weights: output, the network of the weight that was taken: it is the run's own for this seed; so are the next two.
        history: output, CSV.
        snapshots: output.
        source: as for `train_run`.
        published: as for `train_run`.
        device: "auto", "cpu" or "cuda".
        checkpoints: folder of the side checkpoints, and of the candidates.

    Returns:
        For the job record: weight, reached, value, tried.

    Raises:
        GeedError: as `train_run` does.
    """
    wanted, images = run["objective"]["weight"], store.read(data, "validation")
    names = ("weights.safetensors", "history.csv", "snapshots.safetensors")
    inputs = {"data": files.sha256(data), "source": None if source is None else files.sha256(source)}
    tried: dict[float, dict[str, Any]] = {}
    folders: dict[float, Path] = {}

    def reaches(weight: float) -> bool:
        candidate = with_weight(run, weight)
        settings = {"run": candidate, "study": study, "seed": seed, "device": device, **inputs}
        folder = folders[weight] = side.path(checkpoints, settings).with_suffix("")
        if not all((folder / name).exists() for name in names):
            print(f"weight {weight:g}: training", flush=True)
            train_run(
                candidate,
                study=study,
                seed=seed,
                data=data,
                weights=folder / names[0],
                history=folder / names[1],
                snapshots=folder / names[2],
                source=source,
                published=published,
                device=device,
                checkpoints=checkpoints,
            )
        found = measure(
            model_weights.load(folder / names[0]),
            images.images[: wanted["images"]],
            group=groups.parse(run["objective"]["group"]),
            metrics=[wanted["metric"]],
            layers=[],
            labels=images.labels[: wanted["images"]],
            device=device,
        ).iloc[0]
        accuracy = pd.read_csv(folder / names[1]).validation_accuracy
        kept = accuracy.max() if run["training"].get("keep") == "best_validation" else accuracy.iloc[-1]
        row = {"weight": weight, "value": found["value"], "se": found["se"], "accuracy": kept, "n_images": found["n_images"]}
        tried[weight] = row
        print(f"weight {weight:g}: {wanted['metric']} {row['value']:.4f} ± {row['se']:.4f}, accuracy {kept:.4f}", flush=True)
        return bool(row["value"] >= wanted["at_least"])

    found = smallest(wanted["grid"], reaches)
    taken = max(tried, key=lambda weight: tried[weight]["value"]) if found is None else found
    if found is None:
        print(f"no weight reaches {wanted['metric']} >= {wanted['at_least']}; the nearest, {taken:g}, is taken", flush=True)
    for name, output in zip(names, (weights, history, snapshots), strict=True):
        files.copy(folders[taken] / name, output)
    rows = [tried[weight] | {"taken": weight == taken} for weight in sorted(tried)]
    files.write_table(table, pd.DataFrame(rows, columns=COLUMNS))
    files.write_json(result, {"weight": taken, "reached": found is not None, "seed": seed, "asked": dict(wanted)})
    return {"weight": taken, "reached": found is not None, "value": float(tried[taken]["value"]), "tried": len(tried)}


def smallest(grid: Sequence[float], reaches: Callable[[float], bool]) -> float | None:
    """The smallest entry that reaches, by bisection; None where none does.

    Args:
        grid: ascending.
        reaches: monotone in its argument; called at most log2(len(grid)) + 1 times.

    >>> smallest([1, 2, 4, 8, 16], lambda weight: weight > 3)
    4
    """
    low, high = 0, len(grid)
    while low < high:
        middle = (low + high) // 2
        if reaches(grid[middle]):
            high = middle
        else:
            low = middle + 1
    return grid[low] if low < len(grid) else None
