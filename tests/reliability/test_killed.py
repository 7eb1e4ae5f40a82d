"""Killed at random moments, then run again: it completes, and everything has the bytes of a run that nobody touched."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from checkouts import Checkout, children, is_job, kill_group, small

from geed.files import read_json

ROOT = Path(__file__).parents[2]
_LIMIT = 3600  # seconds for a run, on a busy machine


def killed(checkout: Checkout, kills: int, most_jobs: int, seed: int) -> dict[str, int]:
    """Run a study to its end, killing it on the way: by turns a random job; Snakemake and its jobs; Snakemake alone.

    Args:
        checkout: where.
        kills: how often.
        most_jobs: a kill comes when 1 to so many jobs have ended since the last, up to two seconds later, in the midst of others.
        seed: of the random moments.

    Returns:
        How often each was killed, and `starts`, how often Snakemake had to be started.
    """
    rng, counts = random.Random(seed), {"job": 0, "all": 0, "snakemake": 0, "starts": 1}
    process = checkout.start()
    try:
        for number in range(kills):
            how = ("job", "all", "snakemake")[number % 3]
            goal = finished(checkout) + rng.randint(1, most_jobs)
            while finished(checkout) < goal or not (jobs := children(process)):
                if process.poll() is not None:
                    if process.returncode == 0:
                        return counts
                    assert counts["job"], checkout.words  # it ends so when a job was killed
                    process = checkout.start()
                    counts["starts"] += 1
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 2))
            jobs = children(process) or jobs
            if how == "job":
                rng.choice(jobs).kill()
            elif how == "all":
                kill_group(process)
            else:
                process.send_signal(signal.SIGKILL)
                process.wait()
                left = psutil.wait_procs(jobs, timeout=20)[1]
                assert not left, f"jobs outlived their run: {left}"
            counts[how] += 1
            if how != "job":
                process = checkout.start()
                counts["starts"] += 1
        while process.wait(_LIMIT) != 0:
            assert counts["starts"] <= 2 * kills, checkout.words
            process = checkout.start()
            counts["starts"] += 1
    finally:
        kill_group(process)
    return counts


def finished(checkout: Checkout) -> int:
    """How many jobs have ended: each has left its record."""
    return sum(1 for name in ("results", "figures") for _ in (checkout.folder / name).rglob("*.record.json"))


def records(folder: Path, study: str) -> dict[str, tuple]:
    """What each record says of its inputs and outputs, by its path; not of the page and the crate, which quote timings."""
    found = [path for name in ("results", "figures") for path in (folder / name / study).rglob("*.record.json")]
    found = [path for path in found if path.name not in ("report.record.json", "ro-crate-metadata.record.json")]
    contents = {str(path.relative_to(folder)): read_json(path) for path in found}
    return {path: (content["inputs"], content["outputs"], content["params"]) for path, content in contents.items()}


def nothing_is_left_over(checkout: Checkout) -> None:
    code, words = checkout.run("-n")
    assert code == 0 and "Nothing to be done" in words, words
    assert not list(checkout.folder.rglob(".*.part*"))
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(checkout.folder) and is_job(p)]
    assert not list(checkout.folder.rglob("checkpoints/*.pt"))


@pytest.mark.slow
def test_a_small_study_survives(whole, tmp_path):
    harried = small(tmp_path / "harried")
    counts = killed(harried, kills=6, most_jobs=3, seed=1)
    assert counts["all"] and counts["snakemake"], counts
    assert harried.outputs() == whole.outputs()
    assert records(harried.folder, "small") == records(whole.folder, "small")
    nothing_is_left_over(harried)


@pytest.mark.slow
@pytest.mark.demo
def test_the_demo_survives_twenty_kills(tmp_path):
    harried, whole = (Checkout(tmp_path / name, "--cores", "2") for name in ("harried", "whole"))
    counts = killed(harried, kills=24, most_jobs=8, seed=2022)
    print(counts)
    assert counts["job"] + counts["all"] + counts["snakemake"] >= 20, counts
    if built(ROOT):  # `make figures` has been there
        whole.folder = ROOT
    else:
        code, words = whole.run(seconds=_LIMIT)
        assert code == 0, words
    assert harried.outputs() == whole.outputs()
    assert records(harried.folder, "demo") == records(whole.folder, "demo")
    nothing_is_left_over(harried)


def built(folder: Path) -> bool:
    """Whether the demo is there, from the sources that are there."""
    done = subprocess.run([sys.executable, "-m", "snakemake", "-n"], cwd=folder, capture_output=True, text=True, timeout=300)
    return (folder / "results/demo/claims.json").exists() and "Nothing to be done" in done.stdout + done.stderr
