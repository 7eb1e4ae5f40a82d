"""`geed measure`: how invariant a network is, in which layers, to what."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from geed.data.folder import ImageFolder
    from geed.models.zoo import Loaded

METRICS = "channel_eed,latent_eed/cosine,output_eed/kl,consistency"
TABLES = (".parquet", ".csv", ".json")
SHOWN = 6  # layers at either end of the printed table

_EXAMPLES = """examples:
  geed measure --model timm:resnet18 --pretrained --images photographs/ --group rotations:4 --out table.csv --figure profile.png
  geed measure --model my_networks:small --weights small.pth --images digits --group translations:x=3 --out table.parquet
  geed measure --model timm:resnet18 --pretrained --images photographs/ --lie translation_x,rotation --layerwise --out table.csv
"""


def register(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "measure",
        help="measure a network's invariance, layer by layer",
        description="Measure how invariant a network is, in which layers, to what.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="timm:NAME, torchvision:NAME, PACKAGE.MODULE:FUNCTION (returns a module), or a .safetensors file saved by geed",
    )
    network.add_argument(
        "--weights", type=Path, metavar="FILE", help=".safetensors, or a .pth that holds weights and nothing else"
    )
    network.add_argument("--pretrained", action="store_true", help="the library's own pretrained weights (a download)")
    network.add_argument("--classes", type=int, metavar="K", help="number of outputs, where not the library's default")
    network.add_argument("--size", type=int, metavar="PIXELS", help="side of the input, where not the model's own")
    images = parser.add_argument_group("images")
    images.add_argument(
        "--images",
        required=True,
        metavar="FOLDER|DATASET",
        help="a folder of images (flat, or one subfolder per class), or a data set",
    )
    images.add_argument("--split", default="test", help="of the data set (test)")
    images.add_argument("--limit", type=int, metavar="N", help="use at most N images")
    what = parser.add_argument_group("measurement")
    either = what.add_mutually_exclusive_group(required=True)
    either.add_argument("--group", metavar="GROUP", help="rotations:4, reflections, dihedral:4, translations:x=3, …")
    either.add_argument(
        "--lie", metavar="A,B", help="Lie derivatives instead: translation_x, rotation, scale, … as in docs/lie.md"
    )
    what.add_argument("--layerwise", action="store_true", help="with --lie: what each layer adds")
    what.add_argument("--probes", type=int, metavar="N", help="with --layerwise: estimate by N random probes (default: exact)")
    what.add_argument("--layers", metavar="A,B", help="names of layers, or 'conv' for all convolutions (default: every leaf)")
    what.add_argument("--metrics", default=METRICS, metavar="A,B", help=f"names as in docs/metrics.md ({METRICS})")
    what.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="images at once, every one of an orbit counted (256); with --lie, tangents at once (64, --layerwise 16)",
    )
    what.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … (auto)")
    what.add_argument("--untrained", action="store_true", help="measure the same network with untrained weights too, as a null")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=f"the table: {', '.join(TABLES)}; its record lies beside"
    )
    output.add_argument("--figure", type=Path, metavar="FILE", help="the layer profile: png or pdf")


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write the table, its record and the figure."""
    import time

    # Or PyTorch's threads, spinning for work between layers, keep the processors from those that measure (before it is imported).
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import pandas as pd

    from geed import files
    from geed.models import zoo

    # What can be wrong is found before anything slow starts.
    what = _of_lie(args) if args.lie is not None else _of_group(args)
    _check(args)
    loaded = zoo.resolve(args.model, args.weights, args.pretrained, args.classes, args.size)
    images, labels, source, preprocessing = _images(args, loaded, what)
    record = loaded.record | {"images": source, "preprocessing": preprocessing} | what.record
    print(_heading(record, what.lines))

    def measured(model: "torch.nn.Module") -> "pd.DataFrame":
        from geed.progress import bar

        with bar(len(images), "measure") as progress:
            options = {"batch_size": what.batch_size, "device": args.device, "progress": progress.update}
            return what.measure(model, images, labels, options)

    started = time.perf_counter()
    table, untrained = measured(loaded.model), None
    seconds = time.perf_counter() - started
    record |= {
        "images": source | {"sha256": _digest(images)},
        "batch_size": what.batch_size,
        "device": _device_name(args.device),
        "packages": _packages(),
        "wall_seconds": round(seconds, 3),
        "images_per_second": round(len(images) * what.order / seconds, 3),
    }
    written = table
    if args.untrained:
        untrained = measured(zoo.resolve(args.model, None, False, args.classes, args.size).model)
        written = pd.concat([table.assign(weights="given"), untrained.assign(weights="untrained")], ignore_index=True)
    print(what.summary(table, untrained))
    record_path = args.out.with_name(args.out.name + ".record.json")
    _write(args.out, written)
    files.write_json(record_path, record | {"table": {"path": args.out.name, "sha256": files.sha256(args.out)}})
    paths = [args.out, record_path]
    if args.figure:
        from geed.figures.profile import layer_profile

        layer_profile(
            table,
            args.figure,
            f"{args.model}, {args.group}",
            references=None if untrained is None else {"untrained": untrained},
        )
        paths.append(args.figure)
    print(f"\n{len(images)} images x {what.order} {what.unit} in {seconds:.1f} s; written: {', '.join(map(str, paths))}")
    return 0


