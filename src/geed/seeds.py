"""Random streams derived from names, so that a number never depends on the order in which jobs ran.

Every stream is keyed by the words that say what it is for, e.g. ``generator("demo", "plain", 0, "epoch", 3)``; SHA-256 makes
the seed, so neighbouring names give unrelated streams. Generators live on the CPU: the same draws on every device.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def seed_of(*names: object) -> int:
    """A seed in [0, 2**63) from the SHA-256 of the names, joined by slashes.

    >>> seed_of("demo", "plain", 0) == seed_of("demo", "plain", "0")
    True
    """
    digest = hashlib.sha256("/".join(str(name) for name in names).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*names: object) -> "torch.Generator":
    """A CPU torch generator for the named stream."""
    import torch

    return torch.Generator().manual_seed(seed_of(*names))


def rng(*names: object) -> "np.random.Generator":
    """A numpy generator for the named stream."""
    import numpy as np

    return np.random.default_rng(seed_of(*names))
