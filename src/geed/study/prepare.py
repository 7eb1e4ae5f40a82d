"""The step that turns a source into a prepared data set."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geed.data import loading, registry, store
from geed.data.imageset import ImageSet
from geed.data.placement import pad, rotate_at_random
from geed.errors import GeedError, nearest

_KEYS = ("source", "classes", "size", "channels", "limit", "split", "pad", "rotate")
_LOADED = ("classes", "size", "channels", "limit")


def prepare(name: str, settings: Mapping[str, Any], output: str | Path, mirror: str | Path | None = None) -> dict[str, Any]:
    """Write every split of one data set of a study.

    Args:
        name: the set's name in the study; the prepared splits carry it.
        settings: ``source``, and ``classes``, ``size``, ``channels``, ``limit`` (per split) and ``split`` (`sizes`) as for
            `loading.load`; ``pad``, the side of the square of zeros that images are put into the middle of; ``rotate``: whether
            each is then turned by a random angle of its own.
        output: the prepared file, ``<name>.safetensors``.
        mirror: a folder or URL, tried before the canonical source.

    Returns:
        For the job record: ``source``, ``sha256`` of the source files, ``shape``, and ``splits`` with the number of images in
        all and per class.
    """
    unknown = [key for key in settings if key not in _KEYS]
    if unknown:
        raise GeedError(f"data set '{name}': unknown setting '{unknown[0]}'{nearest(unknown[0], _KEYS)}")
    options = {key: value for key, value in settings.items() if key in _LOADED and value is not None}
    options["sizes"] = settings.get("split")
    entry = registry.info(settings["source"])
    splits = {}
    for split in settings.get("split") or entry.splits:
        loaded = loading.load(settings["source"], split, mirror=mirror, **options)
        images = pad(loaded.images, settings["pad"]) if settings.get("pad") else loaded.images
        if settings.get("rotate"):
            images = rotate_at_random(images, loaded.ids, entry.name if options["sizes"] else f"{entry.name}/{split}")
        splits[split] = ImageSet(images, loaded.labels, loaded.ids, loaded.classes, name, split)
    store.write(output, splits)
    first = next(iter(splits.values()))
    return {
        "source": entry.source,
        "sha256": loading.checksums(settings["source"], mirror),
        "shape": list(first.images.shape[1:]),
        "splits": {split: {"images": len(images), "classes": _per_class(images)} for split, images in splits.items()},
    }


def _per_class(images: ImageSet) -> dict[str, int]:
    counts = Counter(images.labels.tolist())
    return {images.classes[label]: counts[label] for label in sorted(counts)}
