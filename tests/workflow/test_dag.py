"""The DAG: it plans in seconds, is lint-clean, and refuses a bad study before any job, in one sentence."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNAKEMAKE = [sys.executable, "-m", "snakemake"]


def snakemake(*arguments, cwd=ROOT):
    return subprocess.run([*SNAKEMAKE, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture
def workspace(tmp_path):
    """A folder with the workflow but no results, so that every job is due and no lock is shared."""
    for name in ("Snakefile", "config.yaml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("workflow", "src", "envs"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def jobs(output):
    """Rule -> number of jobs, from Snakemake's table."""
    table = output.split("Job stats:")[1].split("total")[0]
    return {
        line.split()[0]: int(line.split()[1])
        for line in table.splitlines()
        if len(line.split()) == 2 and line.split()[1].isdigit()
    }


def test_the_demo_plans_every_claim(workspace):
    done = snakemake("-n", cwd=workspace)
    assert done.returncode == 0, done.stderr
    counts = jobs(done.stdout + done.stderr)
    assert counts["claim"] == 13
    # One training and one measuring job for each trained network; `pretraining` is needed, but not measured.
    assert counts["train"] - counts["measure"] == 3
    assert counts["figure"] >= 6


def test_a_study_that_searches_readings_plans_them_and_measures_every_run(workspace):
    done = snakemake("-n", "--configfile", "workflow/studies/genuine.yaml", cwd=workspace)
    assert done.returncode == 0, done.stderr
    counts = jobs(done.stdout + done.stderr)
    assert counts["readings"] == 1
    assert counts["measure"] == counts["train"]
    assert counts["search"] == 6


def test_only_runs_that_search_their_weight_wait_for_a_search(workspace):
    for run, searches in (("da_r4", None), ("ir_li_r4", 1)):
        targets = [f"results/genuine/models/{run}/seed-{seed}/weights.safetensors" for seed in (0, 1)]
        done = snakemake("-n", "--configfile", "workflow/studies/genuine.yaml", "--", *targets, cwd=workspace)
        assert done.returncode == 0, done.stderr
        counts = jobs(done.stdout + done.stderr)
        assert counts.get("search") == searches and counts["train"] == 2


def test_one_claim_needs_only_its_own_runs(workspace):
    done = snakemake("-n", "claim_K4", cwd=workspace)
    assert done.returncode == 0, done.stderr
    counts = jobs(done.stdout + done.stderr)
    assert counts == {"claim": 1, "claim_K4": 1, "figure": 1, "measure": 9, "prepare": 2, "train": 12}


@pytest.mark.parametrize("study", sorted((ROOT / "workflow/studies").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_plans(workspace, study):
    done = snakemake("-n", "--quiet", "all", "--configfile", str(study.relative_to(ROOT)), cwd=workspace)
    assert done.returncode == 0, done.stderr


def test_lint_is_clean():
    done = snakemake("--lint")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "sed=[1]"], "geed: --config: sed: unknown key; did you mean 'seeds'?"),
        (["--config", "seeds=3"], "geed: --config: seeds: expected a list, found 3"),
        (["--config", "device=gpu"], "geed: --config: device: expected one of auto, cpu, cuda, found 'gpu'"),
    ],
)
def test_a_bad_study_is_refused_in_one_sentence(workspace, arguments, sentence):
    done = snakemake("-n", *arguments, cwd=workspace)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert sentence in output
    assert "Traceback" not in output and 'File "' not in output


def test_a_bad_study_file_is_named(workspace):
    (workspace / "mine.yaml").write_text("study: mine\nruns: {plain: {data: digit, architecture: cnn}}\n")
    done = snakemake("-n", "--configfile", "mine.yaml", cwd=workspace)
    assert done.returncode == 1
    assert (
        "geed: mine.yaml: runs.plain.data: expected the name of a data set of data.sets, found 'digit'"
        in done.stdout + done.stderr
    )
