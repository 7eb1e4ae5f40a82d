"""Where a step computes."""

from geed.errors import GeedError


def choose(name: str) -> str:
    """The device that a study's `device` means here: "cpu" or "cuda".

    Args:
        name: "auto" (CUDA where there is one), "cpu" or "cuda".

    Raises:
        GeedError: "cuda" where torch finds none.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise GeedError("device: 'cuda' was asked for, but torch finds no CUDA device here; use 'auto' or 'cpu'")
    return name
