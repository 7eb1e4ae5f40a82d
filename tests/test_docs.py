"""Pages made from the code are in step with it."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_config_page_is_in_step_with_the_schema():
    page = runpy.run_path(str(ROOT / "docs/make.py"))["config_page"]()
    assert (ROOT / "docs/config.md").read_text() == page, "run `make docs`"


def test_the_lock_holds_exact_versions_from_any_index():
    lines = [line for line in (ROOT / "envs/requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert not any("://" in line or "@" in line or "+" in line or line.startswith("nvidia") for line in lines)
