import numpy as np
import pytest
from PIL import Image

from geed import files
from geed.data import store
from geed.data.corruptions import NAMES
from geed.errors import GeedError
from geed.figures import contact_sheet
from geed.study.corrupt import corrupt
from geed.study.prepare import prepare


@pytest.fixture
def sets(tmp_path):
    prepare("photos", {"source": "photo_patches", "limit": 5}, tmp_path / "clean")
    corrupt("photos", tmp_path / "clean", ["contrast", "fog"], [1, 5], tmp_path / "corrupted")
    return tmp_path / "clean", tmp_path / "corrupted"


def test_it_shows_the_pixels(sets, tmp_path):
    contact_sheet.draw(*sets, None, tmp_path / "a.png", image=3)
    sheet = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3)
    colours = {tuple(colour) for colour in np.unique(sheet, axis=0)}
    for images in (
        store.read(sets[0], "test"),
        store.read_corrupted(sets[1], "contrast", 5),
        store.read_corrupted(sets[1], "fog", 1),
    ):
        pixels = (images.images[3] * 255).round().byte().permute(1, 2, 0).reshape(-1, 3).tolist()
        share = np.mean([tuple(pixel) in colours for pixel in pixels])
        assert share > 0.95, "every pixel of the image is somewhere on the sheet in its own colour"


def test_equal_inputs_give_equal_bytes(sets, tmp_path):
    for name in ("a", "b"):
        contact_sheet.draw(*sets, tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    for suffix in (".pdf", ".png"):
        assert files.sha256(tmp_path / f"a{suffix}") == files.sha256(tmp_path / f"b{suffix}")


def test_all_nineteen_make_two_blocks_of_families():
    blocks = contact_sheet._blocks(list(NAMES))
    assert [[family for family, _ in block] for block in blocks] == [["noise", "blur"], ["weather", "digital"]]
    assert sum(len(names) for block in blocks for _, names in block) == 19
    assert contact_sheet._blocks(["frost", "fog"]) == [[("weather", ["fog"]), ("others", ["frost"])]]


def test_bad_input(sets, tmp_path):
    with pytest.raises(GeedError, match="images 0 to 4"):
        contact_sheet.draw(*sets, None, tmp_path / "a.png", image=5)
    with pytest.raises(GeedError, match="expected corrupted images"):
        contact_sheet.draw(sets[0], sets[0], None, tmp_path / "a.png")
