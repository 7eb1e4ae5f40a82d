import re
from pathlib import Path

from geed.data.corruptions import FAMILIES
from geed.data.registry import DATASETS
from geed.models.pretrained import PRETRAINED

DOCS = Path(__file__).parents[2] / "docs"


def test_every_name_is_documented_and_every_documented_one_exists():
    text = (DOCS / "data.md").read_text()
    data, rest = text.split("## Corruptions")
    corruptions, weights = rest.split("## Pretrained weights")
    assert re.findall(r"^\| `(\w+)` \|", data, re.MULTILINE) == list(DATASETS)
    for family, names in FAMILIES.items():
        row = re.search(rf"^\| {family} \| (.+) \|$", corruptions, re.MULTILINE).group(1)
        assert tuple(re.findall(r"`(\w+)`", row)) == names
    assert {name for row in re.findall(r"^\| (`.+?) \|", weights, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)} == set(
        PRETRAINED
    )
    accuracies = "91.8, 92.8, 93.1, 93.6"
    assert accuracies in weights
    assert [info.accuracy for info in PRETRAINED.values() if info.accuracy] == [float(value) for value in accuracies.split(", ")]


def test_the_documented_sizes_are_the_registrys():
    for name, channels, height in re.findall(r"^\| `(\w+)` .*\| (\d)×(\d+)×\d+ \|", (DOCS / "data.md").read_text(), re.MULTILINE):
        assert DATASETS[name].shape == (int(channels), int(height), int(height))


def test_pictures_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", (DOCS / "data.md").read_text()):
        assert (DOCS / target).is_file(), target
