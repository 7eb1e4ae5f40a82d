"""The step that reads a published table in every way that its words allow, and says which reading fits best.

Moskalev et al. 2023 leave open how their integrated gradients run, which class they explain, over what they average, and more.
Every combination of the settings below is tried on the same trained networks, and stands in the table beside the published
cells, so that what was tried can be seen. The best reading of a quantity is the one with the smallest sum of squared z over its
cells, z = (here − published) / √(s² + s_published² + rounding²): s is the standard deviation over seeds, and the rounding
of a printed number that of a uniform error, a printed unit / √12.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from geed import files, groups, printed
from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError, nearest
from geed.groups import Group
from geed.metrics.saliency import KEPT, STEPS, integrated_gradients, similarity, smoothed
from geed.metrics.spectral import jacobian_norm
from geed.models import weights as model_weights
from geed.models.network import Network
from geed.progress import bar
from geed.study import device as devices

_BATCH = 2048
_SHOWN = 12  # readings of a quantity on the page; the table has all
# Quantity -> what is open about it.
SETTINGS: dict[str, tuple[str, ...]] = {
    "accuracy": ("images",),
    "logit_invariance": ("over g", "factor", "over classes", "of"),
    "predictive_invariance": ("over g", "direction", "over classes"),
    "saliency_similarity": ("steps", "baseline", "target", "kept", "blur", "identity"),
    "jacobian_norm": ("by", "of"),
}
# Quantity -> the reading that `geed.metrics` takes.
OWN = {
    "accuracy": "images: as they are",
    "logit_invariance": "over g: mean; factor: ½; over classes: sum; of: logits",
    "predictive_invariance": "over g: mean; direction: KL(x ‖ gx); over classes: sum",
    "saliency_similarity": f"steps: {STEPS}; baseline: black; target: label; kept: from 0.9 of the maximum; "
    "blur: yes; identity: not counted",
    "jacobian_norm": "by: pixels in [0, 1]; of: logits",
}
COLUMNS = ["quantity", "rank", "sum_z2", "reading", "comparison", "group", "arm", "run"]
COLUMNS += ["mean", "std", "n_seeds", "published", "published_std", "z"]

Values = Iterator[tuple[str, tuple[str, ...], float]]  # quantity, its settings, one network's value


def search(
    settings: Mapping[str, Any],
    published: Mapping[str, Mapping[str, Mapping[str, str]]],
    *,
    weights: Mapping[str, Sequence[Path]],
    data: Path,
    table: Path,
    page: Path,
    device: str = "auto",
) -> dict[str, Any]:
    """Write every reading of a published table, best first, as a table and as a page.

    Args:
        settings: `limit` (test images for what needs gradients), `steps` (of integrated gradients), and `comparisons`: each a
            `group` and `arms`, for each the runs that the published arm may mean.
        published: group -> arm -> quantity -> the cell as printed, e.g. "98.6±5.4".
        weights: run -> its trained networks, one per seed.
        data: prepared data with the splits "train" (for the mean image) and "test".
        table: output, CSV, one row per reading and cell, with the columns `COLUMNS`.
        page: output, Markdown: the ranking of each quantity.
        device: "auto", "cpu" or "cuda".

    Returns:
        For the job record: readings, networks, best {quantity: reading}, device.

    Raises:
        GeedError: data or weights that are damaged, a group or arm that is not published, or no such device.
    """
    device = devices.choose(device)
    test, mean_image = store.read(data, "test"), store.read(data, "train").images.mean(dim=0, keepdim=True).to(device)
    cells = list(_cells(settings["comparisons"], published))
    found: dict[tuple[Cell, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with bar(sum(len(weights[cell.run]) for cell in cells), "readings", unit="networks") as progress:
        for cell in cells:
            for path in weights[cell.run]:
                model = model_weights.load(path).to(device).eval()
                for quantity, reading, value in _values(model, test, mean_image, cell, settings):
                    found[cell, quantity][reading].append(value)
                progress.update(1)
    frame = _table(cells, found)
    files.write_table(table, frame)
    with files.atomic(page) as temporary:
        temporary.write_text(_page(frame, settings), encoding="utf-8")
    best = frame[frame["rank"] == 1].drop_duplicates("quantity")
    return {
        "readings": len(frame[["quantity", "reading"]].drop_duplicates()),
        "networks": sum(len(weights[cell.run]) for cell in cells),
        "best": dict(zip(best["quantity"], best["reading"], strict=True)),
        "device": device,
    }


@dataclass(frozen=True)
class Cell:
    """A run that a published row may mean.

    Attributes:
        version: its place among the runs that the row may mean.
        printed: quantity -> the published cell.
    """

    comparison: str
    group: str
    arm: str
    run: str
    version: int
    printed: Mapping[str, str] = field(hash=False, compare=False)


def _cells(comparisons: Mapping[str, Any], published: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Iterator[Cell]:
    for name, entry in comparisons.items():
        group = entry["group"]
        if group not in published:
            raise GeedError(f"readings: nothing is published for the group '{group}'{nearest(group, published)}")
        for arm, runs in entry["arms"].items():
            if arm not in published[group]:
                raise GeedError(f"readings: no arm '{arm}' is published for the group '{group}'{nearest(arm, published[group])}")
            for version, run in enumerate(runs):
                printed_cells = published[group][arm]
                if version:
                    printed_cells = {key: cell for key, cell in printed_cells.items() if key == "accuracy"}
                yield Cell(name, group, arm, run, version, printed_cells)


def _values(
    model: Network, test: ImageSet, mean_image: Tensor, cell: Cell, settings: Mapping[str, Any]
) -> Iterator[tuple[str, str, float]]:
    """Every reading of what is published of a network, as (quantity, reading, value)."""
    group, place, limit = groups.parse(cell.group), mean_image.device, settings["limit"]
    images, labels = test.images[:limit].to(place), test.labels[:limit].to(place)
    values: list[Values] = []
    if cell.printed.keys() & {"accuracy", "logit_invariance", "predictive_invariance"}:
        with torch.no_grad():
            logits = torch.cat([_orbit_logits(model, batch.to(place), group) for batch in test.images.split(_BATCH)], dim=1)
        values.append(_of_answers(logits, test.labels.to(place)))
    if "saliency_similarity" in cell.printed:
        values.append(_of_maps(model, images, labels, mean_image, group, settings["steps"]))
    if "jacobian_norm" in cell.printed:
        values.append(_of_jacobian(model, images))
    for quantity, chosen, value in itertools.chain(*values):
        if quantity in cell.printed:
            yield quantity, "; ".join(f"{name}: {choice}" for name, choice in zip(SETTINGS[quantity], chosen, strict=True)), value


def _orbit_logits(model: Network, images: Tensor, group: Group) -> Tensor:
    return torch.stack([model(group.act(k, images)).double() for k in range(group.order)])


def _of_answers(logits: Tensor, labels: Tensor) -> Values:
    """Accuracy, LI and DI from the logits (|G|, N, K) of the orbits."""
    hits = (logits.argmax(dim=-1) == labels).double() * 100
    yield "accuracy", ("as they are",), hits[0].mean().item()
    yield "accuracy", ("moved by g",), hits.mean().item()
    log_p = logits.log_softmax(dim=-1)
    over_g: dict[str, Callable[[Tensor], Tensor]] = {
        "mean": lambda values: values.mean(dim=0),
        "mean without the identity": lambda values: values[1:].mean(dim=0),
        "sum": lambda values: values.sum(dim=0),
    }
    over_classes: dict[str, Callable[[Tensor], Tensor]] = {
        "sum": lambda values: values.sum(dim=-1),
        "mean": lambda values: values.mean(dim=-1),
    }
    for (g, mean_g), (c, mean_c) in itertools.product(over_g.items(), over_classes.items()):
        for of, answers in (("logits", logits), ("log-probabilities", log_p)):
            distance = mean_g(mean_c((answers[0] - answers).square())).mean().item()
            yield "logit_invariance", (g, "½", c, of), distance / 2
            yield "logit_invariance", (g, "1", c, of), distance
        for direction, p, q in (("KL(x ‖ gx)", log_p[:1], log_p), ("KL(gx ‖ x)", log_p, log_p[:1])):
            yield "predictive_invariance", (g, direction, c), mean_g(mean_c(p.exp() * (p - q))).mean().item()


def _of_maps(
    model: Network, images: Tensor, labels: Tensor, mean_image: Tensor, group: Group, path_steps: Sequence[int]
) -> Values:
    """SI: the maps of an orbit depend on the path and the class; what is made of them is cheap beside that."""
    orbit = [group.act(k, images) for k in range(group.order)]
    with torch.no_grad():
        predicted = [model(moved).argmax(dim=1) for moved in orbit]
    targets = {
        "label": [labels] * group.order,
        "prediction for x": predicted[:1] * group.order,
        "prediction for gx": predicted,
    }
    mean_pixel = torch.tensor(model.spec["mean"], device=images.device).view(1, -1, 1, 1)
    baselines = {"black": torch.zeros_like(mean_pixel), "mean pixel": mean_pixel, "mean image": mean_image}
    for steps, (start, baseline) in itertools.product(path_steps, baselines.items()):
        labelled = [_magnitudes(model, moved, labels, steps, baseline) for moved in orbit]
        for target, classes in targets.items():
            magnitudes = []
            for moved, wanted, known in zip(orbit, classes, labelled, strict=True):
                if len(other := (wanted != labels).nonzero()[:, 0]):
                    fresh = _magnitudes(model, moved[other], wanted[other], steps, baseline)
                    known = known.index_copy(0, other, fresh)
                magnitudes.append(known)
            for (kept, keep), blur in itertools.product(_KEEP.items(), ("yes", "no")):
                maps = [smoothed(keep(m)) if blur == "yes" else keep(m) for m in magnitudes]
                moved_by = range(1, group.order)
                cosine = torch.stack([similarity(group.act(k, maps[0]), maps[k]) for k in moved_by]).mean().item()
                settings = (str(steps), start, target, kept, blur)
                yield "saliency_similarity", (*settings, "not counted"), cosine
                yield "saliency_similarity", (*settings, "counted"), (1 + len(moved_by) * cosine) / group.order


def _magnitudes(model: Network, images: Tensor, targets: Tensor, steps: int, baseline: Tensor) -> Tensor:
    return integrated_gradients(model, images, targets, steps, baseline).abs().sum(dim=1)


def _above_maximum(magnitudes: Tensor) -> Tensor:
    return magnitudes * (magnitudes >= KEPT * magnitudes.amax(dim=(-2, -1), keepdim=True))


def _above_quantile(magnitudes: Tensor) -> Tensor:
    flat = magnitudes.flatten(1)
    bound = flat.kthvalue(math.ceil(KEPT * flat.shape[1]), dim=1).values
    return magnitudes * (magnitudes >= bound[:, None, None])


_KEEP: dict[str, Callable[[Tensor], Tensor]] = {
    "from 0.9 of the maximum": _above_maximum,
    "from the 0.9 quantile": _above_quantile,
}


def _of_jacobian(model: Network, images: Tensor) -> Values:
    shape = (1, -1, 1, 1)
    mean, std = (torch.tensor(model.spec[key], device=images.device).view(shape) for key in ("mean", "std"))
    for of, network in (("logits", model), ("probabilities", nn.Sequential(model, nn.Softmax(dim=1)))):
        yield "jacobian_norm", ("pixels in [0, 1]", of), jacobian_norm(network, images).mean().item()
        standard = nn.Sequential(_Affine(mean, std), network)
        yield "jacobian_norm", ("standardised pixels", of), jacobian_norm(standard, (images - mean) / std).mean().item()


class _Affine(nn.Module):
    """Standardised pixels back to [0, 1], so that what follows is differentiated by the standardised ones."""

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        return images * self.std + self.mean


def _table(cells: Sequence[Cell], found: Mapping[tuple[Cell, str], Mapping[str, Sequence[float]]]) -> pd.DataFrame:
    """One row per reading and published cell, the best reading of each quantity first.

    Where a row may mean several runs, accuracy is read with each; everything else with the first.
    """
    rows = []
    for quantity in SETTINGS:
        of = [cell for cell in cells if quantity in cell.printed]
        for version in range(max((cell.version for cell in of), default=-1) + 1):
            last = {(cell.comparison, cell.arm): cell for cell in of if cell.version <= version}  # the version, or the only one
            several = [cell.run for cell in last.values() if any(other.version for other in of if other.arm == cell.arm)]
            ending = f"; runs: {', '.join(several)}" if several else ""
            for cell in last.values():
                for reading, values in found[cell, quantity].items():
                    rows.append({"quantity": quantity, "reading": reading + ending} | _compared(cell, quantity, values))
    frame = pd.DataFrame(rows)
    frame["sum_z2"] = (frame["z"] ** 2).groupby([frame["quantity"], frame["reading"]]).transform("sum")
    frame["rank"] = frame.groupby("quantity")["sum_z2"].rank(method="dense").astype(int)
    order = {quantity: place for place, quantity in enumerate(SETTINGS)}
    frame = frame.assign(place=frame["quantity"].map(order)).sort_values(["place", "rank", "reading"], kind="stable")
    return frame[COLUMNS].reset_index(drop=True)


def _compared(cell: Cell, quantity: str, values: Sequence[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    std = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) if len(values) > 1 else 0.0
    paper = printed.parse(cell.printed[quantity])
    return {
        "comparison": cell.comparison,
        "group": cell.group,
        "arm": cell.arm,
        "run": cell.run,
        "mean": mean,
        "std": std,
        "n_seeds": len(values),
        "published": paper.mean,
        "published_std": paper.std,
        "z": printed.z(mean, std, paper),
    }


def _page(frame: pd.DataFrame, settings: Mapping[str, Any]) -> str:
    """The ranking of each quantity in Markdown."""
    lines = [
        "# Readings of the published table",
        "",
        "What the paper leaves open was tried in every combination, on the same networks. A cell is mean ± standard deviation",
        "over seeds, and z: its difference to the published cell in units of the combined standard deviation, rounding included.",
        f"Maps and Jacobians are of {settings['limit']} test images, all else of the whole test split. The best reading of a",
        "quantity has the smallest sum of squared z; all of them are in readings.csv. Bold: what the metric of that name",
        "measures here.",
    ]
    for quantity, rows in frame.groupby("quantity", sort=False):
        cells = rows[rows["reading"] == rows["reading"].iloc[0]]
        readings = rows.drop_duplicates("reading")
        lines += ["", f"## {quantity}", "", f"Best of {len(readings)}: {readings['reading'].iloc[0]}", ""]
        lines += ["| | Σz² | " + " | ".join(f"{row.arm}, {row.comparison}" for row in cells.itertuples()) + " |"]
        lines += ["|---|---|" + "---|" * len(cells)]
        lines += ["| published | | " + " | ".join(_number(row.published, row.published_std) for row in cells.itertuples()) + " |"]
        names = list(readings["reading"])
        own = [name for name in names if name.startswith(OWN[quantity])]
        for name in dict.fromkeys([*names[:_SHOWN], *own]):
            found = rows[rows["reading"] == name]
            shown = " | ".join(f"{_number(row.mean, row.std)} ({row.z:+.1f})" for row in found.itertuples())
            place = f"{names.index(name) + 1}. " + (f"**{name}**" if name in own else name)
            lines.append(f"| {place} | {found['sum_z2'].iloc[0]:.3g} | {shown} |")
        if len(names) > _SHOWN:
            lines += ["", f"{len(names)} in all, Σz² up to {readings['sum_z2'].max():.3g}."]
    return "\n".join(lines) + "\n"


def _number(mean: float, std: float) -> str:
    return f"{mean:.3g} ± {std:.2g}"
