"""Pages made from the code are in step with it."""

import runpy
from pathlib import Path

from geed.files import read_json, sha256

ROOT = Path(__file__).parents[1]


def test_the_config_page_is_in_step_with_the_schema():
    page = runpy.run_path(str(ROOT / "docs/make.py"))["config_page"]()
    assert (ROOT / "docs/config.md").read_text() == page, "run `make docs`"


def test_the_readme_quotes_the_reference():
    page = runpy.run_path(str(ROOT / "docs/make.py"))["with_tables"]
    readme = (ROOT / "README.md").read_text()
    assert "<!-- claims of demo" in readme
    assert page(readme) == readme, "run `make docs`"


def test_the_reference_is_whole():
    for record in (ROOT / "docs/reference").glob("*/record.json"):
        for name, expected in read_json(record)["files"].items():
            assert sha256(record.parent / name) == expected, f"{name} of {record.parent.name}"


def test_the_lock_holds_exact_versions_from_any_index():
    lines = [line for line in (ROOT / "envs/requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert not any("://" in line or "@" in line or "+" in line or line.startswith("nvidia") for line in lines)
