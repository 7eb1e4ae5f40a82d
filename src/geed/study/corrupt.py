"""The step that corrupts a prepared set's test split; apart from preparing, so that an edited corruption reruns nothing else."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geed.data import corruptions, loading, registry, store
from geed.data.imageset import ImageSet
from geed.errors import GeedError, nearest

if TYPE_CHECKING:
    import torch


def corrupt(
    name: str,
    prepared: str | Path,
    names: Sequence[str],
    severities: Sequence[int],
    output: str | Path,
    *,
    seed: str = "corruptions",
    official: str | None = None,
    mirror: str | Path | None = None,
) -> dict[str, Any]:
    """Write corrupted versions of a prepared set's test split, as bytes.

    Args:
        name: the set's name in the study; with each image's id it keys the random corruptions.
        prepared: what `prepare` wrote.
        names: corruptions, from `geed.data.corruptions.NAMES`, or of the official arrays.
        severities: 1 to 5.
        output: ``<name>.corrupted.safetensors``; read it with `geed.data.store.read_corrupted`.
        seed: another word gives another draw of the random corruptions.
        official: take the images from published arrays instead, by their ids: ``cifar10_c``, or ``cifar10_c:FOLDER`` for the
            extracted archive; for sets whose source is CIFAR-10 at its own size.
        mirror: a folder or URL, tried before the canonical source of the official arrays.

    Returns:
        For the job record: per corruption and severity, the root mean square distance to the clean images.

    Raises:
        GeedError: unknown corruption, a damaged input, or official arrays of other images.
    """
    clean = store.read(prepared, "test")
    known = corruptions.NAMES if official is None else registry.CIFAR10_C_NAMES
    if wrong := [corruption for corruption in names if corruption not in known]:
        raise GeedError(f"data set '{name}': unknown corruption '{wrong[0]}'{nearest(wrong[0], known)}")
    distance: dict[str, dict[str, float]] = {corruption: {} for corruption in names}

    def corrupted(corruption: str, severity: int) -> "torch.Tensor":
        if official is None:
            images = corruptions.corrupt(clean.images, corruption, severity, ids=clean.ids, seed=f"{seed}/{name}")
        else:
            images = _published(loading.load(official, f"{corruption}.{severity}", mirror=mirror), clean)
        distance[corruption][str(severity)] = round(float((images - clean.images).square().mean().sqrt()), 6)
        return images

    store.write_corrupted(output, clean, corrupted, names, severities)
    sources = {} if official is None else {"sha256": loading.checksums(official, mirror)}
    return {"images": len(clean), "rms_distance": distance} | sources


def _published(arrays: ImageSet, clean: ImageSet) -> "torch.Tensor":
    """The rows of the official arrays that belong to the clean images."""
    where = f"data set '{clean.name}'"
    if clean.images.shape[1:] != arrays.images.shape[1:] or clean.ids.max() >= len(arrays):
        raise GeedError(
            f"{where}: official arrays are for CIFAR-10's test images of shape (3, 32, 32), found {tuple(clean.images.shape)}"
        )
    if [clean.classes[label] for label in clean.labels] != [arrays.classes[label] for label in arrays.labels[clean.ids]]:
        raise GeedError(f"{where}: the official arrays have other labels at the ids of these images: it is not CIFAR-10")
    return arrays.images[clean.ids]
