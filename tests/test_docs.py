"""Pages made from the code are in step with it."""

import re
import runpy
import shutil
from pathlib import Path

from geed.claims.names import FIGURES
from geed.files import read_json, read_table, sha256, write_json, write_table

ROOT = Path(__file__).parents[1]


def test_the_config_page_is_in_step_with_the_schema():
    page = runpy.run_path(str(ROOT / "docs/make.py"))["config_page"]()
    assert (ROOT / "docs/config.md").read_text() == page, "run `make docs`"


def test_the_readme_quotes_the_reference():
    page = runpy.run_path(str(ROOT / "docs/make.py"))["with_verdicts"]
    readme = (ROOT / "README.md").read_text()
    assert all(f"| {claim}: " in readme for claim in FIGURES)
    assert page(readme) == readme, "run `make docs`"


def test_the_pages_of_results_are_in_step_with_the_reference():
    pages = runpy.run_path(str(ROOT / "docs/make.py"))["results"]()
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs/results").glob("*.md")} | {"results.md"}
    assert there == set(pages)
    for name, page in pages.items():
        assert (ROOT / "docs" / name).read_text() == page, f"{name}: run `make docs`"
        for target in re.findall(r"\]\(([^)#]+)\)", page):
            assert ((ROOT / "docs" / name).parent / target).is_file(), f"{name}: {target}"


def test_numbers_of_a_page_are_those_of_the_reference(tmp_path):
    from geed.claims.decision import CLAIMS
    from geed.report.results import Reference, page
    from geed.study import config, plan

    shutil.copytree(ROOT / "docs/reference/demo", tmp_path / "demo")
    reference = Reference(tmp_path / "demo", plan.load([ROOT / "config.yaml"], ROOT / "workflow/schemas"))
    words = config.read_yaml(ROOT / "docs/results.yaml")
    assert set(words) == set(CLAIMS)
    results = read_json(tmp_path / "demo/claims.json")
    result = next(entry for entry in results if entry["id"] == "K1")
    result |= {"estimate": 0.123456, "verdict": "inconclusive"}
    write_json(tmp_path / "demo/claims.json", results)
    accuracies = read_table(tmp_path / "demo/accuracies.csv")
    accuracies.loc[accuracies["run"] == "plain", "mean"] = 0.4321
    write_table(tmp_path / "demo/accuracies.csv", accuracies)
    parts = tmp_path / "demo/claims/K1.csv"
    rows = read_table(parts)
    rows.loc[rows["part"] == "output_share", "estimate"] = 0.7654321
    write_table(parts, rows)
    text = page("K1", [reference], words["K1"])
    for shown in ("## Study demo: inconclusive", "**0.123 [", "| 0.432 on ", "| 0.765 ["):
        assert shown in text


def test_the_reference_is_whole():
    for record in (ROOT / "docs/reference").glob("*/record.json"):
        for name, expected in read_json(record)["files"].items():
            assert sha256(record.parent / name) == expected, f"{name} of {record.parent.name}"


def test_the_lock_holds_exact_versions_from_any_index():
    lines = [line for line in (ROOT / "envs/requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert not any("://" in line or "@" in line or "+" in line or line.startswith("nvidia") for line in lines)
