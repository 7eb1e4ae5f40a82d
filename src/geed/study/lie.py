"""Lie derivatives as rows of the table of measurements: of the whole network, by type of layer, layer by layer, and finite.

Rows have `group` "lie:translation_x" and, as metric and distance,
    lie_derivative/mean_abs       the whole network (the authors' end-to-end number);
    lie_layerwise/<type>          squared norms of the layers' terms, summed over the layers of a type (`TYPES`), layer "";
                                  and each layer's own, by its name, without per-image values;
    difference_quotient/<t>       (f(r_t x) - f(x)) / t, reduced as the first is;
and `parameters`, the number of trainable ones, with group "".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from geed.lie.endtoend import difference_quotient, lie_derivative
from geed.lie.layerwise import layerwise_lie_derivative
from geed.lie.stops import ROOT
from geed.lie.transforms import TYPES
from geed.models.network import Network, parameter_count

REDUCE = "mean_abs"


def rows(model: Network, images: Tensor, settings: Mapping[str, Any], device: str) -> pd.DataFrame:
    """What an evaluation's `lie` asks for.

    Args:
        model: the network.
        images: (N, C, H, W) in [0, 1]; `limit` of the settings says how many of them are used.
        settings: `transforms`, `layerwise`, `steps`, `limit`.
        device: "cpu", "cuda", …

    Returns:
        Columns metric, distance, layer, group, value, se, n_images, n_elements, values (float32 array, or None).

    Raises:
        GeedError: what `geed.lie_derivative` and its neighbours raise.
    """
    images, names = images[: settings["limit"]], settings["transforms"]
    given = {"device": device, "per_image": True}
    whole = lie_derivative(model, images, names, reduce=REDUCE, **given)
    frames = [whole.assign(metric="lie_derivative", distance=REDUCE, layer="")]
    if settings["steps"]:
        finite = difference_quotient(model, images, names, settings["steps"], reduce=REDUCE, **given)
        frames.append(finite.assign(metric="difference_quotient", distance=finite["t"].map("{:g}".format), layer=""))
    if settings["layerwise"]:
        frames += _layers(model, layerwise_lie_derivative(model, images, names, **given))
    found = pd.concat(frames, ignore_index=True)
    found["group"] = "lie:" + found["transform"]
    size = {
        "metric": "parameters",
        "distance": "",
        "layer": "",
        "group": "",
        "value": float(parameter_count(model)),
        "values": None,
    }
    found = pd.concat([found, pd.DataFrame([size | {"se": 0.0, "n_images": len(images)}])], ignore_index=True)
    return found.assign(n_elements=1)[["metric", "distance", "layer", "group", "value", "se", "n_images", "n_elements", "values"]]


def type_of(module: nn.Module) -> str:
    """Which of `TYPES` a layer is; a convolution that strides by its kernel's side embeds patches."""
    name, home = type(module).__name__, type(module).__module__
    if "Attention" in name:
        return "attention"
    if "Pool" in name:
        return "pooling"
    if home == "torch.nn.modules.activation":
        return "activation"
    if isinstance(module, nn.modules.conv._ConvNd):
        if max(module.stride) == 1:
            return "convolution"
        return "patch_embedding" if tuple(module.stride) == tuple(module.kernel_size) else "strided_convolution"
    return "normalisation" if "Norm" in name and name != "Normalise" else "other"


def _layers(model: Network, found: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of the types of layers, with the values of each image, and rows of the layers that contribute."""
    found = found[found["value"].notna()]
    modules = [model if layer == ROOT else model.get_submodule(layer.split("#")[0]) for layer in found["layer"]]
    found = found.assign(metric="lie_layerwise", distance=[type_of(module) for module in modules])
    sums = []
    for name, of_transform in found.groupby("transform", sort=False):
        for kind in TYPES:
            values = [np.asarray(row, dtype=np.float64) for row in of_transform[of_transform["distance"] == kind]["values"]]
            total = np.sum(values, axis=0) if values else np.zeros(of_transform["n_images"].iloc[0])
            se = total.std(ddof=1) / len(total) ** 0.5 if len(total) > 1 else float("nan")
            row = {"transform": name, "metric": "lie_layerwise", "distance": kind, "layer": "", "value": total.mean(), "se": se}
            sums.append(row | {"n_images": len(total), "values": total.astype("float32")})
    return [pd.DataFrame(sums), found[found["value"] > 0].assign(values=None)]
