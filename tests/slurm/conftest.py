"""A SLURM of one node, started for the tests of this folder and stopped after them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "reliability"))

SCRIPT = Path(__file__).parent / "one-node.sh"


class Node:
    """What the tests ask SLURM for."""

    def __init__(self) -> None:
        self._first = 0

    def forget(self) -> None:
        """Jobs so far are no longer listed."""
        self._first = max([job["id"] for job in self.jobs()], default=self._first)

    def jobs(self, comment: str = "", state: str = "") -> list[dict]:
        """Jobs, oldest first: id, state, memory, limit, comment (which names the rule)."""
        keys = ("id", "state", "memory", "limit", "comment")
        listed = self._call("squeue", "--states=all", "--noheader", "--sort=i", "--format=%A|%T|%m|%l|%k").splitlines()
        found = [dict(zip(keys, line.split("|"), strict=True)) for line in listed if line]
        found = [job | {"id": int(job["id"])} for job in found]
        return [job for job in found if job["id"] > self._first and comment in job["comment"] and state in job["state"]]

    def cancel(self, job: dict) -> None:
        self._call("scancel", str(job["id"]))

    def restart_controller(self) -> None:
        subprocess.run([SCRIPT, "restart"], check=True, timeout=120)

    @staticmethod
    def _call(*words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="session")
def _slurm():
    if os.geteuid():
        pytest.fail("these tests start SLURM's daemons, as root; found another user")
    subprocess.run([SCRIPT, "start"], check=True, timeout=600)
    yield Node()
    subprocess.run([SCRIPT, "stop"], check=True, timeout=120)


@pytest.fixture
def node(_slurm):
    _slurm.forget()
    return _slurm


@pytest.fixture
def wait_until():
    def wait(condition, seconds=1200):
        end = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(1)
        return found

    return wait
