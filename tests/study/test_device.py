"""One GPU a process: free ones by lock, the scheduler's where there is one. CUDA is played, so that this runs anywhere."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from geed.errors import GeedError
from geed.study import device

HOLD = """
import sys
from pathlib import Path
from geed.study import device
print(device._free(sys.argv[1:]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Two GPUs, in a machine of their own; what was set is in the list."""
    chosen = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: SimpleNamespace(uuid=f"gpu-{place}"))
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(device, "_held", [])
    monkeypatch.setattr(device, "_GLANCE", 0.02)
    yield chosen
    for lock in device._held:
        os.close(lock)


@pytest.fixture
def other():
    """Another process that takes a GPU, and keeps it until it is killed."""
    started = []

    def take(*names):
        process = subprocess.Popen([sys.executable, "-c", HOLD, *names], stdin=-1, stdout=-1, text=True)
        started.append(process)
        return process, int(process.stdout.readline())

    yield take
    for process in started:
        process.kill()
        process.wait()


def test_each_process_takes_a_gpu_of_its_own(gpus, other):
    _, taken = other("gpu-0", "gpu-1")
    assert taken == 0
    assert device.choose("auto") == "cuda" and gpus == [1]
    assert not torch.backends.cudnn.allow_tf32
    assert device.choose("cuda") == "cuda" and gpus == [1]  # it has one


def test_what_the_environment_hides_is_left_alone(gpus, other, monkeypatch):
    # CUDA_VISIBLE_DEVICES=1: torch counts one device, number 0, which is the machine's second
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda place: SimpleNamespace(uuid="gpu-1"))
    other("gpu-0")
    assert device.choose("cuda") == "cuda" and gpus == [0]


def test_with_none_free_it_waits_until_a_process_ends_however_it_ends(gpus, other, capfd):
    first, _ = other("gpu-0", "gpu-1")
    other("gpu-0", "gpu-1")
    done = []
    waiting = threading.Thread(target=lambda: done.append(device.choose("cuda")))
    waiting.start()
    time.sleep(0.3)
    assert not done
    first.kill()
    waiting.join(20)
    assert done == ["cuda"] and gpus == [0]
    assert "geed: all 2 GPUs here are taken by other jobs: waiting for one" in capfd.readouterr().out


def test_in_a_slurm_job_the_scheduler_has_chosen(gpus, other, monkeypatch):
    other("gpu-0")
    other("gpu-1")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert device.choose("cuda") == "cuda" and gpus == []


def test_without_gpus(gpus, monkeypatch):
    assert device.choose("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device.choose("auto") == "cpu" and torch.backends.cudnn.allow_tf32
    with pytest.raises(GeedError, match="device: 'cuda' was asked for, but torch finds no CUDA device here"):
        device.choose("cuda")
