"""Small networks, in float64, of every kind that a derivative has to go through."""

import pytest
import torch
from torch import Tensor, nn

from geed import compat


class Residual(nn.Module):
    """In-place activations, a module called three times, strides, pooling, a functional head: four classes."""

    def __init__(self, channels: int = 3, classes: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 6, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.conv1 = nn.Conv2d(6, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pool(self.act(self.norm(self.stem(images))))
        y = self.conv2(self.act(self.conv1(x)))
        y += x
        return self.head(self.act(y).mean(dim=(-2, -1)))


def residual(classes: int = 4, channels: int = 3) -> nn.Module:
    network = Residual(channels, classes)
    with torch.no_grad():
        network.norm.running_mean.normal_(0, 0.1)
        network.norm.running_var.uniform_(0.5, 2)
        network.norm.bias.normal_(0, 0.3)
    return network


def vit() -> nn.Module:
    from timm.models import VisionTransformer

    return VisionTransformer(img_size=16, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=5)


def mixer() -> nn.Module:
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(img_size=16, patch_size=4, embed_dim=24, num_blocks=2, num_classes=3)


def torchvision_vit() -> nn.Module:
    models = compat.import_torchvision().models
    return models.VisionTransformer(
        image_size=16, patch_size=4, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=3
    )


NETWORKS = {"residual": residual, "vit": vit, "mixer": mixer, "torchvision_vit": torchvision_vit}


@pytest.fixture(params=NETWORKS)
def network(request) -> nn.Module:
    return build(request.param)


def build(name: str, **options) -> nn.Module:
    """The network in float64, with weights that make its answers move."""
    compat.import_timm()
    torch.manual_seed(0)
    model = NETWORKS[name](**options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
        if hasattr(model, "heads"):  # torchvision starts its transformers' heads at zero
            model.heads.head.weight.normal_(0, 0.3)
        elif isinstance(model.head, nn.Linear):
            model.head.weight.normal_(0, 0.3)
    return model


@pytest.fixture(scope="session")
def networks():
    return build


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
