import re
from pathlib import Path

import pytest

from geed.lie import transforms
from geed.metrics import registry

DOCS = Path(__file__).parents[2] / "docs"


def test_every_metric_has_its_section_and_its_distances_are_named():
    text = (DOCS / "metrics.md").read_text()
    sections = {heading.split()[0]: body for heading, body in re.findall(r"^### (.+)\n((?:(?!^#).*\n)*)", text, re.MULTILINE)}
    for name in registry.NAMES:
        metric, _, distance = name.partition("/")
        assert metric in sections, f"{metric} has no section"
        assert f"`{metric}" in text.split("## Three things")[0], f"{metric} is not in the table"
        assert distance in text, f"{name}: its distance is not named"


def test_every_transformation_and_option_is_explained():
    text = (DOCS / "lie.md").read_text()
    for name in (*transforms.NAMES, *transforms.RESAMPLES, *transforms.OUTPUTS, *transforms.REDUCTIONS):
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("page", ["metrics.md", "measure.md", "lie.md"])
def test_pictures_and_links_are_there(page):
    text = (DOCS / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (DOCS / target).is_file(), target
    anchors = {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


@pytest.mark.slow
def test_the_python_example_runs_and_prints_what_the_page_shows(capsys):
    text = (DOCS / "measure.md").read_text()
    exec(compile(text.split("```python\n")[1].split("```")[0], "measure.md", "exec"), {})
    shown = capsys.readouterr().out.splitlines()
    page = [line[4:] for line in text.split("```\n")[1].splitlines() if line.startswith("    ")][: len(shown)]
    for line, expected in zip(shown, page, strict=True):
        words, expected_words = line.split(), expected.split()
        assert len(words) == len(expected_words) and words[:2] == expected_words[:2]
        for a, b in zip(words, expected_words, strict=True):
            if re.fullmatch(r"-?\d+\.\d+", a):
                assert float(a) == pytest.approx(float(b), abs=2e-3)  # another machine rounds differently
