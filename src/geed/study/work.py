"""How much work a job of a study is, counted from its settings: passes, multiply-adds, numbers looked at. Imports no torch.

Resources are asked for by it, and the cost of a study is forecast from it (`geed.study.forecast`). Counts are those of
convolutions and matrix products; what they leave out is in the rates that are fitted to jobs that ran.
"""

import csv
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geed import groups
from geed.data import registry
from geed.metrics.registry import parse as parse_metric
from geed.study.conditions import conditions
from geed.training.names import TWO_VIEWS

COSTS = Path(__file__).with_name("costs.csv")  # made by benchmarks/costs.py
UNKNOWN_IMAGES = 50_000  # taken for a split of a folder, which nobody has counted
UNKNOWN_SIDE = 224
_COPIES = 4  # of an image in an augerino network
_STEPS = 16  # of integrated gradients
_DIRECTIONS = 60  # products with the Jacobian until its norm has converged
_BATCH, _CPU_NUMBERS = 256, 64 * 3 * 64 * 64  # images that pass a network at once, and numbers in them on a CPU
_ALIVE = 8  # outputs of layers that are in memory at a time, with the copies that metrics make
_FLOAT = 4  # bytes
_MB = 2**20


@dataclass(frozen=True)
class Images:
    """A prepared data set before it is there.

    Attributes:
        channels: of an image.
        side: in pixels.
        classes: how many.
        splits: split -> number of images.
    """

    channels: int
    side: int
    classes: int
    splits: Mapping[str, int]

    def megabytes(self, *splits: str) -> float:
        """Of the images of some splits as float32, of all where none is named."""
        count = sum(self.splits.get(split, 0) for split in splits or self.splits)
        return count * self.channels * self.side**2 * _FLOAT / _MB


@dataclass(frozen=True)
class Network:
    """One forward pass of one image.

    Attributes:
        gmac: multiply-adds, in 10^9.
        layers: layers that are measured.
        numbers: outputs of those layers, counted over channels and positions.
        parameters: roughly.
    """

    gmac: float
    layers: int
    numbers: float
    parameters: float


@dataclass(frozen=True)
class Work:
    """What a job does.

    Attributes:
        amounts: name -> amount, those that a job's time is fitted to.
        megabytes: memory beyond that of the interpreter and its packages.
        written: megabytes of its outputs, before compression.
    """

    amounts: Mapping[str, float] = field(default_factory=dict)
    megabytes: float = 0.0
    written: float = 0.0


def images(settings: Mapping[str, Any]) -> Images:
    """What a data set of a study will hold; sizes of folders are guessed (`UNKNOWN_IMAGES`, `UNKNOWN_SIDE`)."""
    entry = registry.info(settings["source"])
    counts = registry.COUNTS.get(entry.name, {})
    kept = len(settings["classes"]) if settings["classes"] else len(entry.classes) or 1000
    share = kept / (len(entry.classes) or kept)
    splits = dict(settings["split"] or {})
    if not splits:
        for split, (part, low, high) in entry.splits.items():
            splits[split] = round(counts.get(part, UNKNOWN_IMAGES) * share * (high - low))
            splits[split] = min(splits[split], settings["limit"] or splits[split])
    channels, *sides = entry.shape or (3, UNKNOWN_SIDE, UNKNOWN_SIDE)
    side = max(settings["size"] or max(sides), settings["pad"] or 0)
    return Images(settings["channels"] or channels, side, kept, splits)


def network(architecture: Mapping[str, Any], data: Images) -> Network:
    """The cost of a network; of a published one that nobody counted (`COSTS`), that of a ResNet-50."""
    kind = architecture["kind"]
    if kind == "augerino":
        inner = network(architecture["network"], data)
        return Network(_COPIES * inner.gmac, 1, _COPIES * inner.numbers, inner.parameters)
    count = {"plain_cnn": _cnn, "steerable_cnn": _cnn, "perceptron": _perceptron, "tied_perceptron": _perceptron}
    count |= {"vit": _tokens, "mixer": _tokens}
    if kind in count:
        return count[kind](architecture, data)
    counted = _costs().get(architecture["name"], {"size": 224, "gmac": 4.1, "layers": 16, "numbers": 5e6, "parameters": 25e6})
    share = (data.side / counted["size"]) ** 2
    return Network(counted["gmac"] * share, int(counted["layers"]), counted["numbers"] * share, counted["parameters"])


@functools.cache
def _costs() -> dict[str, dict[str, float]]:
    """Name of a published network -> what one image of `size` costs it."""
    with COSTS.open(encoding="utf-8", newline="") as stream:
        return {row.pop("name"): {key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)}


def _cnn(architecture: Mapping[str, Any], data: Images) -> Network:
    widths, stride = architecture["widths"], architecture.get("stride", 2)
    strides = [stride if place == 1 else 1 for place in range(len(widths))] if isinstance(stride, int) else stride
    fields = groups.parse(architecture["symmetry"]).order if "symmetry" in architecture else 1
    pooled = architecture.get("downsampling", "stride") != "stride"
    inputs, side, products, numbers, parameters = data.channels, data.side, 0.0, 0.0, 0.0
    for width, step in zip(widths, strides, strict=True):
        outputs, smaller = width * fields, math.ceil(side / step)
        products += 9 * inputs * outputs * (side if pooled else smaller) ** 2
        numbers += outputs * smaller**2
        parameters += 9 * inputs * outputs / fields
        inputs, side = outputs, smaller
    return Network(products / 1e9, len(widths) + 1, numbers + inputs, parameters + inputs * data.classes)


