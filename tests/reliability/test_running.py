"""One run of a study at a time, and jobs that end with their run."""

import os
import subprocess
import sys
import time

import pytest

from geed import files
from geed.errors import GeedError
from geed.provenance import running

# A run that starts a job through a shell, as Snakemake does, and lives until its input closes.
RUN = """
import subprocess, sys
from pathlib import Path
from geed.provenance import running
running.hold("demo", Path("."))
job = subprocess.Popen(["bash", "-c", f"{sys.executable} job.py; true"])
print("held", flush=True)
sys.stdin.read()
"""
JOB = """
import os, time
from geed.provenance import running
running.end_with_run()
open("job.txt", "w").write(str(os.getpid()))
time.sleep(60)
open("finished.txt", "w")
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "job.py").write_text(JOB)
    process = subprocess.Popen([sys.executable, "-c", RUN], cwd=tmp_path, stdin=-1, stdout=-1, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def _forgetful(monkeypatch):
    monkeypatch.setattr(running, "_held", [])
    monkeypatch.setenv(running.VARIABLE, "")
    yield
    for lock in running._held:
        os.close(lock)


@pytest.mark.usefixtures("_forgetful")
def test_a_second_run_is_refused_while_the_first_lives_and_not_after(run, tmp_path):
    sentence = rf"the study demo is being built in this folder by another run \(process {run.pid} on .*\); nothing was started"
    with pytest.raises(GeedError, match=sentence):
        running.hold("demo", tmp_path)
    running.hold("other", tmp_path)
    run.kill()
    run.wait()
    running.hold("demo", tmp_path)
    assert os.environ[running.VARIABLE] == str(tmp_path / "demo.run")


@pytest.mark.usefixtures("_forgetful")
def test_a_job_ends_with_its_run_and_before_the_next_one(run, tmp_path):
    note = tmp_path / "job.txt"
    wait_until(lambda: note.exists() and note.read_text())
    job = int(note.read_text())
    assert files.lives(job)
    run.kill()
    run.wait()
    running.hold("demo", tmp_path)
    wait_until(lambda: not files.lives(job))
    assert not (tmp_path / "finished.txt").exists()


def test_outside_a_run_nothing_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.delenv(running.VARIABLE, raising=False)
    running.end_with_run()
    (tmp_path / "demo.run").write_text("process 1 on another-machine\n")
    monkeypatch.setenv(running.VARIABLE, str(tmp_path / "demo.run"))
    running.end_with_run()  # a lock of another machine may not be seen here: had it been waited for, this process would end
    time.sleep(0.2)