@dataclass(frozen=True)
class _What:
    """What is to be measured.

    Attributes:
        order: how often each image goes through the network, and `unit`: of what.
        record: what the record says of it; `lines`: what the screen says before.
        measure: (model, images, labels, options) -> the table.
        summary: (table, table of the untrained network or None) -> what the screen says after.
    """

    order: int
    unit: str
    batch_size: int
    record: dict[str, Any]
    lines: list[str]
    measure: "Callable[..., pd.DataFrame]"
    summary: "Callable[[pd.DataFrame, pd.DataFrame | None], str]"


def _of_group(args: argparse.Namespace) -> _What:
    """Metrics of a group's orbits."""
    import geed
    from geed import groups
    from geed.errors import GeedError
    from geed.metrics import registry

    group, metrics = groups.parse(args.group), registry.parse_all(_parts(args.metrics))
    if args.layerwise or args.probes is not None:
        raise GeedError("--layerwise and --probes go with --lie; metrics of layers are measured with --group by themselves")
    if args.figure and not any(metric.of_layers for metric in metrics):
        raise GeedError(f"--figure {args.figure}: draws metrics of layers, and none is among {args.metrics}")
    names = [str(metric) for metric in metrics]

    def measure(model: "torch.nn.Module", images: Any, labels: Any, options: dict[str, Any]) -> "pd.DataFrame":
        return geed.measure(
            model, images, group=group, metrics=names, layers=_layers(args.layers, model), labels=labels, **options
        )

    return _What(
        group.order,
        "elements",
        256 if args.batch_size is None else args.batch_size,
        {"group": group.spec, "metrics": names},
        [f"group          {group.spec}"],
        measure,
        _summary,
    )


