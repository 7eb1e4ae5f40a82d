"""Where a step computes: on the CPU, or on a GPU that no other job of this machine uses."""

import os
import tempfile
import time
from pathlib import Path

from geed.errors import GeedError

_GLANCE = 0.5  # seconds between two looks for a free GPU
_held: list[int] = []  # the lock of this process's GPU, until it ends


def choose(name: str) -> str:
    """The device that a study's `device` means here: "cpu" or "cuda", which is then a GPU of this process's own.

    Outside a scheduler nobody hands out the GPUs, so each process takes a free one of those that it may see (all, or those of
    CUDA_VISIBLE_DEVICES), by a lock on a file of the machine, and waits while there is none; the kernel frees the lock however
    the process ends. Inside a SLURM job the scheduler has decided, and the first GPU that it shows is taken.

    Convolutions are in float32: with TF32, PyTorch's default for them, trainings on a CPU and on a GPU would part by 1e-3 a step.

    Args:
        name: "auto" (CUDA where there is one), "cpu" or "cuda".

    Raises:
        GeedError: "cuda" where torch finds none.
    """
    import torch

    count = torch.cuda.device_count() if name != "cpu" else 0
    if name == "cuda" and not count:
        raise GeedError("device: 'cuda' was asked for, but torch finds no CUDA device here; use 'auto' or 'cpu'")
    if not count:
        return "cpu"
    torch.backends.cudnn.allow_tf32 = False
    if not _held and "SLURM_JOB_ID" not in os.environ:
        torch.cuda.set_device(_free([str(torch.cuda.get_device_properties(place).uuid) for place in range(count)]))
    return "cuda"


def _free(names: list[str]) -> int:
    """The place of a GPU whose lock could be taken; `names` are the same for every process that may use them."""
    said = False
    while True:
        for place, name in enumerate(names):
            if (lock := _taken(Path(tempfile.gettempdir()) / f"geed-gpu-{name}.lock")) is not None:
                _held.append(lock)
                return place
        if not said:
            print(f"geed: all {len(names)} GPUs here are taken by other jobs: waiting for one", flush=True)
            said = True
        time.sleep(_GLANCE)


def _taken(path: Path) -> int | None:
    """The lock on a file, taken; None where another process has it."""
    import fcntl

    try:
        # Not with O_CREAT at once: in a folder for all, the kernel refuses that for a file of another user.
        file = os.open(path, os.O_RDONLY) if path.exists() else os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    except OSError as error:
        raise GeedError(f"{path}: the lock of a GPU cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
