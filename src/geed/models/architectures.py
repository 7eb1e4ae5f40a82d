"""Networks whose published weights are in no library, with the names that their weight files use."""

import torch
from torch import Tensor, nn

from geed.models.layers import GlobalAveragePool


def _initialise(model: nn.Module) -> None:
    """Draw the convolutions as He et al. 2015 do."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without weights (He et al. 2016, option A): every second pixel, new channels zero."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.extra = stride, (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.extra:
            shortcut = nn.functional.pad(shortcut, (0, 0, 0, 0, self.extra, self.extra))
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class CifarResNet(nn.Module):
    """The small residual networks of He et al. 2016, section 4.2: 6n + 2 layers of 16, 32 and 64 channels, for 32x32 images."""

    def __init__(self, depth: int, classes: int = 10):
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.pool = GlobalAveragePool()
        self.linear = nn.Linear(64, classes)
        _initialise(self)

    @staticmethod
    def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
        return nn.Sequential(_BasicBlock(inputs, outputs, stride), *(_BasicBlock(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (N, 3, 32, 32) to logits (N, classes)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.linear(self.pool(self.layer3(self.layer2(self.layer1(x)))))


class MobileNetV1(nn.Module):
    """MobileNet (Howard et al. 2017) with plain ReLU and a width multiplier, in three stages."""

    def __init__(self, width: float, classes: int = 1000):
        super().__init__()

        def separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            inputs, outputs = round(inputs * width), round(outputs * width)
            return nn.Sequential(
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            )

        first = round(32 * width)
        self.stage1 = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, first, 3, 2, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU()),
            separable(32, 64, 1),
            separable(64, 128, 2),
            separable(128, 128, 1),
            separable(128, 256, 2),
            separable(256, 256, 1),
        )
        self.stage2 = nn.Sequential(separable(256, 512, 2), *(separable(512, 512, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(separable(512, 1024, 2), separable(1024, 1024, 1))
        self.pool = GlobalAveragePool()
        self.fc = nn.Linear(round(1024 * width), classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W) to logits (N, classes)."""
        return self.fc(self.pool(self.stage3(self.stage2(self.stage1(x)))))
