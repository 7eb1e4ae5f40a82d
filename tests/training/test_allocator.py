"""The allocator's setting takes effect: freed buffers are kept, so that a training step takes few page faults."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from geed.allocator import keep_freed_memory
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
layers = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU()) for _ in range(3)])
def step():
    layers(torch.ones(128,16,29,29)).sum().backward()
for _ in range(4): step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(6): step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_freed_memory_is_kept():
    faults = {mode: int(subprocess.check_output([sys.executable, "-c", PROGRAM, mode])) for mode in ("keep", "default")}
    assert faults["keep"] < faults["default"] / 3
