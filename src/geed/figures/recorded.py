"""What a step recorded for a figure: a description and arrays, in one safetensors file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geed.errors import GeedError


def read(path: str | Path, keys: Sequence[str], what: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The description, whose `keys` must be there, and the arrays; `what` names the file's kind in a complaint.

    Raises:
        GeedError: the file is absent, damaged, or something else.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise GeedError(f"{path}: no such file")
    try:
        with safe_open(path, framework="np") as stream:
            about = json.loads((stream.metadata() or {})["geed"])
            return {key: about[key] for key in keys}, {
                name: stream.get_tensor(name)
                for name in stream.keys()  # noqa: SIM118 (not a mapping)
            }
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise GeedError(f"{path}: expected {what} (safetensors), found something damaged or else ({error})") from error