def _perceptron(architecture: Mapping[str, Any], data: Images) -> Network:
    hidden, layers, pixels = architecture["hidden"], architecture["layers"], data.channels * data.side**2
    tied = groups.parse(architecture["symmetry"]).order if "symmetry" in architecture else 1
    rest = hidden**2 * (layers - 1) + hidden * data.classes
    return Network((tied * pixels * hidden + rest) / 1e9, layers, hidden * layers, pixels * hidden + rest)


def _tokens(architecture: Mapping[str, Any], data: Images) -> Network:
    width, depth, tokens = architecture["width"], architecture["depth"], (data.side / architecture["patch"]) ** 2
    patches = architecture["patch"] ** 2 * data.channels * width
    block, mixing = (12 * width**2, 2 * tokens * width) if "heads" in architecture else (8 * width**2, tokens * width)
    products = tokens * (patches + depth * (block + mixing))
    return Network(products / 1e9, depth + 1, depth * tokens * width, patches + depth * block)


def training(run: Mapping[str, Any], data: Images) -> Work:
    """Training one network: `steps` of the optimiser, `images` through the network with all views, `gmac` forward and back."""
    objective = run["objective"] if isinstance(run["objective"], str) else run["objective"]["kind"]
    model, settings = network(run["architecture"], data), run["training"]
    views = 2 if objective in (*TWO_VIEWS, "invariance", "remul") else 1
    count = data.splits.get("train", UNKNOWN_IMAGES)
    epochs = 0 if objective == "none" else settings["epochs"]
    batch = min(settings["batch_size"], count)
    seen = epochs * (count // batch) * batch * views
    orbit = max([groups.parse(name).order for name in run["augmentation"] if ":" in name or name == "reflections"], default=1)
    # What backpropagation keeps of a batch, where there is any. A published network that is not trained sees no data at all.
    numbers = 6 * model.numbers * batch * views * _FLOAT / _MB if epochs else 0.0
    held = data.megabytes("train") * (1 + orbit) + data.megabytes("validation") + numbers
    if not epochs and run["initialisation"].get("pretrained"):
        held = 0.0
    amounts = {"steps": epochs * (count // batch), "images": seen, "gmac": 3 * model.gmac * seen}
    weights = model.parameters * (1 + len(settings["snapshots"])) * _FLOAT / _MB
    return Work(amounts, held + 2 * weights, weights)


def measuring(
    run: Mapping[str, Any],
    evaluations: Mapping[str, Mapping[str, Any]],
    corruptions: Mapping[str, Any],
    sets: Mapping[str, Images],
) -> Work:
    """Measuring one network.

    Its amounts: `sets` of images measured, `images` that pass through the network (orbits and gradients counted), their `gmac`,
    and `numbers`: outputs of layers that metrics look at, in 10^6, over images, elements, metrics.
    """
    amounts = dict.fromkeys(("sets", "images", "gmac", "numbers"), 0.0)
    largest = values = 0.0
    for evaluation in evaluations.values():
        data = sets[evaluation["data"]]
        model = network(run["architecture"], data)
        count = min(data.splits.get("test", UNKNOWN_IMAGES), evaluation["limit"] or math.inf)
        measured = len(conditions(evaluation, corruptions))
        metrics = [parse_metric(name) for name in evaluation["metrics"]]
        of_layers = sum(metric.of_layers for metric in metrics)
        rows = len(evaluation["groups"]) * (len(metrics) - of_layers + of_layers * model.layers / 2 + 2)
        values += measured * count * rows  # a value for each image; about half of the layers are maps, half vectors
        measured *= 1 + len(run["training"]["snapshots"]) if evaluation["snapshots"] else 1
        passes = 0.0
        for spec in evaluation["groups"]:
            order = groups.parse(spec).order
            passes += count * (order + 1)
            passes += 3 * _STEPS * order * count * any(metric.name == "saliency_similarity" for metric in metrics)
            passes += 3 * _DIRECTIONS * count * any(metric.name == "jacobian_norm" for metric in metrics)
            amounts["numbers"] += measured * count * order * of_layers * model.numbers / 1e6
        if lie := evaluation.get("lie"):
            few, moved = min(count, lie["limit"] or count), len(lie["transforms"])
            passes += few * moved * (4 + len(lie["steps"]) + 2 * model.layers * lie["layerwise"])
        amounts["sets"] += measured
        amounts["images"] += measured * passes
        amounts["gmac"] += measured * passes * model.gmac
        at_once = min(_BATCH, _CPU_NUMBERS / (data.channels * data.side**2))  # as geed.metrics.session has it
        batch = _ALIVE * model.numbers / model.layers * at_once * _FLOAT / _MB
        largest = max(largest, 3 * data.megabytes("test") + batch)
    return Work(amounts, largest, values * _FLOAT / _MB)
