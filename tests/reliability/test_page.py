"""docs/reproducibility.md points to what there is."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/reproducibility.md"


def test_every_link_and_every_named_test_is_there():
    text = PAGE.read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert len(links) > 20
    assert [link for link in links if not (PAGE.parent / link).exists()] == []
    named = set(re.findall(r"`(?:tests/)?((?:\w+/)?test_\w+\.py)`", text))
    assert len(named) >= 6
    folders = (Path(__file__).parent, Path(__file__).parents[1])
    assert [name for name in named if not any((folder / name).exists() for folder in folders)] == []
