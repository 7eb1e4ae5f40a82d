"""Other people's networks by name: timm, torchvision, a function of yours, or a file that geed saved.

A network's results depend on its preprocessing, so it comes from the model's own data config, is returned as data and belongs
into every record. Its normalisation happens inside the returned model, which takes images in [0, 1]; it is a forward pre-hook
and not a wrapper, so that layers keep the names that the model's own documentation gives them.

Weights are safetensors, or PyTorch files read with ``weights_only=True``; a file that holds anything but numbers is refused
without being executed.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from geed import compat, files, seeds
from geed.data import mirror as mirrors
from geed.data import store
from geed.errors import GeedError, nearest
from geed.models import from_timm

if TYPE_CHECKING:
    from PIL.Image import Image

FORMS = "timm:NAME, torchvision:NAME, PACKAGE.MODULE:FUNCTION, or a .safetensors file saved by geed"
SUFFIXES = (".safetensors", ".pth", ".pt", ".th")
# Where training scripts put a network's weights inside a checkpoint.
_INSIDE_CHECKPOINTS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes a model's input.

    Attributes:
        settings: in words and numbers, for records: origin, channels, size (H, W) or None where the model takes any,
            resizing, cropping, interpolation, mean, std (the last two are applied inside the model).
        transform: PIL image -> float32 (C, H, W) in [0, 1].
    """

    settings: dict[str, Any]
    transform: Callable[["Image"], Tensor]

    @property
    def channels(self) -> int | None:
        """Number of colour channels that the model takes, or None where it is not known."""
        return self.settings["channels"]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the model's input, or None where it is not fixed."""
        return self.settings["size"] and tuple(self.settings["size"])


@dataclass(frozen=True)
class Loaded:
    """A network that is ready to be measured.

    Attributes:
        model: takes images (N, C, H, W) in [0, 1], returns what the network returns; in eval mode, on the CPU.
        preprocessing: from files to those images.
        record: what was loaded: `model`, `library`, `weights` {source, sha256}, `parameters`, `preprocessing`.
    """

    model: nn.Module
    preprocessing: Preprocessing
    record: dict[str, Any]


