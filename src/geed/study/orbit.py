"""The step that records what networks make of one image's orbit, for the overview figure."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geed import files, groups
from geed.data import store
from geed.errors import GeedError
from geed.groups.fields import fibres
from geed.metrics.engine import measure
from geed.models import weights as model_weights
from geed.models.network import Network

_SHOWN = 4  # elements of the orbit, the identity first
_PROFILED = 512  # test images over which the deviation by depth is measured
_METRICS = {"raw": "channel_eed", "field": "field_eed"}


def record_orbit(
    settings: Mapping[str, Any], weights: Sequence[Path], data: Path, output: Path, device: str = "auto"
) -> dict[str, Any]:
    """Record feature maps of one image's orbit, each brought back by g⁻¹, in the first and the middle layer of each network.

    Of each layer the channel that varies most over f(x) is kept. Where a layer declares fields, the maps are also brought back by
    the layer's own action, which mixes channels.

    Args:
        settings: `runs` (names, as many as weights), `group`, and `image` (index in the test split).
        weights: the networks' weights, in the order of the runs.
        data: prepared data with the split "test".
        output: safetensors; arrays and their description as `geed.figures.overview.read` takes them.
        device: "auto", "cpu" or "cuda", for the deviation by depth; the orbit itself is one small batch on the CPU.

    Returns:
        For the job record: images, elements.

    Raises:
        GeedError: data or weights that are damaged or do not fit, no such image, or a network without convolutional layers.
    """
    from safetensors.torch import save as serialised

    images, group = store.read(data, "test"), groups.parse(settings["group"])
    index = settings["image"]
    if index >= len(images):
        raise GeedError(f"overview.image: expected an index below {len(images)}, the images of {data}; found {index}")
    shown = torch.linspace(0, group.order - 1, min(_SHOWN, group.order)).round().int().tolist()
    image = images.images[index : index + 1]
    arrays = {"images": torch.cat([group.act(k, image) for k in shown])}
    runs = []
    for place, (run, path) in enumerate(zip(settings["runs"], weights, strict=True)):
        model = model_weights.load(path)
        if not model.conv_layers:
            raise GeedError(f"overview.runs: expected networks with convolutional layers, found {run} without any")
        chosen = dict.fromkeys([model.conv_layers[0], model.conv_layers[(len(model.conv_layers) - 1) // 2]])
        recorded = []
        for layer, (maps, field_type) in _maps(model, arrays["images"], list(chosen)).items():
            channel = int(maps[0].flatten(1).std(dim=1).argmax())
            versions = {"raw": torch.stack([group.act(group.inverse(k), y) for k, y in zip(shown, maps, strict=True)])}
            if field_type is not None:
                actions = fibres(group, field_type)
                back = [actions[group.inverse(k)].act(y[None])[0] for k, y in zip(shown, versions["raw"], strict=True)]
                versions["field"] = torch.stack(back)
            for version, aligned in versions.items():
                arrays[f"{place}.{layer}.{version}"] = aligned[:, channel].contiguous()
                arrays[f"{place}.{layer}.{version}.deviation"] = torch.stack([_deviation(y, maps[0]) for y in aligned])
            depth = (model.conv_layers.index(layer) + 1) / len(model.conv_layers)
            recorded.append({"name": layer, "depth": depth, "channel": channel, "versions": list(versions)})
        wanted = {version: _METRICS[version] for version in recorded[0]["versions"]}
        table = measure(
            model, images.images[:_PROFILED], group=group, metrics=list(wanted.values()), layers=model.conv_layers, device=device
        )
        for version, metric in wanted.items():
            rows = table[table["metric"] == metric]
            arrays[f"{place}.profile.{version}"] = torch.tensor(rows[["value", "se"]].to_numpy())
        runs.append({"name": run, "layers": recorded, "depth": len(model.conv_layers)})
    about = {
        "group": group.spec,
        "elements": [group.names[k] for k in shown],
        "runs": runs,
        "image": index,
        "class": images.classes[images.labels[index]],
        "data": images.name,
        "n_images": min(_PROFILED, len(images)),
    }
    with files.atomic(output) as temporary:
        # One metadata key: the order of several would vary from run to run.
        metadata = {"geed": json.dumps(about, sort_keys=True)}
        temporary.write_bytes(serialised({name: array.contiguous() for name, array in arrays.items()}, metadata=metadata))
    return {"images": about["n_images"], "elements": group.order}


@torch.no_grad()
def _maps(model: Network, images: Tensor, layers: Sequence[str]) -> dict[str, tuple[Tensor, Any]]:
    """Layer -> its feature maps (N, C, H, W), float64, and its declared field type or None."""
    found: dict[str, tuple[Tensor, Any]] = {}

    def see(layer: str) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            declares = not isinstance(output, Tensor)
            found[layer] = ((output.tensor if declares else output).double(), output.type if declares else None)

        return hook

    handles = [model.get_submodule(layer).register_forward_hook(see(layer)) for layer in layers]
    try:
        model.eval()(images)
    finally:
        for handle in handles:
            handle.remove()
    return {layer: found[layer] for layer in layers}


def _deviation(aligned: Tensor, reference: Tensor) -> Tensor:
    """Minus the mean over channels of the cosine of two maps (C, H, W) (Eq 5); two empty channels agree, one alone does not."""
    a, b = aligned.flatten(1), reference.flatten(1)
    norms = a.norm(dim=1) * b.norm(dim=1)
    empty = (a.norm(dim=1) == 0) & (b.norm(dim=1) == 0)
    cosines = torch.where(norms > 0, (a * b).sum(dim=1) / norms.where(norms > 0, 1.0), empty.double())
    return -cosines.mean()
