"""What changed between two results: nothing between equal ones, and each change in its own words."""

import math
import shutil

import pytest
from tiny import ROOT, git

from geed import cli
from geed.errors import GeedError
from geed.files import read_json, write_json
from geed.provenance.diff import diff

REFERENCE = ROOT / "docs/reference/demo"


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(REFERENCE, tmp_path / "reference")


def change(folder, claim, **values):
    content = read_json(folder / f"claims/{claim}.json")
    write_json(folder / f"claims/{claim}.json", content | values)
    return content


def changes(folder):
    text, changed = diff(str(REFERENCE), str(folder))
    return text, changed


def test_equal_results_are_the_same(copy, capsys):
    assert cli.main(["diff", str(REFERENCE), str(copy)]) == 0
    shown = capsys.readouterr().out
    known = [path.stem for path in sorted((REFERENCE / "claims").glob("*.json"))]
    assert shown.endswith(f"the same: {', '.join(known)}\n") and "K1" in known


def test_a_verdict_and_an_estimate_in_standard_errors(copy, capsys):
    before = change(copy, "K1", verdict="partly")
    error = (before["ci_high"] - before["ci_low"]) / (2 * 1.959964)
    moved = {key: before[key] + 3 * math.sqrt(2) * error for key in ("estimate", "ci_low", "ci_high")}
    change(copy, "K1", **moved)
    assert cli.main(["diff", str(REFERENCE), str(copy)]) == 1
    shown = capsys.readouterr().out
    assert "K1\n  verdict   reproduced → partly\n  estimate  0.1988 [0.1694, 0.2158] → " in shown
    assert ", +3 standard errors" in shown
    assert "the same: K2, K3" in shown


def test_an_estimate_without_an_interval(copy):
    change(copy, "P31", estimate=1e-3)
    text, changed = changes(copy)
    assert changed and "P31\n  estimate  3.512e-16 → 0.001\n" in text


def test_thresholds_and_the_rest(copy):
    thresholds = read_json(copy / "claims/K1.json")["thresholds"]
    change(copy, "K1", thresholds=thresholds | {"max_layer_share": 0.7}, n_seeds=5, statement="Another.")
    text, changed = changes(copy)
    assert changed and "  thresholds  max_layer_share 0.5 → 0.7\n" in text
    assert "n_seeds 3 → 5" in text and "statement Training with" in text


def test_rows_of_the_parts(copy):
    path = copy / "claims/K1.csv"
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    low, high = (float(value) for value in cells[11:13])
    error = (high - low) / (2 * 1.959964)
    cells[10:13] = [str(float(value) - 2 * math.sqrt(2) * error) for value in cells[10:13]]
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[3:]]) + "\n")
    text, changed = changes(copy)
    assert changed
    assert f"K1\n  parts  1 rows only in {REFERENCE}\n  parts  1 of {len(lines) - 2} rows changed\n" in text
    assert "most by -2 standard errors, layer_share, rotation, rotations:4, augmented_rotation, blocks.0, channel_eed" in text


def test_rows_without_an_interval(copy):
    path = copy / "claims/P31.csv"
    path.write_text(path.read_text().replace("1.360374533534759", "1.5"))
    text, changed = changes(copy)
    assert changed and "the first: features, rotations:4, cancelling, 0: 1.36 → 1.5" in text


def test_claims_and_figures_that_come_and_go(copy):
    for path in ("claims/K3.json", "claims/K3.csv", "figures/shift.png"):
        (copy / path).unlink()
    (copy / "figures/layers.png").write_bytes(b"other")
    (copy / "figures/new.png").write_bytes(b"new")
    text, changed = changes(copy)
    assert changed and f"K3\n  only in  {REFERENCE}\n" in text
    assert "  other bytes  layers.png\n" in text
    assert f"  only in      {REFERENCE}: shift.png\n" in text and f"  only in      {copy}: new.png" in text


def test_what_made_them_is_told_and_no_change(copy):
    record = read_json(copy / "record.json")
    record["packages"]["numpy"], record["commit"] = "9.9", "f" * 40
    write_json(copy / "record.json", record)
    text, changed = changes(copy)
    assert not changed
    assert f"made by\n  commit  {read_json(REFERENCE / 'record.json')['commit'][:7]} → fffffff\n" in text
    assert f"  numpy   {read_json(REFERENCE / 'record.json')['packages']['numpy']} → 9.9" in text


def test_results_and_commits(project, monkeypatch, capsys):
    """The tiny study against its own blessed copies, as two commits have them."""
    monkeypatch.chdir(project)
    target = project / "docs/reference/tiny"
    shutil.copytree(project / "results/tiny/claims", target / "claims", ignore=shutil.ignore_patterns("*.record.json"))
    shutil.copytree(project / "figures/tiny", target / "figures", ignore=shutil.ignore_patterns("*.record.json", "*.pdf"))
    write_json(target / "record.json", {"commit": "a" * 40, "files": {}})
    git(project, "add", "--force", "docs")
    git(project, "commit", "--quiet", "-m", "reference")
    assert cli.main(["diff", "results/tiny", "docs/reference/tiny"]) == 0
    assert cli.main(["diff", "HEAD:docs/reference/tiny", "results/tiny/"]) == 0
    change(target, "K4", verdict="changed")
    git(project, "commit", "--quiet", "--all", "-m", "later")
    capsys.readouterr()
    assert cli.main(["diff", "HEAD~1:docs/reference/tiny", "HEAD:docs/reference/tiny"]) == 1
    shown = capsys.readouterr().out
    assert "K4\n  verdict  " in shown and "→ changed\n\nthe same: P31" in shown


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "nowhere: expected a results folder, a reference, or COMMIT:FOLDER, found no such folder"),
        ("HEAD:nowhere", "HEAD:nowhere: git has no such folder"),
        ("nothing:docs", "nothing:docs: git has no such folder"),
        ("--output=x:docs", "expected a commit before the colon"),
        ("docs", "docs: expected verdicts in claims/, found none"),
    ],
)
def test_bad_names_are_one_sentence(name, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(GeedError, match=words) as refused:
        diff(name, "docs/reference/demo")
    assert "\n" not in str(refused.value)


def test_damaged_files_are_one_sentence(copy):
    (copy / "claims/K2.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GeedError, match=r"K2.csv: expected a csv table"):
        changes(copy)
    (copy / "claims/K2.json").write_text("[]")
    with pytest.raises(GeedError, match=r"K2.json: expected a verdict"):
        changes(copy)
