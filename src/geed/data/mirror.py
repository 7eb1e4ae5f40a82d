"""Files with checksums: from an installed package, a mirror (folder or URL), the cache, or the canonical source.

A file counts only with the right SHA-256, wherever it lies. A wrong one is never used: in the cache it is set aside as
``*.corrupt``, in a mirror, which is not ours, it stays; either way that is said on stderr. Downloads go to ``*.part`` beside
their place in the cache, continue there after an interruption, and are renamed only once the checksum is right.

torchvision's downloads are not used: they start over when interrupted, know MD5 only, and cost an import of four seconds.
"""

import contextlib
import functools
import hashlib
import http.client
import importlib.util
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geed import files, progress
from geed.errors import GeedError

VARIABLE = "GEED_DATA_MIRROR"
_CHUNK = 1 << 18
_SECONDS = 30  # without a byte from the server


@dataclass(frozen=True)
class SourceFile:
    """One file.

    Attributes:
        path: where it lies in a mirror and in the cache; with ``package:`` in front, inside an installed package.
        sha256: the expected checksum.
        urls: canonical addresses, tried in order; none where the canonical source has the same content in another form.
    """

    path: str
    sha256: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceFolder:
    """A folder of many files, known by one checksum: that of its lines in `sha256sum` format, sorted by path.

    Attributes:
        path: where it lies in a mirror and in the cache.
        sha256: the checksum of the listing.
    """

    path: str
    sha256: str


def resolve(mirror: str | Path | None) -> str | None:
    """The mirror to use: the given one, else the environment variable's, else None.

    Raises:
        GeedError: a folder that does not exist.
    """
    mirror = str(mirror or os.environ.get(VARIABLE) or "") or None
    if mirror and not _is_url(mirror) and not Path(mirror).is_dir():
        raise GeedError(f"data mirror {mirror}: expected a folder or an http(s) URL, found no such folder")
    return mirror and mirror.rstrip("/")


def use(mirror: str | None) -> None:
    """Make a mirror the default of this process and of those that it starts; None changes nothing."""
    if mirror:
        os.environ[VARIABLE] = mirror


def cache_folder(cache: str | Path | None = None) -> Path:
    """Where downloads are kept: the given folder, else ``$GEED_CACHE``, else ``~/.cache/geed``."""
    return Path(cache or os.environ.get("GEED_CACHE") or Path.home() / ".cache" / "geed").expanduser()


def obtain(source: SourceFile | SourceFolder, mirror: str | Path | None = None, cache: str | Path | None = None) -> Path:
    """The local path of a file or folder whose checksum is right, downloaded where need be.

    Args:
        source: what to get.
        mirror: a folder or URL, tried first; None takes the environment variable GEED_DATA_MIRROR.
        cache: where downloads are kept, see `cache_folder`.

    Raises:
        GeedError: it cannot be had; the sentence names the file, the sources, the checksum and how to set a mirror.
    """
    mirror, cache = resolve(mirror), cache_folder(cache)
    if isinstance(source, SourceFolder):
        return _obtain_folder(source, mirror, cache)
    if source.path.startswith("package:"):
        path = _in_package(source.path)
        if not _is_right(path, source.sha256):
            raise GeedError(f"{path}: expected sha256 {source.sha256}, found {_found(path)}; reinstall the package")
        return path
    for place in _local(source, mirror, cache):
        if _is_right(place, source.sha256):
            return place

    tried = []
    if mirror and not _is_url(mirror):
        path = Path(mirror) / source.path
        tried.append(f"the mirror {mirror} has " + (f"a wrong one (sha256 {_found(path)})" if path.is_file() else "none"))
        if path.is_file():
            _say(f"{path}: expected sha256 {source.sha256}, found {_found(path)}; it is not used")
    target = cache / source.path
    urls = ([f"{mirror}/{source.path}"] if mirror and _is_url(mirror) else []) + list(source.urls)
    if target.is_file() or urls:
        with _locked(target):
            if _is_right(target, source.sha256):  # another process was faster
                return target
            if target.is_file():
                _set_aside(target, target, source.sha256)
            for url in urls:
                problem = _download(url, target, source.sha256)
                if problem is None:
                    return target
                tried.append(problem)
    if not source.urls:
        tried.append("the canonical source does not offer this file")
    raise GeedError(_cannot(source.path, source.sha256, tried, mirror))


def kept(source: SourceFile, cache: str | Path | None = None) -> bool:
    """Whether the cache holds a file of ours with the right checksum; a wrong one is set aside, so that it is made anew."""
    place = cache_folder(cache) / source.path
    if place.is_file() and not _is_right(place, source.sha256):
        _set_aside(place, place, source.sha256)
    return place.is_file()


def state(source: SourceFile | SourceFolder, mirror: str | Path | None = None, cache: str | Path | None = None) -> str:
    """What lies on this machine, without downloading: "ok (PATH)", "absent" or "WRONG (PATH …)"."""
    mirror, cache = resolve(mirror), cache_folder(cache)
    if isinstance(source, SourceFile) and source.path.startswith("package:"):
        places = [_in_package(source.path)]
    else:
        places = [place for place in _local(source, mirror, cache) if place.exists()]
    for place in places:
        found = _listing(place, source.path) if isinstance(source, SourceFolder) else _found(place)
        if found == source.sha256:
            return f"ok ({place})"
    return f"WRONG ({places[0]}: expected sha256 {source.sha256}, found {found})" if places else "absent"


def _local(source: SourceFile | SourceFolder, mirror: str | None, cache: Path) -> list[Path]:
    in_mirror = [Path(mirror) / source.path] if mirror and not _is_url(mirror) else []
    return [*in_mirror, cache / source.path]


