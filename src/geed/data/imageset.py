"""One split of a data set, as tensors in memory."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from geed.errors import GeedError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels.

    Attributes:
        images: float32 (N, C, H, W), values in [0, 1].
        labels: int64 (N,), indices into `classes`.
        ids: int64 (N,), each image's position in the published order of its source; random corruptions are keyed by it.
        classes: class names, by label.
        name: the data set's name.
        split: "train", "validation" or "test".

    Raises:
        GeedError: no images, shapes that do not belong together, or labels that name no class.
    """

    images: "torch.Tensor"
    labels: "torch.Tensor"
    ids: "torch.Tensor"
    classes: tuple[str, ...]
    name: str
    split: str

    def __post_init__(self) -> None:
        where = f"{self.name}/{self.split}"
        if self.images.ndim != 4 or not len(self.images):
            raise GeedError(f"{where}: expected images of shape (N, C, H, W) with N >= 1, found {tuple(self.images.shape)}")
        for key, values in (("labels", self.labels), ("ids", self.ids)):
            if values.shape != self.images.shape[:1]:
                raise GeedError(f"{where}: expected {len(self.images)} {key}, found shape {tuple(values.shape)}")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise GeedError(
                f"{where}: expected labels 0 to {len(self.classes) - 1}, found {self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.images)
