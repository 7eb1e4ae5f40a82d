"""One run of a study at a time, and jobs that end with their run."""

import os
import socket
import subprocess
import sys
import time

import psutil
import pytest
from checkouts import kill_group, small

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
    monkeypatch.setenv(running.VARIABLE, "unset at the end")
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
    assert os.environ[running.VARIABLE].startswith(f"{os.getpid()} ")


@pytest.mark.usefixtures("_forgetful")
def test_a_job_ends_with_its_run_and_before_the_next_one(run, tmp_path):
    note = tmp_path / "job.txt"
    wait_until(lambda: note.exists() and note.read_text())
    job = int(note.read_text())
    assert files.lives(job)
    run.kill()
    run.wait()
    running.hold("demo", tmp_path)
    wait_until(lambda: not files.lives(job), seconds=1)  # it has ended; its parent may still have to take note
    assert not (tmp_path / "finished.txt").exists()


@pytest.mark.usefixtures("_forgetful")
def test_a_run_does_not_start_beside_jobs_that_do_not_end(run, tmp_path, monkeypatch):
    note = tmp_path / "job.txt"
    wait_until(lambda: note.exists() and note.read_text())
    job = psutil.Process(int(note.read_text()))
    job.suspend()  # as a job on another machine, which cannot see that its run has gone
    run.kill()
    run.wait()
    monkeypatch.setattr(running, "_SECONDS", 0.5)
    try:
        with pytest.raises(GeedError, match="jobs of an earlier run of the study demo are still at work; nothing was started"):
            running.hold("demo", tmp_path)
    finally:
        job.resume()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GeedError, match=r"file: the run's lock cannot be written: "):
        running.hold("demo", tmp_path / "file")


def test_a_job_that_finds_its_run_gone_does_nothing(run, tmp_path):
    run.kill()
    run.wait()
    environment = os.environ | {running.VARIABLE: f"{run.pid} {socket.gethostname()} {tmp_path / 'demo.run'}"}
    program = JOB.replace("job.txt", "late.txt")
    late = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, timeout=60)
    assert late.returncode == 1 and b"has gone" in late.stderr
    assert not (tmp_path / "late.txt").exists()


def test_outside_a_run_and_on_other_machines_a_job_lives_on(monkeypatch, tmp_path):
    monkeypatch.setattr(running, "_held", [])
    monkeypatch.delenv(running.VARIABLE, raising=False)
    running.end_with_run()
    monkeypatch.setenv(running.VARIABLE, f"1000000000 another-machine {tmp_path / 'demo.run'}")
    running.end_with_run()  # had it looked for the process, this one would have ended
    os.close(running._held[0])


@pytest.mark.slow
def test_of_two_runs_started_at_once_one_says_so(tmp_path):
    checkout = small(tmp_path / "geed")
    processes = [checkout.start() for _ in range(2)]
    try:
        wait_until(lambda: any(process.poll() is not None for process in processes), seconds=300)
        refused, alive = sorted(processes, key=lambda process: process.poll() is None)
        assert refused.returncode == 1 and alive.poll() is None, checkout.words
        sentence = f"geed: the study small is being built in this folder by another run (process {alive.pid} on "
        assert [line for line in checkout.words.splitlines() if line.startswith(sentence)], checkout.words
        assert "Traceback" not in checkout.words and "LockException" not in checkout.words
    finally:
        for process in processes:
            kill_group(process)
