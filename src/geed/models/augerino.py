"""Augerino: a network with a learned distribution of augmentations in front of it (Benton et al. 2020, arXiv 2010.11882).

An image is moved by exp(sum_i u_i w_i A_i), where the A_i are the six generators of the affine maps of the plane, u_i is uniform
on [-1, 1] and w_i = softplus(width_i) is learned. In training every image gets a draw of its own; afterwards the features of
`COPIES` copies are averaged. Their draws are fixed here, the same for all images, so that the network is a function.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geed import seeds

COPIES = 4
_START = -3.0  # softplus of it: 0.05, nearly no augmentation
# translations along x and y, rotation, scaling, stretching, shear; coordinates run from -1 to 1
_GENERATORS = torch.tensor(
    [
        [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 0, 1], [0, 0, 0]],
        [[0, -1, 0], [1, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[1, 0, 0], [0, -1, 0], [0, 0, 0]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
    ],
    dtype=torch.float32,
)


class AffineMotions(nn.Module):
    """Random affine motions of images, their widths learned."""

    def __init__(self) -> None:
        super().__init__()
        self.width = nn.Parameter(torch.full((6,), _START))
        fixed = 2 * torch.rand((COPIES, 6), generator=seeds.generator("augerino", "copies")) - 1
        self.register_buffer("fixed", fixed, persistent=False)
        self.register_buffer("generators", _GENERATORS.clone(), persistent=False)

    def widths(self) -> Tensor:
        """Half the width of each uniform distribution, (6,), never negative."""
        return F.softplus(self.width)

    def forward(self, images: Tensor, draws: Tensor) -> Tensor:
        """Images (N, C, H, W), each moved by its own draw (N, 6) in [-1, 1]; bilinear, zero beyond the border."""
        algebra = torch.einsum("ni,ijk->njk", draws * self.widths(), self.generators)
        theta = torch.linalg.matrix_exp(algebra)[:, :2].to(images.dtype)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)


def averaged(features: Any, motions: AffineMotions, images: Tensor) -> Tensor:
    """The mean of `features` over the fixed copies of each image: (N, D).

    Args:
        features: images (N, C, H, W) -> (N, D).
        motions: what the copies are moved by.
        images: (N, C, H, W) in [0, 1].
    """
    copies = [features(motions(images, draw.expand(len(images), -1))) for draw in motions.fixed]
    return torch.stack(copies).mean(dim=0)
