"""Files with checksums: from an installed package, a mirror (folder or URL), or the canonical source."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from geed import files
from geed.errors import GeedError

if TYPE_CHECKING:
    from geed.data.registry import SourceFile


def obtain(file: "SourceFile", mirror: str | Path | None = None, cache: str | Path | None = None) -> Path:
    """The local path of a file whose checksum is right."""
    path = _in_package(file.path) if file.path.startswith("package:") else Path(str(mirror)) / file.path
    if not path.is_file():
        raise GeedError(f"{path}: no such file")
    if (found := files.sha256(path)) != file.sha256:
        raise GeedError(f"{path}: expected sha256 {file.sha256}, found {found}")
    return path


def _in_package(path: str) -> Path:
    package, _, inside = path.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise GeedError(f"the package '{package}' is not installed; expected the file {inside} in it")
    return Path(spec.submodule_search_locations[0]) / inside
