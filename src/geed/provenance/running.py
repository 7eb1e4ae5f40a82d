"""One run of a study at a time in one folder, and no job that outlives its run.

A run holds a lock of the kernel (flock) on a small file for as long as it lives. The kernel frees it however the run ends, so
there is never anything to unlock; Snakemake's own lock files, which a killed run leaves behind, are switched off in the workflow
profile. A job ends when it sees that the process of its run has gone, and until then shares a second lock, for which the next run
waits: else it would finish one day, and write what it made of yesterday's code over what today's run has made.
"""

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

from geed import files
from geed.errors import GeedError

VARIABLE = "GEED_RUN"  # for the jobs: process and machine of their run, and its lock's path
_FOLDER = Path(".snakemake")
_SECONDS = 20.0  # that jobs of a killed run may take to end
_GLANCE = 0.2  # seconds between two looks at the run's process
_held: list[int] = []


def hold(study: str, folder: Path = _FOLDER) -> None:
    """Take the study's lock for the rest of this process, and tell it to the processes that it starts.

    Args:
        study: its name.
        folder: where the locks lie.

    Raises:
        GeedError: another run of the study is alive in this folder, or jobs of one are.
    """
    path = (folder / f"{study}.run").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _locked(lock, exclusively=True):
            raise GeedError(
                f"the study {study} is being built in this folder by another run ({_owner(path)}); nothing was started: "
                "wait until it has ended, or stop it"
            )
        _held.append(lock)
        os.ftruncate(lock, 0)
        os.write(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        os.environ[VARIABLE] = f"{os.getpid()} {socket.gethostname()} {path}"
        jobs = os.open(_of_jobs(path), os.O_RDWR | os.O_CREAT, 0o666)
        patience = time.monotonic() + _SECONDS
        while not _locked(jobs, exclusively=True):
            if time.monotonic() > patience:
                raise GeedError(
                    f"jobs of an earlier run of the study {study} are still at work; nothing was started: "
                    "wait until they have ended, or cancel them"
                )
            time.sleep(0.05)
        os.close(jobs)
    except OSError as error:
        raise GeedError(f"{folder}: the run's lock cannot be written: {error.strerror}") from error


def end_with_run() -> None:
    """In a job: end this process when the run that started it has gone, killed for one. Does nothing outside a run."""
    if VARIABLE not in os.environ:
        return
    process, host, path = os.environ[VARIABLE].split(" ", 2)
    with contextlib.suppress(OSError):
        _held.append(os.open(_of_jobs(Path(path)), os.O_RDWR | os.O_CREAT, 0o666))
        _locked(_held[-1], exclusively=False)
    # A job on another machine, of a cluster's, cannot see the process of its run, and lives on.
    if host == socket.gethostname():
        _end_without(int(process))
        threading.Thread(target=_watch, args=(int(process),), daemon=True).start()


def _watch(process: int) -> None:
    while True:
        time.sleep(_GLANCE)
        _end_without(process)


def _end_without(process: int) -> None:
    if not files.lives(process):
        os.write(2, b"geed: the run that started this job has gone, so the job ends too\n")
        os._exit(1)


def _locked(file: int, *, exclusively: bool) -> bool:
    """Whether the lock could be taken; taken for granted where the file system has no locks."""
    import fcntl

    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusively else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        print(f"geed: this file system has no locks ({error.strerror}): start one run of a study at a time", flush=True)
    return True


def _of_jobs(path: Path) -> Path:
    return path.with_suffix(".jobs")


def _owner(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()
