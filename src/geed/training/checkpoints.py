"""Side checkpoints: a killed training goes on where it was, and ends with the bytes of one that was never killed.

The file lies beside the results, not among them, and is removed when training ends. Its name is a hash of everything that
decides the outcome, the training code included, so a checkpoint of other settings is never taken up. Random streams are keyed
by epoch, so none of their state is kept.
"""

import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from geed import files, models

SECONDS_BETWEEN = 30.0


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
    """Write tensors and plain data, atomically."""
    with files.atomic(file) as temporary:
        torch.save(dict(content), temporary)


def load(file: Path) -> dict[str, Any] | None:
    """What `save` wrote; None where there is nothing, or nothing readable: training then starts over and loses only time."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
        print(f"{file}: unreadable checkpoint, starting over", flush=True)
        return None
