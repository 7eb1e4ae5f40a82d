"""Small networks on tokens, one per patch of the image: a vision transformer and an MLP-Mixer.

They are timm's, with the same names, sizes and initial distributions of weights. Importing timm takes longer than training these,
in every job of a study; and torch's own encoder takes, in evaluation, a fused path past its submodules, where no layer can be
measured.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geed.errors import GeedError
from geed.models.layers import GlobalAveragePool, Normalise
from geed.models.network import Network, positive

_EPSILON = 1e-6  # of layer normalisation


class PatchEmbedding(nn.Module):
    """One token (D,) for each patch: (N, C, H, W) -> (N, T, D), row by row."""

    def __init__(self, size: int, patch: int, channels: int, width: int):
        super().__init__()
        if size % positive("architecture.patch", patch):
            raise GeedError(f"architecture.patch: expected a divisor of the image's side {size}, found {patch}")
        self.grid_size = (size // patch, size // patch)  # read by who lays the tokens on their grid
        self.proj = nn.Conv2d(channels, positive("architecture.width", width), patch, patch)

    @property
    def tokens(self) -> int:
        """How many."""
        return self.grid_size[0] * self.grid_size[1]

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) -> tokens (N, T, D)."""
        return self.proj(images).flatten(2).transpose(1, 2)


class Mlp(nn.Module):
    """Two linear layers, a GELU between them, on the last axis."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) -> the same shape."""
        return self.fc2(self.act(self.fc1(tokens)))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, D) -> the same shape."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention over tokens, then a perceptron on each, both after a normalisation and beside a shortcut."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, _EPSILON), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, _EPSILON), Mlp(width, 4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, D) -> the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class MixerBlock(nn.Module):
    """A perceptron over tokens, then one over channels, both after a normalisation and beside a shortcut."""

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.norm1, self.mlp_tokens = nn.LayerNorm(width, _EPSILON), Mlp(tokens, width // 2)
        self.norm2, self.mlp_channels = nn.LayerNorm(width, _EPSILON), Mlp(width, 4 * width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, D) -> the same shape."""
        tokens = tokens + self.mlp_tokens(self.norm1(tokens).transpose(1, 2)).transpose(1, 2)
        return tokens + self.mlp_channels(self.norm2(tokens))


class VisionTransformer(Network):
    """A small vision transformer (Dosovitskiy et al. 2021): patches, `depth` blocks, the mean of the tokens, a linear head.

    It has no class token, as the small ones that are trained from scratch; positions are embedded by learned vectors.
    """

    def __init__(self, spec: dict[str, Any], *, patch: int, width: int, depth: int, heads: int):
        super().__init__()
        if positive("architecture.width", width) % positive("architecture.heads", heads):
            raise GeedError(f"architecture.heads: expected a divisor of the width {width}, found {heads}")
        self.normalise = Normalise(spec["mean"], spec["std"])
        self.patch_embed = PatchEmbedding(spec["size"], patch, spec["channels"], width)
        self.pos_embed = nn.Parameter(torch.zeros(1, self.patch_embed.tokens, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(positive("architecture.depth", depth))))
        self.pool = GlobalAveragePool()
        self.fc_norm = nn.LayerNorm(width, _EPSILON)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.head = nn.Linear(width, spec["classes"])
        self.conv_layers = tuple(f"blocks.{i}" for i in range(depth))
        self.feature_layer = "fc_norm"

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, width)."""
        return self.fc_norm(self.pool(self.blocks(self.patch_embed(self.normalise(images)) + self.pos_embed)))


class Mixer(Network):
    """A small MLP-Mixer (Tolstikhin et al. 2021): patches, `depth` blocks, the mean of the tokens, a linear head."""

    def __init__(self, spec: dict[str, Any], *, patch: int, width: int, depth: int):
        super().__init__()
        self.normalise = Normalise(spec["mean"], spec["std"])
        self.stem = PatchEmbedding(spec["size"], patch, spec["channels"], width)
        self.blocks = nn.Sequential(*(MixerBlock(self.stem.tokens, width) for _ in range(positive("architecture.depth", depth))))
        self.norm = nn.LayerNorm(width, _EPSILON)
        self.pool = GlobalAveragePool()
        nn.init.normal_(self.stem.proj.weight, std=self.stem.proj.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.stem.proj.bias)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.normal_(module.bias, std=1e-6)
        self.head = nn.Linear(width, spec["classes"])
        self.conv_layers = tuple(f"blocks.{i}" for i in range(depth))
        self.feature_layer = "pool"

    def features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> features (N, width)."""
        return self.pool(self.norm(self.blocks(self.stem(self.normalise(images)))))
