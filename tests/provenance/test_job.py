"""The frame of a job: record written when whole, one sentence when the input is bad, nothing half-written."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from geed.errors import GeedError
from geed.files import read_json, sha256, write_json
from geed.provenance.job import job


class Named(list):
    """Snakemake's lists with names."""

    def __init__(self, **named):
        super().__init__(named.values())
        self.__dict__.update(named)
        self._named = named

    def items(self):
        return self._named.items()


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("input")
    return played()


def played():
    return SimpleNamespace(
        rule="train",
        wildcards=Named(run="plain", seed="0"),
        params=Named(settings={"epochs": 3}),
        input=Named(data="in.txt"),
        output=Named(weights="out.txt", record="out.record.json"),
        log=["logs/train.log"],
        threads=1,
    )


def test_the_record_says_where_everything_came_from(snakemake, tmp_path):
    with job(snakemake) as measured:
        print("working")
        (tmp_path / "out.txt").write_text("output")
        measured["test_accuracy"] = 0.5
    record = read_json("out.record.json")
    assert record["inputs"] == {"in.txt": sha256("in.txt")}
    assert record["outputs"] == {"out.txt": sha256("out.txt")}
    assert record["names"] == {"inputs": {"data": "in.txt"}, "outputs": {"weights": "out.txt"}}
    assert record["params"] == {"settings": {"epochs": 3}}
    assert record["wildcards"] == {"run": "plain", "seed": "0"}
    assert record["measured"] == {"test_accuracy": 0.5}
    assert record["packages"]["numpy"] and record["cost"]["wall_seconds"] >= 0 and record["cost"]["peak_memory_mb"] > 0
    log = (tmp_path / "logs/train.log").read_text()
    assert log.startswith("working\ngeed: the job ended well: ") and log.endswith(" s, test_accuracy 0.5\n")


def test_bad_input_is_one_sentence_and_leaves_no_record(snakemake, tmp_path, capfd):
    with pytest.raises(SystemExit) as ended, job(snakemake):
        raise GeedError("in.txt: expected digits, found letters")
    assert ended.value.code == 1
    assert not (tmp_path / "out.record.json").exists()
    assert capfd.readouterr().err == "geed: train plain 0: in.txt: expected digits, found letters\n"
    assert "Traceback" not in (tmp_path / "logs/train.log").read_text()


def test_a_fault_of_ours_leaves_its_traceback_in_the_log(snakemake, tmp_path, capfd):
    with pytest.raises(SystemExit), job(snakemake):
        raise ZeroDivisionError("oops")
    assert "Traceback" in (tmp_path / "logs/train.log").read_text()
    assert capfd.readouterr().err.count("\n") == 1


def test_the_screen_is_given_back(snakemake, tmp_path, capfd):
    with job(snakemake):
        (tmp_path / "out.txt").write_text("output")
    print("after")
    sys.stdout.flush()
    assert "after" in capfd.readouterr().out


def test_an_input_that_is_not_what_its_job_wrote_is_refused_before_it_is_read(snakemake, tmp_path, capfd):
    write_json("in.record.json", {"outputs": {"in.txt": sha256("in.txt"), "other.txt": "0" * 64}})
    with job(snakemake):
        (tmp_path / "out.txt").write_text("output")
    (tmp_path / "in.txt").write_text("inqut")
    with pytest.raises(SystemExit), job(snakemake):
        pytest.fail("the body ran")
    sentence = capfd.readouterr().err.splitlines()[-1]
    assert sentence.startswith("geed: train plain 0: in.txt: expected sha256 ") and sentence.endswith("delete it, and run again")


@pytest.mark.parametrize("record", ["[]", "{}", "{"])
def test_a_damaged_record_beside_an_input_is_refused(snakemake, tmp_path, capfd, record):
    (tmp_path / "in.record.json").write_text(record)
    with pytest.raises(SystemExit), job(snakemake):
        pytest.fail("the body ran")
    assert capfd.readouterr().err.startswith("geed: train plain 0: in.record.json: expected ")


def test_a_vanished_input_is_named(snakemake, tmp_path, capfd):
    (tmp_path / "in.txt").unlink()
    with pytest.raises(SystemExit), job(snakemake):
        pytest.fail("the body ran")
    assert capfd.readouterr().err.startswith("geed: train plain 0: in.txt: expected this input, found no such file; ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_log_on_a_full_disk_hides_nothing(snakemake, capfd):
    def body():
        print("words " * 10_000)
        raise GeedError("results: no space left")

    snakemake.log = ["/dev/full"]
    with pytest.raises(SystemExit), job(snakemake):
        body()
    assert capfd.readouterr().err == "geed: train plain 0: results: no space left\n"


def test_a_log_that_cannot_be_opened_is_named(snakemake, tmp_path, capfd):
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(SystemExit), job(snakemake):
        pytest.fail("the body ran")
    assert capfd.readouterr().err.startswith("geed: logs/train.log: the job's log cannot be written: ")


LIMITED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_job import played
from geed.provenance.job import job
snakemake = played()
snakemake.resources = SimpleNamespace(mem_mb=int(sys.argv[2]))
with job(snakemake):
    hold = b"x" * 400_000_000
    open("out.txt", "w").write(str(len(hold)))
"""


@pytest.mark.parametrize(("limit", "asked", "code"), [("1", 300, 1), ("1", 1200, 0), ("", 300, 0)])
def test_a_job_holds_itself_to_its_memory_where_that_is_asked(snakemake, tmp_path, limit, asked, code):
    program = "from types import SimpleNamespace\n" + LIMITED
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(asked)],
        env=os.environ | {"GEED_LIMIT_MEMORY": limit},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    assert (tmp_path / "out.txt").exists() == (code == 0)
    assert ("MemoryError" in done.stderr) == (code == 1)
