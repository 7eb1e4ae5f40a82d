"""The step that brings one source file with a checksum into the study's folder, and the choice of the files that a set needs."""

import shutil
from pathlib import Path

from geed import files
from geed.data import mirror as mirrors
from geed.data import registry
from geed.data.mirror import SourceFile
from geed.models.published import PRETRAINED

_OF_SETS = {file.path: file for entry in registry.DATASETS.values() for file in entry.files if isinstance(file, SourceFile)}
# Every file that a job may fetch, by its path in a mirror: those of data sets, but for files inside packages, and of weights.
FILES: dict[str, SourceFile] = {path: file for path, file in _OF_SETS.items() if not path.startswith("package:")}
FILES |= {info.file.path: info.file for info in PRETRAINED.values()}


def wanted(source: str, folder: str | Path) -> list[str]:
    """The files that jobs fetch for a data set, by their paths; none for sets in packages and for folders on the user's disk.

    Where a set can be had in several forms, that one is chosen whose files lie in `folder`, in the mirror or in the cache, in
    this order; else the first that has addresses.

    Args:
        source: a name in the registry, or ``NAME:PLACE``.
        folder: where fetched files are kept.

    Raises:
        GeedError: unknown name, or a mirror that is no folder.
    """
    entry, mirror = registry.info(source), mirrors.resolve(None)
    local = mirror and not mirror.startswith(("http://", "https://"))
    if entry.place or (entry.folder and local and (Path(mirror) / entry.folder).is_dir()):
        return []
    forms = [[file.path for file in origin.files if file.path in FILES] for origin in entry.origins]
    forms = [form for form, origin in zip(forms, entry.origins, strict=True) if len(form) == len(origin.files)]
    places = [Path(folder), *([Path(mirror)] if local else []), mirrors.cache_folder()]
    for place in places:
        for form in forms:
            if all((place / path).is_file() for path in form):
                return form
    reachable = [form for form in forms if all(FILES[path].urls for path in form)]
    return next(iter(reachable or forms), [])


def fetch(path: str, output: str | Path) -> dict[str, str]:
    """Put a copy of a file, checked, at `output`. Not a link: Snakemake dates outputs, and the mirror is not ours.

    Args:
        path: a key of `FILES`.
        output: where it goes.

    Returns:
        For the job record: `found`, the place in the mirror or the cache.

    Raises:
        GeedError: it cannot be had; the sentence names the file, the sources, the checksum and how to set a mirror.
    """
    place = mirrors.obtain(FILES[path])
    with files.atomic(output) as temporary:
        shutil.copyfile(place, temporary)
    return {"found": str(place)}
