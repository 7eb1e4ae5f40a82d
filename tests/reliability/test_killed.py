"""Killed at random moments, then run again: it completes, and everything has the bytes of a run that nobody touched."""

import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from checkouts import Checkout, children, is_job, kill_group, small

from geed.files import read_json


def killed(checkout: Checkout, kills: int, pause: tuple[float, float], seed: int) -> dict[str, int]:
    """Run a study to its end, killing it on the way: by turns a random job; Snakemake and its jobs; Snakemake alone.

    Args:
        checkout: where.
        kills: how often.
        pause: seconds between kills, shortest and longest.
        seed: of the random moments.

    Returns:
        How often each was killed, and `starts`, how often Snakemake had to be started.
    """
    rng, counts = random.Random(seed), {"job": 0, "all": 0, "snakemake": 0, "starts": 0}
    process = None
    try:
        while sum(counts.values()) - counts["starts"] < kills:
            if process is None:
                process = checkout.start()
                counts["starts"] += 1
            time.sleep(rng.uniform(*pause))
            jobs = children(process)
            if process.poll() is not None:
                assert process.returncode == 0 or counts["job"], checkout.words
                if process.returncode == 0:
                    break
                process = None
                continue
            how = ("job", "all", "snakemake")[(counts["job"] + counts["all"] + counts["snakemake"]) % 3]
            if how == "job":
                if not jobs:
                    continue
                rng.choice(jobs).kill()
            elif how == "all":
                kill_group(process)
                process = None
            else:
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = None
                ended = psutil.wait_procs(jobs, timeout=20)[1]
                assert not ended, f"jobs outlived their run: {ended}"
            counts[how] += 1
        if process is not None and process.wait(900) != 0:
            process = None  # a job was killed: it is run again
        if process is None:
            counts["starts"] += 1
            code, words = checkout.run(seconds=900)
            assert code == 0, words
    finally:
        if process is not None:
            kill_group(process)
    return counts


def records(folder: Path) -> dict[str, tuple]:
    """What each record says of its inputs and outputs, by its path; not of the page and the crate, which quote timings."""
    found = [path for name in ("results", "figures") for path in (folder / name).rglob("*.record.json")]
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
def test_a_small_study_survives(tmp_path):
    whole, harried = small(tmp_path / "whole"), small(tmp_path / "harried")
    code, words = whole.run()
    assert code == 0, words
    counts = killed(harried, kills=6, pause=(3.5, 6.5), seed=1)
    assert counts["all"] and counts["snakemake"], counts
    assert harried.outputs() == whole.outputs()
    assert records(harried.folder) == records(whole.folder)
    nothing_is_left_over(harried)
