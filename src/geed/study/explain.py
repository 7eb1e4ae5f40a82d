"""The step that records what networks look at along the orbits of a few images, and where their features lie."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geed import files, groups, seeds
from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.groups import Group
from geed.metrics.saliency import saliency_maps, similarity
from geed.models import weights as model_weights
from geed.models.network import Network

ROLES = ("augmented", "tied", "regularised")


def record(settings: Mapping[str, Any], weights: Mapping[str, Path], data: Path, output: Path) -> dict[str, Any]:
    """Record saliency maps along orbits, brought back by g⁻¹, and a two-dimensional embedding of the features.

    The embedding is t-SNE (van der Maaten and Hinton 2008) of the penultimate layer, of `embedded` test images, each moved by a
    random element of the group as in training, together with the whole orbit of the first of the images shown.

    Args:
        settings: `comparisons` (name -> `group` and the runs by ROLES), `images` (indices in the test split), `embedded`.
        weights: run -> the weights of its network.
        data: prepared data with the split "test".
        output: safetensors; arrays and their description, as `geed.figures.explained.read` takes them.

    Returns:
        For the job record: images, embedded, networks.

    Raises:
        GeedError: data or weights that are damaged or do not fit, or no such image.
    """
    from safetensors.torch import save_file

    images = store.read(data, "test")
    if late := [index for index in settings["images"] if index >= len(images)]:
        raise GeedError(f"explained.images: expected indices below {len(images)}, the images of {data}; found {late[0]}")
    networks = {run: model_weights.load(path).eval() for run, path in weights.items()}
    shown, labels = images.images[settings["images"]], images.labels[settings["images"]]
    arrays = {"classes": images.labels[: settings["embedded"]].clone()}
    elements: dict[str, list[str]] = {}
    for name, entry in settings["comparisons"].items():
        group = groups.parse(entry["group"])
        orbit = torch.stack([group.act(k, shown) for k in range(group.order)], dim=1)
        elements[name], arrays[f"{name}.orbit"] = list(group.names), orbit
        crowd = _moved(images, group, settings["embedded"])
        for role in ROLES:
            network = networks[entry[role]]
            maps = [saliency_maps(network, orbit[:, k], labels) for k in range(group.order)]
            maps = [group.act(group.inverse(k), found[:, None])[:, 0] for k, found in enumerate(maps)]
            arrays[f"{name}.{role}.maps"] = torch.stack(maps, dim=1)
            arrays[f"{name}.{role}.similarity"] = torch.stack([similarity(maps[0], other) for other in maps], dim=1)
            arrays[f"{name}.{role}.embedding"] = _embedding(_features(network, torch.cat([orbit[0], crowd])))
    about = {
        "comparisons": {name: entry | {"elements": elements[name]} for name, entry in settings["comparisons"].items()},
        "images": settings["images"],
        "classes": [images.classes[label] for label in labels],
        "names": list(images.classes),
        "data": images.name,
        "embedded": min(settings["embedded"], len(images)),
    }
    with files.atomic(output) as temporary:
        # One metadata key: the order of several would vary from run to run.
        save_file(
            {name: array.contiguous() for name, array in arrays.items()},
            temporary,
            metadata={"geed": json.dumps(about, sort_keys=True)},
        )
    return {"images": len(shown), "embedded": about["embedded"], "networks": len(networks)}


def _moved(images: ImageSet, group: Group, count: int) -> Tensor:
    """The first `count` images, each moved by a random element."""
    pixels = images.images[:count]
    drawn = torch.randint(group.order, (len(pixels),), generator=seeds.generator("explained", images.name, group.spec))
    return torch.stack([group.act(int(k), image[None])[0] for k, image in zip(drawn, pixels, strict=True)])


@torch.no_grad()
def _features(network: Network, images: Tensor) -> Tensor:
    """(N, D) output of the feature layer."""
    found: list[Tensor] = []
    handle = network.get_submodule(network.feature_layer).register_forward_hook(lambda _, __, output: found.append(output))
    try:
        network(images)
    finally:
        handle.remove()
    return found[0].flatten(1)


def _embedding(features: Tensor) -> Tensor:
    """(N, 2) t-SNE coordinates; on one thread, because sums over several would not be the same every time."""
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        found = TSNE(random_state=0, init="pca", perplexity=min(30, (len(features) - 1) / 3)).fit_transform(features.numpy())
    return torch.from_numpy(found.copy())
