"""Studies on a real SLURM: to the end, to the bytes of a local run, through all that happens to jobs on a cluster."""

import contextlib
import copy
import re

import psutil
import pytest
import yaml
from checkouts import ROOT, SMALL, Checkout, is_job, kill_group, small

from geed.files import read_json

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("_confined")]
# Tests need not wait 40 s for the first look at a job; this node's files are its own, so they are there at once.
SLURM = ("--profile", "workflow/profiles/slurm", "--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5")
ARRAYS = ("--slurm-array-jobs", "train,measure", "--jobs", "10000", "--max-jobs-per-timespan", "10000/1s")
WEIGHTS = "results/small/models/plain/seed-0/weights.safetensors"


@pytest.fixture
def _confined(monkeypatch):
    """This SLURM confines nothing, so jobs hold themselves to their memory."""
    monkeypatch.setenv("GEED_LIMIT_MEMORY", "1")


@pytest.fixture
def checkout(tmp_path):
    """The small study, to be run on SLURM."""
    found = small(tmp_path / "geed")
    found.arguments = ("--configfile", "small.yaml", *SLURM)
    return found


def finished(checkout, process, seconds=3000):
    try:
        assert process.wait(seconds) == 0, checkout.words
    finally:
        kill_group(process)


def training(checkout):
    """The process of a training job of this checkout that is at work, if there is one."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if is_job(process) and process.cwd() == str(checkout.folder) and process.cmdline()[-1].endswith("train.py"):
                return process
    return None


def test_a_study_with_arrays_and_the_controller_restarted_has_the_bytes_of_a_local_run(
    node, checkout, tmp_path, wait_until, monkeypatch
):
    process = checkout.start(*ARRAYS)
    wait_until(lambda: process.poll() is not None or node.jobs("rule_train", "RUNNING"))
    node.restart_controller()
    finished(checkout, process)
    monkeypatch.delenv("GEED_LIMIT_MEMORY")
    local = small(tmp_path / "local")
    code, words = local.run()
    assert code == 0, words
    assert checkout.outputs() == local.outputs() and len(local.outputs()) > 20
    assert "Submitted array job" in checkout.words
    groups = {job["comment"] for job in node.jobs()}
    assert len(node.jobs()) < len(list(checkout.folder.rglob("*.record.json"))), groups  # small jobs went together
    assert {job["state"] for job in node.jobs()} == {"COMPLETED"}
    code, words = checkout.run()
    assert code == 0 and "Nothing to be done" in words


def test_a_training_lives_through_too_little_memory_its_time_limit_and_a_cancelling(node, checkout, wait_until):
    study = copy.deepcopy(SMALL)
    study["training"]["epochs"] = 300
    (checkout.folder / "small.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    module = checkout.folder / "src/geed/training/checkpoints.py"  # side checkpoints every second, not every 30
    module.write_text(re.sub(r"SECONDS_BETWEEN = .*", "SECONDS_BETWEEN = 1.0", module.read_text()))
    asked = ["train:mem_mb=1500-1350*(attempt<2)", "train:runtime=60-56*(attempt==2)"]
    process = checkout.start(WEIGHTS, "--set-resources", *asked)
    try:
        # The first attempt has too little memory. The second is stopped when it has left a checkpoint: its time runs out.
        side = checkout.folder / "results/small/checkpoints"
        wait_until(lambda: process.poll() is not None or list(side.glob("*.pt")))
        training(checkout).suspend()
        # The third is cancelled from outside as soon as it is at work; the fourth is left alone.
        wait_until(lambda: process.poll() is not None or (node.jobs("rule_train")[2:] and training(checkout)))
        node.cancel(node.jobs("rule_train", "RUNNING")[0])
    except Exception:
        kill_group(process)
        raise AssertionError(checkout.words) from None
    finished(checkout, process)
    found = [(job["state"], job["memory"], job["limit"]) for job in node.jobs("rule_train")]
    assert found == [
        ("FAILED", "150M", "1:00:00"),
        ("TIMEOUT", "1500M", "4:00"),
        ("CANCELLED", "1500M", "1:00:00"),
        ("COMPLETED", "1500M", "1:00:00"),
    ]
    first = node.jobs("rule_train")[0]["id"]
    (said,) = (path.read_text() for path in (checkout.folder / "logs/slurm").rglob(f"{first}.log"))
    assert "geed: train plain 0: " in said and re.search("MemoryError|allocate memory|start new thread", said), said
    record = read_json(checkout.folder / "results/small/models/plain/seed-0/train.record.json")
    assert 0 < record["measured"]["resumed_from_epoch"] < 300
    history = (checkout.folder / "results/small/models/plain/seed-0/history.csv").read_text().splitlines()
    assert len(history) == 301


def test_the_demo_study(node, tmp_path, wait_until):
    # Networks that take seconds go together too: four jobs of some fifteen networks each.
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    groups = ["--groups", *profile["groups"], "train=networks", "measure=networks"]
    groups += ["--group-components", *profile["group-components"], "networks=15"]
    checkout = Checkout(tmp_path / "geed", *SLURM, *groups)
    process = checkout.start()
    job = wait_until(lambda: process.poll() is not None or node.jobs("networks", "RUNNING"))
    assert process.poll() is None, checkout.words
    node.cancel(job[0])
    node.restart_controller()
    finished(checkout, process)
    assert [job["state"] for job in node.jobs()].count("CANCELLED") == 1
    assert len(list((checkout.folder / "results/demo/claims").glob("*.record.json"))) == 13
    code, words = checkout.geed("audit", "results/demo")
    assert code == 0, words
