"""One run of a study at a time in one folder, and no job that outlives its run.

A run holds a lock of the kernel (flock) on a small file for as long as it lives. The kernel frees it however the run ends, so
there is never anything to unlock; Snakemake's own lock files, which a killed run leaves behind, are switched off in the workflow
profile. Jobs wait for the same lock in a thread: one that gets it has lost its run, and ends at once. Otherwise it would finish
one day, and write what it made of yesterday's code over what today's run has made.
"""

import os
import socket
import threading
import time
from pathlib import Path

from geed import files
from geed.errors import GeedError

VARIABLE = "GEED_RUN"  # the lock's path, for the jobs
_FOLDER = Path(".snakemake")
_SECONDS = 20.0  # that jobs of a killed run may take to end
_held: list[int] = []


def hold(study: str, folder: Path = _FOLDER) -> None:
    """Take the study's lock for the rest of this process, and tell it to the processes that it starts.

    Args:
        study: its name.
        folder: where the lock lies.

    Raises:
        GeedError: another run of the study is alive in this folder.
    """
    import fcntl

    path = (folder / f"{study}.run").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    patience = time.monotonic() + _SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            owner = _owner(path)
            if _alive(owner) or time.monotonic() > patience:
                os.close(lock)
                raise GeedError(
                    f"the study {study} is being built in this folder by another run ({owner}); nothing was started: "
                    "wait until it has ended, or stop it"
                ) from None
            time.sleep(0.1)  # its jobs are just ending
        except OSError as error:
            print(
                f"geed: {path}: this file system has no locks ({error.strerror}): start one run of a study at a time", flush=True
            )
            break
    os.ftruncate(lock, 0)
    os.write(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    _held.append(lock)
    os.environ[VARIABLE] = str(path)


def end_with_run() -> None:
    """In a job: end this process when the run that started it is gone, killed for one.

    Does nothing outside a run, and on other machines than the run's, where a lock may not be seen.
    """
    path = Path(os.environ.get(VARIABLE, ""))
    if not path.is_file() or not _owner(path).endswith(f" on {socket.gethostname()}"):
        return
    threading.Thread(target=_wait_for_end, args=(path,), daemon=True).start()


def _wait_for_end(path: Path) -> None:
    import fcntl

    try:
        lock = os.open(path, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_SH)
    except OSError:  # no locks here
        return
    os.write(2, b"geed: the run that started this job has gone, so the job ends too\n")
    os._exit(1)


def _owner(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _alive(owner: str) -> bool:
    """Whether the process of a lock's line lives; taken for granted where this machine cannot tell."""
    words = owner.split()
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdigit():
        return True
    return files.lives(int(words[1]))