def _obtain_folder(source: SourceFolder, mirror: str | None, cache: Path) -> Path:
    for place in _local(source, mirror, cache):
        if place.is_dir():
            if (found := _listing(place, source.path)) == source.sha256:
                return place
            _say(f"{place}: expected a folder whose listing has sha256 {source.sha256}, found {found}; it is not used")
    tried = [] if mirror is None else [f"the mirror {mirror} has none with this checksum"]
    if mirror and _is_url(mirror):
        listing = _listing_at(f"{mirror}/SHA256SUMS", source.path)
        if hashlib.sha256("".join(listing).encode()).hexdigest() == source.sha256:
            for line in listing:
                digest, _, path = line.rstrip("\n").partition("  ")
                obtain(SourceFile(path, digest), mirror, cache)
            return cache / source.path
    raise GeedError(_cannot(source.path + "/", source.sha256, [*tried, "the canonical source has it in another form"], mirror))


def _listing(folder: Path, path: str) -> str:
    names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    text = "".join(f"{files.sha256(folder / name)}  {path}/{name}\n" for name in names)
    return hashlib.sha256(text.encode()).hexdigest()


def _listing_at(url: str, path: str) -> list[str]:
    try:
        with urllib.request.urlopen(_request(url), timeout=_SECONDS) as response:
            lines = response.read().decode().splitlines(keepends=True)
    except (OSError, http.client.HTTPException, UnicodeDecodeError):
        return []
    return sorted((line for line in lines if line[66:].startswith(path + "/")), key=lambda line: line[66:])


def _is_right(path: Path, sha256: str) -> bool:
    return path.is_file() and _found(path) == sha256


def _found(path: Path) -> str:
    if not path.is_file():
        return "no such file"
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, changed: int) -> str:
    """Once per process and state of the file: the splits of one data set share their files."""
    return files.sha256(path)


def _in_package(path: str) -> Path:
    package, _, inside = path.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise GeedError(f"the package '{package}' is not installed; expected the file {inside} in it")
    return Path(spec.submodule_search_locations[0]) / inside


def _is_url(mirror: str) -> bool:
    return mirror.startswith(("http://", "https://"))


def _cannot(path: str, sha256: str, tried: list[str], mirror: str | None) -> str:
    setting = f"set data.mirror, or the environment variable {VARIABLE}, to a folder or URL that holds {path}"
    return f"{path} (sha256 {sha256}) cannot be had: {'; '.join(tried)}; {'correct the mirror, or ' if mirror else ''}{setting}"


def _say(text: str) -> None:
    print(f"geed: {text}", file=sys.stderr)


def _set_aside(path: Path, target: Path, sha256: str) -> None:
    """Rename a wrong file to ``<target>.corrupt``, or the first free ``.corrupt.N``, and say so."""
    names = (target.with_name(f"{target.name}.corrupt{suffix}") for suffix in ("", *(f".{n}" for n in range(1, 1000))))
    aside = next(name for name in names if not name.exists())
    _say(f"{path}: expected sha256 {sha256}, found {_found(path)}; set aside as {aside.name}")
    os.replace(path, aside)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """One download of a file at a time, whichever processes want it."""
    import fcntl

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(target.with_name(f".{target.name}.lock"), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        raise GeedError(
            f"{target.parent}: the cache cannot be written ({error.strerror}); set GEED_CACHE to another folder"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _download(url: str, target: Path, sha256: str) -> str | None:
    """Fetch `url` to `target`; None, or why it failed."""
    part = target.with_name(target.name + ".part")
    while True:
        start = _size(part)
        try:
            whole = _transfer(url, part, start)
        except (OSError, http.client.HTTPException, ValueError) as error:
            refused = isinstance(error, urllib.error.HTTPError)
            problem = f"{url} cannot be had ({f'HTTP {error.code}' if refused else getattr(error, 'reason', error)})"
            whole = False
        else:
            problem = f"{url} broke off after {_size(part)} bytes"
        if not whole:
            if _size(part) > start:
                continue  # the connection broke, but brought something: go on where it stopped
            return problem
        if _is_right(part, sha256):
            os.replace(part, target)
            return None
        problem = f"{url} gave a wrong file (sha256 {_found(part)})"
        _set_aside(part, target, sha256)
        if not start:
            return problem
        # The beginning may be left from another version of the file: once more from the start.


def _transfer(url: str, part: Path, start: int) -> bool:
    """Append what is missing of `url` to `part`; whether it is whole now."""
    try:
        response = urllib.request.urlopen(_request(url, start), timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is missing
            return True
        raise
    with response:
        continued = response.status == 206
        if continued and not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            raise ValueError(f"asked for bytes from {start}, answered {response.headers.get('Content-Range')}")
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length) + (start if continued else 0)
        with open(part, "ab" if continued else "wb") as stream, progress.bar(total, part.stem, "bytes") as bar:
            bar.update(start if continued else 0)
            while chunk := response.read(_CHUNK):
                _write(stream, chunk)
                bar.update(len(chunk))
    return total is None or _size(part) == total


def _write(stream, chunk: bytes) -> None:
    try:
        stream.write(chunk)
        stream.flush()
    except OSError as error:
        raise GeedError(f"{stream.name}: cannot be written: {error.strerror}") from error


def _request(url: str, start: int = 0) -> urllib.request.Request:
    headers = {"User-Agent": "geed"} | ({"Range": f"bytes={start}-"} if start else {})
    return urllib.request.Request(url, headers=headers)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