@dataclass(frozen=True)
class _Normalise:
    """A forward pre-hook: (x - mean) / std, by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, module: nn.Module, inputs: tuple) -> tuple:
        images, *others = inputs
        mean, std = (images.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return ((images - mean) / std, *others)


def resolve(
    spec: str,
    weights: str | Path | None = None,
    pretrained: bool = False,
    num_classes: int | None = None,
    size: int | None = None,
) -> Loaded:
    """The network that `spec` names, with its preprocessing and a record of both.

    Without `weights` and `pretrained` the weights are random, drawn from a generator named after `spec`.

    Args:
        spec: "timm:NAME", "torchvision:NAME", "package.module:function" (called without arguments, returns a module) or the
            path of a .safetensors file saved by `geed.models.weights`.
        weights: a file to load into the network.
        pretrained: take the library's own pretrained weights, which it downloads.
        num_classes: number of outputs, where not the library's default.
        size: side of the square input in pixels, where not the model's own.

    Raises:
        GeedError: unknown name (the nearest is suggested), unreadable or unfitting weights, a download that fails.
    """
    if weights is not None and pretrained:
        raise GeedError("weights and pretrained exclude each other: one says a file, the other a download")
    source, colon, name = str(spec).partition(":")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.seed_of("zoo", spec))
        if source == "timm" and colon:
            model, preprocessing = _timm(name, pretrained, num_classes, size)
        elif source == "torchvision" and colon:
            model, preprocessing = _torchvision(name, pretrained, num_classes, size)
        elif str(spec).endswith(".safetensors"):
            _refuse(spec, weights=weights, pretrained=pretrained, num_classes=num_classes)
            model, preprocessing = _saved(spec, size)
        elif all(part.isidentifier() for part in (*source.split("."), name)):
            _refuse(spec, pretrained=pretrained, num_classes=num_classes)
            model, preprocessing = _function(source, name, size)
        else:
            raise GeedError(f"model '{spec}': expected {FORMS}")
    if weights is not None:
        load_weights(model, weights)
    if preprocessing.settings["mean"] is not None:
        model.register_forward_pre_hook(_Normalise(preprocessing.settings["mean"], preprocessing.settings["std"]))
    file = spec if str(spec).endswith(".safetensors") else weights
    origin = str(file) if file is not None else f"pretrained ({_tag(model)})" if pretrained else "untrained"
    record = {
        "model": str(spec),
        "library": _library(source),
        "weights": {"source": origin, "sha256": None if file is None else files.sha256(file)},
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "preprocessing": preprocessing.settings,
    }
    return Loaded(model.eval(), preprocessing, record)


def save_timm(name: str, output: str | Path, mirror: str | Path | None = None) -> dict[str, Any]:
    """Write timm's pretrained weights of a network as safetensors: the float tensors, sorted by name.

    Args:
        name: as timm has it, with its tag or without.
        output: the file.
        mirror: a folder; ``weights/timm/NAME.safetensors`` in it, as this function wrote it elsewhere, is taken before anything
            is downloaded. None takes GEED_DATA_MIRROR.

    Returns:
        For the job record: `model`, `library`, `weights` {source, sha256, licence}, `data`, `accuracy`, `preprocessing`.

    Raises:
        GeedError: unknown name, no weights to be had, or a file of the mirror that does not fit.
    """
    timm = compat.import_timm()
    from_timm.check(timm, name)
    mirror = mirrors.resolve(mirror)
    kept = Path(mirror or "", "weights", "timm", f"{name}.safetensors")
    here = bool(mirror) and kept.is_file()
    model = from_timm.created(f"timm:{name}", not here, lambda: timm.create_model(name, pretrained=not here))
    tensors = {key: value.contiguous() for key, value in sorted(model.state_dict().items()) if value.is_floating_point()}
    if here:
        found = _read_weights(kept)
        if found.keys() != tensors.keys() or any(found[key].shape != tensors[key].shape for key in tensors):
            raise GeedError(f"{kept}: its weights do not fit timm:{name}")
        files.copy(kept, output)
    else:
        store.write_tensors(output, {key: value.float() for key, value in tensors.items()}, {"name": f"timm:{name}"})
    config = model.pretrained_cfg
    source = str(kept) if here else str(config.get("hf_hub_id") or config.get("url") or _tag(model))
    return {
        "model": f"timm:{name}",
        "library": _library("timm"),
        "weights": {"source": source, "sha256": files.sha256(output), "licence": config.get("license") or "not stated"},
        "data": _tag(model),
        "accuracy": None,
        "preprocessing": timm.data.resolve_model_data_config(model),
    }


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Load a file of weights into `model`, in place and strictly: every name and shape must fit.

    Leading ``module.`` (DistributedDataParallel) is stripped; a training checkpoint is searched for its state dict.

    Args:
        model: the network.
        path: .safetensors, or .pth, .pt, .th written by `torch.save`.

    Raises:
        GeedError: absent, unreadable, not weights alone, or names and shapes that do not fit.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise GeedError(f"{path}: expected weights in a file that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise GeedError(f"{path}: no such file")
    loaded = {name.removeprefix("module."): tensor for name, tensor in _read_weights(path).items()}
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - loaded.keys()), sorted(loaded.keys() - own.keys())
    if missing or unexpected:
        faults = [
            f"{len(names)} {word} (first: {', '.join(names[:3])})"
            for word, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        raise GeedError(f"{path}: the names of its {len(loaded)} weights do not fit the model's {len(own)}: {'; '.join(faults)}")
    wrong = [name for name in own if own[name].shape != loaded[name].shape]
    if wrong:
        found, expected = tuple(loaded[wrong[0]].shape), tuple(own[wrong[0]].shape)
        raise GeedError(
            f"{path}: {len(wrong)} of its weights have the wrong shape; first: {wrong[0]} is {found}, expected {expected}"
        )
    bad = next((name for name, tensor in loaded.items() if tensor.is_floating_point() and not tensor.isfinite().all()), None)
    if bad:
        raise GeedError(f"{path}: {bad} holds NaN or infinity")
    model.load_state_dict(loaded)


def _read_weights(path: Path) -> dict[str, Tensor]:
    """Names and tensors of a file of weights."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise GeedError(f"{path}: expected weights in safetensors format, found something unreadable ({error})") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a damaged file; which one says nothing to the user
        refused = "weights only" in str(error).lower() or "unpickl" in type(error).__name__.lower()
        what = "it holds more than weights, and is not executed" if refused else f"it cannot be read ({type(error).__name__})"
        raise GeedError(f"{path}: expected weights that torch.load(weights_only=True) reads: {what}") from error
    for key in _INSIDE_CHECKPOINTS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise GeedError(f"{path}: expected a mapping of names to tensors, found {_shape_of(content)}")
    return dict(content)


