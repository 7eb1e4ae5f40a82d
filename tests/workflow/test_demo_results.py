"""What `make figures` left: whole, recorded, and rerun exactly where an edit reaches. Run with `-m demo` after it."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from geed.files import read_json, sha256

pytestmark = pytest.mark.demo

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results/demo"
CLAIMS = ["K1", "K2", "K3", "K4", "K5", "L1", "L2", "L3", "M1", "M2", "M3", "P31", "P32"]


@pytest.fixture(scope="module", autouse=True)
def _finished():
    if not (RESULTS / "claims.json").exists():
        pytest.fail("results/demo/claims.json is missing: run `make figures` first")


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def due(folder, *arguments):
    """The jobs that a dry run would start, as rule -> number."""
    output = snakemake(folder, "-n", *arguments)
    if "Nothing to be done" in output:
        return Counter()
    table = output.split("Job stats:")[1].split("total")[0]
    rows = [line.split() for line in table.splitlines()]
    return Counter({row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A copy of the finished study, mtimes kept, that edits may spoil."""
    folder = tmp_path_factory.mktemp("finished") / "geed"
    ignore = shutil.ignore_patterns(".venv", ".git", "__pycache__", "logs", "log", "tests", "docs")
    shutil.copytree(ROOT, folder, ignore=ignore, copy_function=shutil.copy2, symlinks=True)
    assert due(folder) == Counter()
    return folder


@pytest.fixture
def edit(finished):
    """Append a line to a file of the copy; undone, mtime too, after the test."""
    undo = []

    def append(name, line):
        path = finished / name
        undo.append((path, path.read_bytes(), path.stat()))
        path.write_bytes(path.read_bytes() + line.encode())

    yield append
    for path, content, stat in reversed(undo):
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


PAGE = ["report", "crate"]  # whatever changes, the page shows it
ALL = ["prepare", "corrupt", "train", "measure", "orbit", "explain", "claim", "claims_table", "figure", "contact_sheet", *PAGE]
REACH = {
    "src/geed/claims/kvinge/k1.py": ["claim", "claims_table", "figure", *PAGE],
    "src/geed/stats/bootstrap.py": ["claim", "claims_table", "figure", *PAGE],
    "src/geed/figures/style.py": ["figure", "contact_sheet", *PAGE],
    "src/geed/study/measure.py": ["measure", "claim", "claims_table", "figure", *PAGE],
    "src/geed/study/orbit.py": ["orbit", "figure", *PAGE],
    "src/geed/data/corruptions/noise.py": ["corrupt", "measure", "claim", "claims_table", "figure", "contact_sheet", *PAGE],
    "src/geed/study/explain.py": ["explain", "figure", *PAGE],
    "src/geed/training/loop.py": ["train", "measure", "orbit", "explain", "claim", "claims_table", "figure", *PAGE],
    "workflow/report/page.css": PAGE,
    "src/geed/report/graph.py": PAGE,
    "src/geed/report/crate.py": ["crate"],
    "src/geed/files.py": ALL,
    "src/geed/commands/claims.py": [],
    "src/geed/models/zoo.py": [],
    "README.md": [],
}


@pytest.mark.parametrize("module", REACH)
def test_an_edited_module_reruns_exactly_its_dependents(finished, edit, module):
    edit(module, "\n# an edit\n")
    assert set(due(finished)) - {"all"} == set(REACH[module])


def test_a_changed_setting_reruns_only_the_runs_that_it_reaches(finished, edit):
    config = (finished / "config.yaml").read_text()
    before = "  contrastive_plain: {"
    assert before in config
    path = finished / "config.yaml"
    stat = path.stat()
    path.write_text(config.replace(before, before + "training: {epochs: 3}, "))
    try:
        jobs = due(finished)
    finally:
        path.write_text(config)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert jobs["train"] == 3 and jobs["measure"] == 3
    assert jobs["claim"] == 2  # K3 correlates over all runs, K5 compares objectives


def test_every_output_is_what_its_record_says():
    records = list(RESULTS.rglob("*.record.json")) + list((ROOT / "figures/demo").glob("*.record.json"))
    assert len(records) > 90
    for path in records:
        record = read_json(path)
        for name, expected in record["outputs"].items():
            assert sha256(ROOT / name) == expected, f"{name} differs from {path}"
        for name, expected in record["inputs"].items():
            if name.startswith("results/"):
                assert sha256(ROOT / name) == expected, f"{name}, an input of {path}, has changed since"


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_has_a_verdict_with_its_evidence(claim):
    result = read_json(RESULTS / f"claims/{claim}.json")
    assert result["verdict"] in ("reproduced", "partly", "contradicted", "inconclusive")
    assert result["id"] == claim and result["scale"] == "demo" and result["test"]
    for evidence in result["evidence"]:
        assert sha256(ROOT / evidence["path"]) == evidence["sha256"]


def test_a_claim_rebuilds_to_the_same_bytes(finished):
    path = finished / "results/demo/claims/K4.json"
    before = path.read_bytes()
    path.unlink()
    snakemake(finished, "results/demo/claims/K4.json")
    assert path.read_bytes() == before


def test_a_network_trains_to_the_same_bytes(finished):
    path = finished / "results/demo/models/augmented_rotation/seed-1/weights.safetensors"
    before = path.read_bytes()
    path.unlink()
    snakemake(finished, "results/demo/models/augmented_rotation/seed-1/weights.safetensors")
    assert path.read_bytes() == before
