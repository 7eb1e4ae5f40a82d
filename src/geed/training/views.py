"""What each training step sees: augmented versions of a batch, and its partner under a group where the objective asks for one.

A group that permutes pixels has few elements, so its images are made once, before training, and looked up in every step. That
gives the very pixels which acting on each batch would give.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from geed import seeds
from geed.groups import Group
from geed.training.augmentation import Pipeline, group_action

_LAID_OUT = 1 << 29  # bytes at most; a larger orbit is computed batch by batch


class Views:
    """The training images as the objective wants them.

    Args:
        images: all training images, (N, C, H, W).
        augmentation: drawn for every image and view anew.
        views: how many augmented versions of a batch there are.
        partner: a group, where one more version is wanted: the first, moved by a random element.
    """

    def __init__(self, images: Tensor, augmentation: Pipeline, views: int, partner: Group | None = None):
        self._images, self._augmentation, self._views, self._partner = images, augmentation, views, partner
        self._orbit: Tensor | None = None
        groups = augmentation.groups + ([partner] if partner else [])
        if groups and len(set(groups)) == 1 and len(augmentation.groups) == len(augmentation) <= 1:
            group = groups[0]
            if group.exact_on(*images.shape[-2:]) and group.order * images.nbytes <= _LAID_OUT:
                self._orbit = torch.cat([group.act(k, images) for k in range(group.order)])
                table = [[group.compose(i, j) for j in range(group.order)] for i in range(group.order)]
                self._products = torch.tensor(table)

    def streams(self, *names: object) -> list[list[Generator]]:
        """The random streams of one epoch."""
        streams = [self._augmentation.streams(*names, view) for view in range(self._views)]
        return [*streams, [seeds.generator(*names, "partner", self._partner.spec)]] if self._partner else streams

    def __call__(self, rows: Tensor, streams: Sequence[Sequence[Generator]]) -> Tensor:
        """All views of the images `rows` (n,), one after another: (views·n, C, H, W), the partner last."""
        if self._orbit is None:
            batch = self._images[rows]
            seen = [self._augmentation(batch, stream) for stream in streams[: self._views]]
            if self._partner:
                seen.append(group_action(self._partner)(seen[0], streams[-1][0]))
            return seen[0] if len(seen) == 1 else torch.cat(seen)
        order, count = len(self._products), len(rows)

        def drawn(stream: Sequence[Generator]) -> Tensor:
            return torch.randint(order, (count,), generator=stream[0]) if stream else torch.zeros(count, dtype=torch.int64)

        elements = [drawn(stream) for stream in streams[: self._views]]
        if self._partner:
            elements.append(self._products[drawn(streams[-1]), elements[0]])
        places = torch.stack(elements).to(rows.device) * len(self._images) + rows
        return self._orbit[places.flatten()]
