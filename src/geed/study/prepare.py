"""The step that turns a source into a prepared data set, and the step that corrupts its test split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from geed.data import registry, store
from geed.data.imageset import ImageSet
from geed.errors import GeedError, nearest

_KEYS = ("source", "classes", "size", "channels", "limit")


def prepare(name: str, settings: Mapping[str, Any], output: str | Path, mirror: str | Path | None = None) -> dict[str, Any]:
    """Write every split of one data set of a study.

    Args:
        name: the set's name in the study; the prepared splits carry it.
        settings: ``source`` and, optionally, ``classes``, ``size``, ``channels`` and ``limit`` as for `registry.load`;
            ``limit`` may be one number for all splits or a mapping from split to number.
        output: the prepared file, ``<name>.safetensors``.
        mirror: a folder or URL, tried before the canonical source.

    Returns:
        For the job record: ``source``, ``sha256`` of the source files, ``shape``, and ``splits`` with the number of images in
        all and per class.
    """
    unknown = [key for key in settings if key not in _KEYS]
    if unknown:
        raise GeedError(f"data set '{name}': unknown setting '{unknown[0]}'{nearest(unknown[0], _KEYS)}")
    options = {key: value for key, value in settings.items() if key not in ("source", "limit") and value is not None}
    entry = registry.info(settings["source"])
    limit = settings.get("limit")
    splits = {}
    for split in entry.splits:
        count = limit.get(split) if isinstance(limit, Mapping) else limit
        loaded = registry.load(entry.name, split, mirror=mirror, limit=count, **options)
        splits[split] = ImageSet(loaded.images, loaded.labels, loaded.ids, loaded.classes, name, split)
    store.write(output, splits)
    first = next(iter(splits.values()))
    return {
        "source": entry.source,
        "sha256": entry.sha256,
        "shape": list(first.images.shape[1:]),
        "splits": {split: {"images": len(images), "classes": _per_class(images)} for split, images in splits.items()},
    }


def corrupt(
    name: str,
    prepared: str | Path,
    names: Sequence[str],
    severities: Sequence[int],
    output: str | Path,
    *,
    seed: str = "corruptions",
) -> dict[str, Any]:
    """Write corrupted versions of a prepared set's test split, as bytes.

    Args:
        name: the set's name in the study; with each image's id it keys the random corruptions.
        prepared: what `prepare` wrote.
        names: corruptions, from `geed.data.corruptions.NAMES`.
        severities: 1 to 5.
        output: ``<name>.corrupted.safetensors``; read it with `geed.data.store.read_corrupted`.
        seed: another word gives another draw of the random corruptions.

    Returns:
        For the job record: per corruption and severity, the root mean square distance to the clean images.
    """
    from geed.data import corruptions

    clean = store.read(prepared, "test")
    distance: dict[str, dict[str, float]] = {corruption: {} for corruption in names}

    def corrupted(corruption: str, severity: int):
        images = corruptions.corrupt(clean.images, corruption, severity, ids=clean.ids, seed=f"{seed}/{name}")
        distance[corruption][str(severity)] = round(float((images - clean.images).square().mean().sqrt()), 6)
        return images

    store.write_corrupted(output, clean, corrupted, names, severities)
    return {"images": len(clean), "rms_distance": distance}


def _per_class(images: ImageSet) -> dict[str, int]:
    counts = Counter(images.labels.tolist())
    return {images.classes[label]: counts[label] for label in sorted(counts)}
