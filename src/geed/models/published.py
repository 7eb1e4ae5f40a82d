"""The registry of pretrained weights: published files with checksums, each with the preprocessing it was trained with.

Names, addresses and checksums only: it imports nothing heavy, so a study can be planned with it. Beside the registry, every
network of timm goes by ``timm:NAME``; its weights have no checksum here, because timm's names say where they are, not what.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geed.data.mirror import SourceFile
from geed.errors import GeedError, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_CENTRED = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
TIMM = "timm:"


@dataclass(frozen=True)
class WeightsInfo:
    """What is known of pretrained weights before they are read.

    Attributes:
        name: their name.
        title: one line for people.
        build: makes the network that they fit, with a number of classes.
        blocks: names of its blocks in depth order, the last one before pooling included: the layers to profile.
        head: name of its classifier, linear or a convolution.
        file: the published file.
        safetensors: SHA-256 of the weights once converted.
        data: what they were trained on.
        accuracy: published top-1 test accuracy in percent, or None where no citable one belongs to this file.
        preprocessing: `size` and `resize` in words, `mean`, `std`; the last two are applied inside the network.
        source: the canonical source.
        licence: what is known of the terms of use.
    """

    name: str
    title: str
    build: Callable[..., nn.Module]
    blocks: tuple[str, ...]
    head: str
    file: SourceFile
    safetensors: str
    data: str
    accuracy: float | None
    preprocessing: dict[str, Any]
    source: str
    licence: str


def _cifar_resnet(depth: int, classes: int = 10) -> nn.Module:
    from geed.models.architectures import CifarResNet

    return CifarResNet(depth, classes)


def _mobilenet_v1(classes: int = 1000) -> nn.Module:
    from geed.models.architectures import MobileNetV1

    return MobileNetV1(0.25, classes)


def _torchvision(name: str, classes: int = 1000) -> nn.Module:
    from geed import compat

    return getattr(compat.import_torchvision().models, name)(num_classes=classes)


def _cifar(depth: int, accuracy: float, digest: str, converted: str) -> WeightsInfo:
    file = f"resnet{depth}-{digest[:8]}.th"
    repository = "https://github.com/akamaster/pytorch_resnet_cifar10"
    return WeightsInfo(
        name=f"cifar10_resnet{depth}",
        title=f"ResNet-{depth} for CIFAR-10, shortcuts without weights (He et al. 2016)",
        build=functools.partial(_cifar_resnet, depth),
        blocks=tuple(f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range((depth - 2) // 6)),
        head="linear",
        file=SourceFile(f"weights/{file}", digest, (f"{repository}/raw/master/pretrained_models/{file}",)),
        safetensors=converted,
        data="CIFAR-10",
        accuracy=accuracy,
        preprocessing={"size": 32, "resize": "none", **_IMAGENET},
        source=repository,
        licence="BSD 2-clause",
    )


def _imagenet(
    name: str, title: str, build: Callable[..., nn.Module], file: str, digest: str, converted: str, **others: Any
) -> WeightsInfo:
    return WeightsInfo(
        name=name,
        title=title,
        build=build,
        file=SourceFile(f"weights/{file}", digest),
        safetensors=converted,
        data="ImageNet-1k",
        accuracy=None,
        preprocessing={
            "size": 224,
            "resize": "shorter side to 256, centre crop",
            "interpolation": "bilinear",
            **others.pop("normalisation"),
        },
        **others,
    )


_ALL = [
    _cifar(
        20,
        91.8,
        "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
        "275f7215ff959cbcc52b10c71b5bf88d7ba7a8bec7d391167fc00d4b9dd3c98a",
    ),
    _cifar(
        32,
        92.8,
        "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850",
        "a4a6742ca04f1e8faa07aa4d4924c393720d181b9c8a7ad131b7e790ca140a1d",
    ),
    _cifar(
        44,
        93.1,
        "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4",
        "4448637fde2c46d51b04879c8f5d14c51e9d5944b8dd1e6b033e6af9391f0910",
    ),
    _cifar(
        56,
        93.6,
        "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
        "976867c7cd7b10fddc50dbb4bbfa6af60a8b73e1cde6e6451495b3d04d697966",
    ),
    _imagenet(
        "mobilenet_v2_int8",
        "MobileNetV2, weights rounded to 8 bits, run as float",
        functools.partial(_torchvision, "mobilenet_v2"),
        "mobilenet_v2_tf_int8dequant_imagenet.pth",
        "59a0dfcd4217f075618cb242ca2a1289af0ef248667f62bb731ef23361745325",
        "c301a5bdf554068f9beb12329e458981f5c34ebf469b317b4f29b36a8686e284",
        blocks=tuple(f"features.{block}" for block in range(19)),
        head="classifier.1",
        normalisation=_CENTRED,
        source="TensorFlow's MobileNetV2, converted; with a connection, torchvision:mobilenet_v2 has weights of its own",
        licence="Apache-2.0",
    ),
    _imagenet(
        "squeezenet1_0_compressed",
        "SqueezeNet 1.0 after Deep Compression",
        functools.partial(_torchvision, "squeezenet1_0"),
        "squeezenet1_0_deepcompression_imagenet.pth",
        "dbe6e8511d8f580f8383d45442c4e2c0fe53e5b0b896a2a0c0c2ea0fbfae4385",
        "92b0fe7df5360c16589562cba4cf99c4c8e442f3efc285b3c3dccdfa663268f7",
        blocks=tuple(f"features.{block}" for block in (1, 3, 4, 5, 7, 8, 9, 10, 12)),
        head="classifier.1",
        normalisation=_IMAGENET,
        source="Iandola et al. 2016, converted; with a connection, torchvision:squeezenet1_0 has weights of its own",
        licence="BSD",
    ),
    _imagenet(
        "mobilenet_v1_025",
        "MobileNetV1, a quarter of its width, plain ReLU",
        _mobilenet_v1,
        "mobilenetv1_025_imagenet.pth",
        "168c8f89017a138e90ff3b4e87dc3b6dbff8691050f79d4bd4be0f59d4c60e22",
        "c8adb1882b432adba702a04e51dadeb575c75345ba0d1d141c0c5dff81141f27",
        blocks=tuple(f"stage{stage}.{block}" for stage, blocks in ((1, 6), (2, 6), (3, 2)) for block in range(blocks)),
        head="fc",
        normalisation=_IMAGENET,
        source="converted; with a connection, timm's mobilenetv1 family has weights of its own",
        licence="no licence stated",
    ),
]

PRETRAINED: dict[str, WeightsInfo] = {info.name: info for info in _ALL}


def check(name: str) -> None:
    """Raise GeedError unless a name is of the registry, or ``timm:NAME``; whether timm knows it, only timm can say."""
    if name.startswith(TIMM):
        if not re.fullmatch(r"\w+(\.\w+)?", name.removeprefix(TIMM)):
            raise GeedError(f"expected timm:NAME, with letters, digits, underscores and one dot before a tag, found '{name}'")
    elif name not in PRETRAINED:
        raise GeedError(f"expected the name of pretrained weights or timm:NAME, found '{name}'{nearest(name, PRETRAINED)}")


def convert(name: str, published: str | Path, output: str | Path) -> dict[str, Any]:
    """Write the weights of a published file as safetensors: the float tensors, sorted by name; the same bytes everywhere.

    Returns:
        The weights' record, see `record`.

    Raises:
        GeedError: the file is damaged or holds more than weights; it is refused without being executed.
    """
    from geed.data import store

    info = PRETRAINED[name]
    store.write_tensors(output, read(Path(published)), {"name": info.name, "sha256": info.file.sha256})
    return record(info)


def record(info: WeightsInfo) -> dict[str, Any]:
    """What a job record says of pretrained weights: `model`, `weights` {source, file, sha256, licence}, `data`, `accuracy`
    (published), `preprocessing`.
    """
    return {
        "model": info.name,
        "weights": {"source": info.source, "file": info.file.path, "sha256": info.file.sha256, "licence": info.licence},
        "data": info.data,
        "accuracy": info.accuracy,
        "preprocessing": {key: list(value) if isinstance(value, tuple) else value for key, value in info.preprocessing.items()},
    }


def read(path: Path) -> dict[str, Tensor]:
    """The float tensors of a PyTorch file, sorted by name, without DataParallel's ``module.``; nothing is executed."""
    import torch

    wanted = f"{path}: expected weights that torch.load(weights_only=True) reads"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a file that is damaged or holds more than weights
        raise GeedError(f"{wanted}, found a file that is refused or unreadable ({type(error).__name__})") from error
    content = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise GeedError(f"{wanted}, found no mapping of names to tensors")
    tensors = {name.removeprefix("module."): value for name, value in sorted(content.items())}
    # Batch counters (integers) are left out: they matter to nothing in eval mode, and half of the files have none.
    return {name: value.float().contiguous() for name, value in tensors.items() if value.is_floating_point()}
