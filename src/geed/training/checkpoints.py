"""Side checkpoints: a killed training goes on where it was, and ends with the bytes of one that was never killed.

The file lies beside the results, not among them, and is removed once they are written. Its name is a hash of everything that
decides the outcome, the training code included, so a checkpoint of other settings is never taken up. Random streams are keyed
by epoch, so none of their state is kept.
"""

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from geed import files, models
from geed.errors import GeedError

SECONDS_BETWEEN = 30.0
_DIGEST = hashlib.sha256().digest_size


def path(folder: str | Path, settings: Mapping[str, Any]) -> Path:
    """Where the checkpoint of a training lies.

    Args:
        folder: the folder of all side checkpoints.
        settings: everything that decides the outcome, as plain data: the run, the seed, hashes of the inputs, the device.
    """
    modules = [file for room in (Path(models.__file__).parent, Path(__file__).parent) for file in sorted(room.glob("*.py"))]
    code = [files.sha256(file) for file in modules]
    key = files.canonical_json({"settings": settings, "code": code, "torch": torch.__version__})
    return Path(folder) / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.pt"


def save(file: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain data behind their SHA-256, atomically."""
    stream = io.BytesIO()
    torch.save(dict(content), stream)
    with files.atomic(file) as temporary:
        temporary.write_bytes(hashlib.sha256(stream.getbuffer()).digest() + stream.getbuffer())


def load(file: Path) -> dict[str, Any] | None:
    """What `save` wrote; None where there is nothing, or nothing whole: training then starts over and loses only time."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GeedError(f"{file}: the side checkpoint cannot be read: {error.strerror}") from error
    if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
        print(f"geed: {file}: this side checkpoint is damaged and is not used: training starts over", flush=True)
        return None
    try:
        return torch.load(io.BytesIO(content[_DIGEST:]), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        print(f"geed: {file}: this is no side checkpoint of ours and is not used: training starts over", flush=True)
        return None
