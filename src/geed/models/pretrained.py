"""Pretrained weights by name: a network and its weights in one call.

After the first load the weights lie in the cache as safetensors, checksummed like everything else. Networks that timm and
torchvision offer with weights of their own go by ``timm:NAME`` and ``torchvision:NAME``, which download.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from geed.data import mirror as mirrors
from geed.data.mirror import SourceFile
from geed.errors import GeedError, nearest
from geed.models.published import PRETRAINED, TIMM, WeightsInfo, convert, record

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_pretrained(
    name: str, mirror: str | Path | None = None, cache: str | Path | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """A network with its pretrained weights.

    Args:
        name: a name in `PRETRAINED`, or ``timm:NAME`` or ``torchvision:NAME``.
        mirror: a folder or URL, tried before the canonical source; None takes GEED_DATA_MIRROR.
        cache: where downloads and converted weights are kept.

    Returns:
        The network, in eval mode on the CPU, taking images in [0, 1]: its own normalisation is its submodule `normalise`. And a
        record: `model`, `weights` {source, sha256, licence}, `data`, `accuracy` (published), `preprocessing`.

    Raises:
        GeedError: unknown name, or weights that cannot be had or do not fit.
    """
    if name.startswith((TIMM, "torchvision:")):
        from geed.models import zoo

        loaded = zoo.resolve(name, pretrained=True)
        return loaded.model, loaded.record
    if name not in PRETRAINED:
        raise GeedError(f"unknown pretrained network '{name}'{nearest(name, PRETRAINED)}; or timm:NAME, torchvision:NAME")
    from geed.models.layers import Normalise

    info = PRETRAINED[name]
    model = info.build()
    _fill(model, _weights(info, mirror, cache), info.file.path)
    model.normalise = Normalise(info.preprocessing["mean"], info.preprocessing["std"])
    model.register_forward_pre_hook(_normalise_first)
    return model.eval(), record(info)


def _normalise_first(model: nn.Module, inputs: tuple) -> tuple:
    images, *others = inputs
    return (model.normalise(images), *others)


def _weights(info: WeightsInfo, mirror: str | Path | None, cache: str | Path | None) -> dict[str, Tensor]:
    """The weights by name: from the cache's safetensors where that is right, else from the published file, converted."""
    from safetensors.torch import load_file

    converted = SourceFile(f"weights/{info.name}.safetensors", info.safetensors)
    place = mirrors.cache_folder(cache) / converted.path
    if not mirrors.kept(converted, cache):
        try:
            published = mirrors.obtain(info.file, mirror, cache)
        except GeedError as error:
            raise GeedError(f"pretrained network '{info.name}' (source: {info.source}): {error}") from error
        convert(info.name, published, place)
    return load_file(place)


def _fill(model: nn.Module, tensors: dict[str, Tensor], origin: str) -> None:
    own = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    if own.keys() != tensors.keys() or any(own[name].shape != tensors[name].shape for name in own):
        raise GeedError(f"{origin}: its weights do not fit the network they are registered for")
    model.load_state_dict(tensors, strict=False)
