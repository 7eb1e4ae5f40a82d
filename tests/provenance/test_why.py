"""The chain of a file, back to its raw data."""

import shutil

import pytest
from tiny import ROOT

from geed import cli
from geed.errors import GeedError
from geed.files import read_json, sha256, write_json
from geed.provenance.why import why

RESULTS = "results/tiny"
DIGITS = "09f66e6d"  # the published checksum of scikit-learn's digits


def chain(project, path):
    text, whole = why(project / path)
    # Commands stand in one piece, to be copied.
    assert max(len(line) for line in text.splitlines() if not line.startswith("  snakemake")) <= 100, text
    return text, whole


def test_a_figure_leads_to_the_raw_data(built):
    text, whole = chain(built, "figures/tiny/distances.png")
    assert whole
    order = ["figure distances", "claim K4", "measure finetuned, seeds 0, 1", "train finetuned", "train plain", "prepare digits"]
    assert all(words in text for words in order)
    assert f"raw data  sklearn/datasets/data/digits.csv.gz  {DIGITS}" in text
    tables = [f"{RESULTS}/measurements/plain/seed-{seed}/table.parquet" for seed in (0, 1)]
    hashes = " ".join(sha256(built / path)[:8] for path in tables)
    assert f"{RESULTS}/measurements/plain/seed-*/table.parquet  {hashes}" in text
    assert text.count("sklearn/datasets") == 1  # what is shared is shown once
    commit = read_json(built / f"{RESULTS}/claims/K4.record.json")["code"]["commit"][:7]
    assert f"· commit {commit}\n" in text and f"git checkout {commit}" in text
    assert "snakemake --cores 2 --configfile workflow/studies/tiny.yaml figures/tiny/distances.png" in text
    assert "to rebuild all of it, 16 jobs" in text


def test_a_verdict_says_what_it_is(built):
    result = read_json(built / f"{RESULTS}/claims/K4.json")
    text, _ = chain(built, f"{RESULTS}/claims/K4.json")
    assert text.startswith(f"K4: {result['verdict']}, {result['estimate']:.3g} [{result['ci_low']:.3g}, {result['ci_high']:.3g}]")
    assert "estimate" not in chain(built, f"{RESULTS}/claims.json")[0].splitlines()[0]


@pytest.mark.parametrize(
    ("path", "jobs"),
    [
        ("claims/K4.csv", 15),
        ("measurements/finetuned/seed-1/per_image.parquet", 4),
        ("models/plain/seed-0/weights.safetensors", 2),
        ("data/digits.safetensors", 1),
    ],
)
def test_whatever_the_file(built, path, jobs):
    text, whole = chain(built, f"{RESULTS}/{path}")
    assert whole and DIGITS in text and f"to rebuild all of it, {jobs} job{'s' if jobs > 1 else ''}, " in text


def test_a_broken_chain(project, capsys):
    verdict = project / RESULTS / "claims/K4.json"
    verdict.write_text(verdict.read_text() + " ")
    assert f"BROKEN: {RESULTS}/claims/K4.json is not what its job wrote" in chain_of(verdict, capsys)
    # The job has written another since the figure was drawn.
    record = read_json(verdict.with_suffix(".record.json"))
    was = record["outputs"][f"{RESULTS}/claims/K4.json"][:8]
    record["outputs"][f"{RESULTS}/claims/K4.json"] = sha256(verdict)
    write_json(verdict.with_suffix(".record.json"), record, sort_keys=False)
    shown = chain_of(project / "figures/tiny/distances.pdf", capsys)
    now = sha256(verdict)[:8]
    assert (
        f"BROKEN: the job figure distances read another {RESULTS}/claims/K4.json ({was}) than claim K4 has written ({now})"
        in shown
    )
    (project / RESULTS / "data/digits.record.json").unlink()
    assert f"{RESULTS}/data/digits.safetensors, which the job train plain 0 read, has no record" in chain_of(verdict, capsys)


def chain_of(path, capsys):
    assert cli.main(["why", str(path)]) == 1
    return capsys.readouterr().out


def test_a_copy_elsewhere(built, tmp_path):
    shutil.copytree(built / RESULTS, tmp_path / "copied")
    text, whole = why(tmp_path / "copied/claims/K4.json")
    assert whole and DIGITS in text


def test_files_without_a_record(built, tmp_path):
    with pytest.raises(GeedError, match=r"K9.json: no such file"):
        why(built / RESULTS / "claims/K9.json")
    with pytest.raises(GeedError, match=r"claims this file"):
        why(built / RESULTS / "claims/K4.record.json")
    with pytest.raises(GeedError, match=r"a blessed copy, which has no records of jobs; ask for results/demo/claims/K1.json"):
        why(ROOT / "docs/reference/demo/claims/K1.json")
    (tmp_path / "mine.csv").write_text("")
    with pytest.raises(GeedError, match=r"expected a file of a study's results or figures"):
        why(tmp_path / "mine.csv")
