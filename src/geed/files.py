"""Files that are whole or absent: hashes, atomic writes, canonical JSON, and tables."""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geed.errors import GeedError

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 1 << 20


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal, read in chunks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` if the block succeeds, remove it if not.

    A reader therefore sees the old file, the new file or none, never a part of one. The temporary name keeps the suffix,
    because savers choose their format by it, and names machine and process, so that two writers never share one. What a killed
    process left is removed by the next one that writes the same file.

    Raises:
        GeedError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    host = socket.gethostname()
    temporary = path.with_name(f".{path.stem}.{host}-{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.stem)}.{glob.escape(host)}-*.part{glob.escape(path.suffix)}"):
            process = left.name.rpartition(".part")[0].rpartition("-")[2]
            if process.isdigit() and not lives(int(process)):
                left.unlink(missing_ok=True)
        yield temporary
        with open(temporary, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # the system's words: libraries put their own around them
        raise GeedError(f"{path}: cannot be written: {os.strerror(error.errno) if error.errno else error}") from error
    finally:
        with contextlib.suppress(OSError):  # on a read-only disk there is nothing to remove, and it cannot be tried
            temporary.unlink()


def lives(process: int) -> bool:
    """Whether a process of this machine is alive, ours or another user's."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def copy(source: str | Path, target: str | Path) -> None:
    """Copy a file, atomically.

    Raises:
        GeedError: the target cannot be written.
    """
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)


def canonical_json(value: Any, *, sort_keys: bool = True) -> str:
    """JSON with sorted keys and no NaN, so that equal values have equal bytes."""
    return json.dumps(value, sort_keys=sort_keys, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: str | Path, value: Any, *, sort_keys: bool = True) -> None:
    """Write `value` as canonical JSON, atomically; without `sort_keys` in its own order, where that means something."""
    with atomic(path) as temporary:
        temporary.write_text(canonical_json(value, sort_keys=sort_keys), encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        GeedError: the file is absent or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GeedError(f"{path}: no such file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise GeedError(f"{path}: expected JSON, found something else ({error})") from error


def write_table(path: str | Path, frame: "pd.DataFrame") -> None:
    """Write a table as parquet or CSV, by the path's suffix, atomically and with the same bytes for equal tables."""
    with atomic(path) as temporary:
        if temporary.suffix == ".csv":
            frame.to_csv(temporary, index=False)
        else:
            frame.to_parquet(temporary, index=False)


def read_table(path: str | Path) -> "pd.DataFrame":
    """Read a parquet or CSV table.

    Raises:
        GeedError: the file is absent or damaged.
    """
    import pandas as pd

    path = Path(path)
    try:
        return pd.read_csv(path, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)
    except FileNotFoundError as error:
        raise GeedError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise GeedError(f"{path}: expected a {path.suffix[1:]} table, found something unreadable ({said})") from error