def _shape_of(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return f"a mapping with keys {', '.join(map(str, list(content)[:5]))}" if content else "an empty mapping"


def _timm(name: str, pretrained: bool, num_classes: int | None, size: int | None) -> tuple[nn.Module, Preprocessing]:
    timm = compat.import_timm()
    from_timm.check(timm, name)
    model = from_timm.created(
        f"timm:{name}", pretrained, lambda: timm.create_model(name, pretrained=pretrained, num_classes=num_classes)
    )
    config = timm.data.resolve_model_data_config(model)
    if size is not None:
        if hasattr(model, "set_input_size"):
            from_timm.created(f"timm:{name} at {size} pixels", False, lambda: model.set_input_size(img_size=(size, size)))
        config["input_size"] = (config["input_size"][0], size, size)
    resize = timm.data.create_transform(**config, is_training=False, normalize=False)
    channels, height, width = config["input_size"]
    settings = {
        "origin": "timm data config",
        "channels": channels,
        "size": [height, width],
        "resize": f"{config['crop_mode']}, crop {config['crop_pct']:g}",
        "interpolation": config["interpolation"],
        "mean": list(config["mean"]),
        "std": list(config["std"]),
    }
    return model, Preprocessing(settings, lambda image: resize(_with_channels(image, channels)).float() / 255)


def _torchvision(name: str, pretrained: bool, num_classes: int | None, size: int | None) -> tuple[nn.Module, Preprocessing]:
    models = compat.import_torchvision().models
    known = models.list_models(module=models)
    if name not in known:
        raise GeedError(f"unknown torchvision model '{name}'{nearest(name, known)}")
    default = models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if pretrained and num_classes is not None:
        raise GeedError(f"torchvision:{name}: the number of classes of pretrained weights is fixed; leave it out, or give a file")
    if size is not None and name.startswith("vit_"):
        options["image_size"] = size
    model = from_timm.created(
        f"torchvision:{name}", pretrained, lambda: models.get_model(name, weights=default if pretrained else None, **options)
    )
    preset = default.transforms()
    if size is not None:
        preset.resize_size = [round(size * preset.resize_size[0] / preset.crop_size[0])]
        preset.crop_size = [size]
    settings = {
        "origin": f"torchvision {default}",
        "channels": len(preset.mean),
        "size": [preset.crop_size[0], preset.crop_size[0]],
        "resize": f"shorter side to {preset.resize_size[0]}, centre crop",
        "interpolation": preset.interpolation.value,
        "mean": list(preset.mean),
        "std": list(preset.std),
    }
    preset.mean, preset.std = [0.0] * len(preset.mean), [1.0] * len(preset.std)
    return model, Preprocessing(settings, lambda image: preset(_with_channels(image, settings["channels"])))


def _saved(path: str, size: int | None) -> tuple[nn.Module, Preprocessing]:
    from geed.models import weights

    model = weights.load(path)
    return model, _plain("geed specification", model.spec["channels"], size or model.spec["size"])


def _function(module_name: str, name: str, size: int | None) -> tuple[nn.Module, Preprocessing]:
    where = f"model '{module_name}:{name}'"
    if os.getcwd() not in sys.path:  # as `python -m` has it; a console script does not
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        hint = nearest(module_name, ("timm", "torchvision"))
        raise GeedError(f"{where}: no module named '{error.name}' here or in the environment{hint}") from error
    except Exception as error:
        raise GeedError(f"{where}: importing {module_name} raised {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        choices = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise GeedError(f"{where}: {module_name} has no function '{name}'{nearest(name, choices)}")
    model = from_timm.created(where, False, function)
    if not isinstance(model, nn.Module):
        raise GeedError(f"{where}: expected it to return a torch.nn.Module, found {type(model).__name__}")
    return model, _plain("none declared: images in [0, 1]", None, size)


def _plain(origin: str, channels: int | None, size: int | None) -> Preprocessing:
    """Shorter side to `size`, centre crop, no normalisation of ours; images as they are where `size` is None."""
    import numpy as np

    def transform(image: "Image") -> Tensor:
        image = _with_channels(image, channels)
        if size is not None:
            scale = size / min(image.size)
            width, height = (max(size, round(side * scale)) for side in image.size)
            left, top = (width - size) // 2, (height - size) // 2
            image = image.resize((width, height), resample=2).crop((left, top, left + size, top + size))  # 2: bilinear
        pixels = torch.from_numpy(np.array(image, dtype=np.float32) / 255)
        return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)

    settings = {
        "origin": origin,
        "channels": channels,
        "size": None if size is None else [size, size],
        "resize": "none" if size is None else f"shorter side to {size}, centre crop",
        "interpolation": "none" if size is None else "bilinear",
        "mean": None,
        "std": None,
    }
    return Preprocessing(settings, transform)


def _with_channels(image: "Image", channels: int | None) -> "Image":
    """The image in grey (1) or colour (3); where the model does not say, grey stays grey."""
    grey = image.mode in ("1", "L", "I", "I;16", "F") if channels is None else channels == 1
    return image.convert("L" if grey else "RGB")


def _refuse(spec: str, **options: Any) -> None:
    given = next((name for name, value in options.items() if value), None)
    if given:
        raise GeedError(f"model '{spec}': {given} says nothing to it; leave it out")


def _tag(model: nn.Module) -> str:
    config = getattr(model, "pretrained_cfg", None) or {}
    return str(config.get("tag") or config.get("hf_hub_id") or "default")


def _library(source: str) -> str:
    from importlib.metadata import version

    return (
        f"{source} {version(source)}"
        if source in ("timm", "torchvision")
        else "geed"
        if source.endswith(".safetensors")
        else source
    )
