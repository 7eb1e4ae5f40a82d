"""What is recorded of orbits is what the networks compute, and two figures are drawn from it."""

import re

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from geed import groups
from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.figures import explained, style
from geed.figures.draw import draw
from geed.metrics.saliency import saliency_similarity
from geed.models import weights
from geed.models.build import build
from geed.study.explain import record

PLAIN = {"kind": "perceptron", "hidden": 12, "layers": 2}
TIED = {"kind": "tied_perceptron", "hidden": 12, "layers": 2, "symmetry": "rotations:4", "pooling": "mean"}
RUNS = {"da": PLAIN, "wt": TIED, "ir": PLAIN}
SETTINGS = {
    "comparisons": {
        "rotation": {"group": "rotations:4", "augmented": "da", "tied": "wt", "regularised": "ir"},
        "translation": {"group": "translations:x=3", "augmented": "da", "tied": "wt", "regularised": "ir"},
    },
    "images": [2, 5],
    "embedded": 60,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    pixels = torch.rand(70, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    images = ImageSet(pixels, torch.arange(70) % 3, torch.arange(70), tuple("abc"), "noise", "test")
    store.write(folder / "data.safetensors", {"test": images})
    paths = {}
    for name, architecture in RUNS.items():
        spec = {"architecture": architecture, "channels": 1, "size": 9, "classes": 3, "mean": [0.5], "std": [0.25]}
        paths[name] = folder / f"{name}.safetensors"
        weights.save(build(spec, "explained", name), paths[name])
    found = record(SETTINGS, paths, folder / "data.safetensors", folder / "explained.safetensors")
    return {"folder": folder, "paths": paths, "images": images, "record": found}


def test_the_maps_of_a_tied_network_move_with_the_image_and_their_cosines_average_to_the_metric(written):
    about, arrays = explained.read(written["folder"] / "explained.safetensors")
    assert written["record"] == {"images": 2, "embedded": 60, "networks": 3}
    assert about["classes"] == ["c", "c"] and about["comparisons"]["rotation"]["elements"][0] == "identity"
    assert arrays["rotation.tied.similarity"] == pytest.approx(1, abs=1e-5)
    tied = arrays["rotation.tied.maps"]
    assert np.abs(tied - tied[:, :1]).max() < 1e-4 * tied.max()
    model = weights.load(written["paths"]["da"]).eval()
    shown, labels = written["images"].images[[2, 5]], written["images"].labels[[2, 5]]
    expected = saliency_similarity(model, shown, groups.parse("rotations:4"), targets=labels)
    assert arrays["rotation.augmented.similarity"][:, 1:].mean(axis=1) == pytest.approx(expected.numpy())
    assert arrays["rotation.augmented.similarity"][:, 0] == pytest.approx(1)


def test_the_orbit_of_a_tied_network_is_one_point_of_its_embedding(written):
    _, arrays = explained.read(written["folder"] / "explained.safetensors")
    assert arrays["classes"].shape == (60,)
    spreads = {}
    for role in ("augmented", "tied"):
        points = arrays[f"rotation.{role}.embedding"]
        assert points.shape == (64, 2)
        spreads[role] = np.ptp(points[:4], axis=0).max() / np.ptp(points, axis=0).max()
    assert spreads["tied"] < 0.15 < spreads["augmented"]


def test_twice_the_same_bytes(written, tmp_path):
    record(SETTINGS, written["paths"], written["folder"] / "data.safetensors", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (written["folder"] / "explained.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["saliency", "embedding"])
def test_figures_are_drawn_within_the_page(written, tmp_path, name):
    path = written["folder"] / "explained.safetensors"
    draw(name, {"recorded": path}, tmp_path / "a.pdf", tmp_path / "a.png")
    assert (tmp_path / "a.pdf").stat().st_size and (tmp_path / "a.png").stat().st_size
    with style.context():
        figure = getattr(explained, name)(*explained.read(path))
        figure.draw_without_rendering()
        page = figure.bbox
        for text in figure.findobj(match=Text):
            box = text.get_window_extent()
            if text.get_text().strip():
                assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, text.get_text()
                assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, text.get_text()


def test_what_is_wrong_is_said(written, tmp_path):
    data = written["folder"] / "data.safetensors"
    with pytest.raises(GeedError, match=re.escape("explained.images: expected indices below 70")):
        record(SETTINGS | {"images": [70]}, written["paths"], data, tmp_path / "x.safetensors")
    with pytest.raises(GeedError, match="recorded saliency maps and embeddings"):
        explained.read(data)