def _of_lie(args: argparse.Namespace) -> _What:
    """Lie derivatives, of the network or of its layers."""
    import geed
    from geed.errors import GeedError
    from geed.lie import transforms

    names = transforms.parse_all(_parts(args.lie), spatial_only=args.layerwise)
    if args.figure or args.layers or args.metrics != METRICS:
        raise GeedError("--figure, --layers and --metrics go with --group; the table of --lie --layerwise has every layer")
    if args.probes is not None and not args.layerwise:
        raise GeedError("--probes goes with --layerwise; the network's own derivative is exact without")
    settings = {"transforms": names, "output": "softmax", "resample": "bicubic"}
    settings["reduce"] = "squared_norm" if args.layerwise else "mean_abs"
    if args.layerwise:
        settings["probes"] = args.probes
    derive = "layerwise_lie_derivative" if args.layerwise else "lie_derivative"

    def measure(model: "torch.nn.Module", images: Any, labels: Any, options: dict[str, Any]) -> "pd.DataFrame":
        return getattr(geed, derive)(model, images, **settings, **options)

    exactly = "exact" if args.probes is None else f"{args.probes} probes"
    return _What(
        len(names),
        "transformations",
        (16 if args.layerwise else 64) if args.batch_size is None else args.batch_size,
        {derive: settings},
        [f"derivatives    {', '.join(names)}; softmax; {f'by layer, {exactly}' if args.layerwise else 'of the whole network'}"],
        measure,
        _summary_of_lie,
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _check(args: argparse.Namespace) -> None:
    from geed.errors import GeedError
    from geed.figures.profile import check_format

    if args.out.suffix not in TABLES:
        raise GeedError(f"--out {args.out}: expected a table that ends in {', '.join(TABLES)}")
    for path in (args.out, args.figure):
        if path is not None and not os.access(next(folder for folder in path.absolute().parents if folder.exists()), os.W_OK):
            raise GeedError(f"{path}: its folder cannot be written")
    if args.untrained and not (args.weights or args.pretrained):
        raise GeedError("--untrained compares with weights that were given: it needs --weights or --pretrained")
    if args.figure:
        check_format(args.figure)


def _images(
    args: argparse.Namespace, loaded: "Loaded", what: _What
) -> tuple["ImageFolder | torch.Tensor", "torch.Tensor | None", dict[str, Any], dict[str, Any]]:
    """The images, their labels where they have any, where they come from, and the preprocessing that they get."""
    from geed.data.folder import ImageFolder
    from geed.data.loading import load
    from geed.data.registry import DATASETS
    from geed.errors import GeedError, nearest

    preprocessing = loaded.preprocessing
    if args.images in DATASETS:
        size = preprocessing.size
        chosen = load(args.images, args.split, size=size and size[0], channels=preprocessing.channels, limit=args.limit)
        record = {"data_set": args.images, "split": args.split, "count": len(chosen), "shape": list(chosen.images.shape[1:])}
        resized = {"resize": "none" if size is None else "bilinear", "interpolation": "none" if size is None else "bilinear"}
        return chosen.images, chosen.labels, record, preprocessing.settings | resized
    if not Path(args.images).is_dir():
        raise GeedError(f"--images {args.images}: no such folder, and no data set of that name{nearest(args.images, DATASETS)}")
    folder = ImageFolder(args.images, preprocessing.transform, max(1, what.batch_size // what.order), args.limit)
    record = {"folder": args.images, "count": len(folder), "classes": len(folder.classes)}
    return folder, folder.labels, record, preprocessing.settings


def _layers(text: str | None, model: "torch.nn.Module") -> list[str] | None:
    from geed.errors import GeedError
    from geed.metrics.layers import convolutions

    if text is None:
        return None
    if text != "conv":
        return _parts(text)
    found = convolutions(model)
    if not found:
        raise GeedError("--layers conv: the network has no convolutions; leave it out to measure every leaf")
    return found


def _summary(table: "pd.DataFrame", untrained: "pd.DataFrame | None") -> str:
    """Whole-network metrics, the layers that deviate most and least, and why some were not measured."""
    from geed.metrics.registry import LARGER_IS_MORE_INVARIANT

    if untrained is not None:
        table = table.assign(untrained=untrained["value"])
    columns = ["value", "se", *(["untrained"] if untrained is not None else [])]
    table = table.assign(name=table["metric"] + table["distance"].map(lambda distance: f"/{distance}" if distance else ""))
    blocks = []
    whole = table[table["layer"] == ""]
    if len(whole):
        blocks.append(_grid("whole network", "name", whole, columns))
    layers = table[(table["layer"] != "") & table["value"].notna()]
    for name, rows in layers.groupby("name", sort=False):
        heading = f"{name} of {len(rows)} layers"
        if len(rows) > 2 * SHOWN:
            ranked = rows.sort_values("value", ascending=rows["metric"].iloc[0] in LARGER_IS_MORE_INVARIANT, kind="stable")
            rows = ranked.iloc[[*range(SHOWN), *range(-SHOWN, 0)]]
            heading += f": the {SHOWN} that deviate most, then the {SHOWN} that deviate least"
        blocks.append(_grid(heading, "layer", rows, columns))
    blocks += _missing(table[~table["layer"].isin(layers["layer"])])
    return "\n\n".join(blocks)


def _summary_of_lie(table: "pd.DataFrame", untrained: "pd.DataFrame | None") -> str:
    """The derivatives, or the layers that add most to each, and why some could not be measured."""
    on = ["transform", "layer"] if "layer" in table else ["transform"]
    columns = ["value", "se"]
    if untrained is not None:
        table = table.merge(untrained[[*on, "value"]].rename(columns={"value": "untrained"}), how="left", on=on)
        columns.append("untrained")
    if "layer" not in table:
        return _grid("mean |dp/dt| over the classes, at t = 0", "transform", table, columns)
    blocks = []
    for name, rows in table.groupby("transform", sort=False):
        adding = rows[rows["value"] > 0].sort_values("value", ascending=False, kind="stable")
        heading = f"{name}: squared norm that a layer adds, {len(adding)} of {rows['value'].notna().sum()} layers"
        heading += f", the {2 * SHOWN} that add most" if len(adding) > 2 * SHOWN else ""
        blocks.append(_grid(heading, "layer", adding.head(2 * SHOWN), columns))
    return "\n\n".join(blocks + _missing(table))


def _missing(table: "pd.DataFrame") -> list[str]:
    """Which layers have no value, and why."""
    missing = table[table["value"].isna()].drop_duplicates("layer")
    if not len(missing):
        return []
    lines = [f"{len(missing)} layers could not be measured; the table's column `note` says why"]
    for note, rows in missing.groupby("note", sort=False):
        lines.append(f"  {rows['layer'].iloc[0]}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "") + f": {note}")
    return ["\n".join(lines)]


def _grid(heading: str, key: str, rows: "pd.DataFrame", columns: list[str]) -> str:
    width = max([24, *(len(label) for label in rows[key])])
    lines = [heading, " " * (width + 2) + "".join(f"{column:>12}" for column in columns)]
    lines += [
        f"  {label:<{width}}" + "".join(f"{value:12.4g}" for value in values)
        for label, values in zip(rows[key], rows[columns].to_numpy(float), strict=True)
    ]
    return "\n".join(lines)


def _heading(record: dict[str, Any], more: list[str]) -> str:
    source, settings = record["images"], record["preprocessing"]
    lines = [
        f"network        {record['model']} ({record['library']}; {record['parameters']:,} parameters)",
        f"weights        {record['weights']['source']}",
        f"images         {source['count']} of {source.get('folder') or source['data_set'] + '/' + source['split']}",
        "preprocessing  " + "; ".join(f"{key} {_short(value)}" for key, value in settings.items() if value is not None),
        *more,
    ]
    return "\n".join(lines) + "\n"


def _short(value: Any) -> str:
    return " ".join(f"{item:g}" for item in value) if isinstance(value, list) else str(value)


def _write(path: Path, table: "pd.DataFrame") -> None:
    from geed import files

    if path.suffix != ".json":
        files.write_table(path, table)
        return
    with files.atomic(path) as temporary:
        temporary.write_text(table.to_json(orient="records", indent=1, double_precision=15) + "\n", encoding="utf-8")


def _digest(images: "ImageFolder | torch.Tensor") -> str | None:
    import hashlib

    from geed.data.folder import ImageFolder

    return images.sha256 if isinstance(images, ImageFolder) else hashlib.sha256(images.numpy().tobytes()).hexdigest()


def _device_name(device: str) -> str:
    import torch

    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return f"{name} ({torch.cuda.get_device_name(name)})" if name.startswith("cuda") else name


def _packages() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("geed", "numpy", "pillow", "timm", "torch", "torchvision")}
