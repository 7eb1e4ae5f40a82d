"""The recorded orbit is what the networks compute, and the overview is drawn from it."""

import re

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from safetensors.numpy import load_file

from geed import groups
from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.figures import overview, style
from geed.figures.draw import draw
from geed.metrics.engine import measure
from geed.models import weights
from geed.models.build import build
from geed.study.orbit import record_orbit

RUNS = {
    "plain": {"kind": "plain_cnn", "widths": [4, 6, 6]},
    "steerable": {"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [2, 2]},
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orbit")
    pixels = torch.rand(6, 1, 9, 9, generator=torch.Generator().manual_seed(1))
    images = ImageSet(pixels, torch.arange(6), torch.arange(6), tuple("abcdef"), "noise", "test")
    store.write(folder / "data.safetensors", {"test": images})
    paths = []
    for name, architecture in RUNS.items():
        spec = {"architecture": architecture, "channels": 1, "size": 9, "classes": 6, "mean": [0.5], "std": [0.25]}
        paths.append(folder / f"{name}.safetensors")
        weights.save(build(spec, "orbit", name), paths[-1])
    settings = {"runs": list(RUNS), "group": "rotations:4", "image": 2}
    arguments = {"weights": paths, "data": folder / "data.safetensors", "device": "cpu"}
    record = record_orbit(settings, output=folder / "overview.safetensors", **arguments)
    return {"folder": folder, "settings": settings, "arguments": arguments, "images": images.images, "record": record}


def test_fields_bring_every_map_of_a_steerable_network_back_and_pixels_alone_do_not(recorded):
    about, arrays = overview.read(recorded["folder"] / "overview.safetensors")
    assert recorded["record"] == {"images": 6, "elements": 4}
    assert [layer["versions"] for layer in about["runs"][0]["layers"]] == [["raw"], ["raw"]]
    assert [layer["depth"] for layer in about["runs"][0]["layers"]] == pytest.approx([1 / 3, 2 / 3])
    (layer,) = about["runs"][1]["layers"]  # of two layers, the middle one is the first
    field, raw = arrays[f"1.{layer['name']}.field"], arrays[f"1.{layer['name']}.raw"]
    assert np.ptp(field, axis=0).max() < 1e-5 * np.abs(field).max()
    assert np.ptp(raw, axis=0).max() > 0.1 * np.abs(raw).max()
    assert arrays[f"1.{layer['name']}.field.deviation"] == pytest.approx(-1, abs=1e-6)
    assert arrays[f"1.{layer['name']}.raw.deviation"][1:].max() > -0.99


def test_maps_are_the_networks_own_and_their_deviations_average_to_the_metric(recorded):
    about, arrays = overview.read(recorded["folder"] / "overview.safetensors")
    group, image = groups.parse("rotations:4"), recorded["images"][2:3]
    for index, (path, metrics) in enumerate(zip(recorded["arguments"]["weights"], ("raw", "field"), strict=True)):
        model = weights.load(path)
        layer = about["runs"][index]["layers"][0]
        metric = {"raw": "channel_eed", "field": "field_eed"}[metrics]
        table = measure(model, image, group=group, metrics=[metric], layers=list(model.conv_layers), device="cpu")
        expected = table.set_index("layer")["value"][layer["name"]]
        assert arrays[f"{index}.{layer['name']}.{metrics}.deviation"].mean() == pytest.approx(expected, abs=1e-5)
        found = {}
        handle = model.get_submodule(layer["name"]).register_forward_hook(lambda _m, _i, output, f=found: f.update(maps=output))
        with torch.no_grad():
            model(group.act(1, image))
        handle.remove()
        maps = found["maps"] if isinstance(found["maps"], torch.Tensor) else found["maps"].tensor
        here = group.act(group.inverse(1), maps)[0, layer["channel"]]
        np.testing.assert_allclose(arrays[f"{index}.{layer['name']}.raw"][1], here, rtol=1e-4, atol=1e-5)


def test_depth_profile_is_the_librarys(recorded):
    _, arrays = overview.read(recorded["folder"] / "overview.safetensors")
    model = weights.load(recorded["arguments"]["weights"][0])
    group = groups.parse("rotations:4")
    table = measure(model, recorded["images"], group=group, metrics=["channel_eed"], layers=list(model.conv_layers))
    np.testing.assert_allclose(arrays["0.profile.raw"], table[["value", "se"]], rtol=1e-6)


def test_same_bytes_recorded_and_drawn_twice(recorded, tmp_path):
    again = tmp_path / "again.safetensors"
    record_orbit(recorded["settings"], output=again, **recorded["arguments"])
    assert again.read_bytes() == (recorded["folder"] / "overview.safetensors").read_bytes()
    for name in "ab":
        draw("overview", {"activations": again}, tmp_path / f"{name}.pdf", tmp_path / f"{name}.png")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_overview_shows_the_recorded_pictures_and_numbers(recorded):
    about, arrays = overview.read(recorded["folder"] / "overview.safetensors")
    with style.context():
        figure = overview.figure(about, arrays)
    pictures = [image.get_array() for axes in figure.findobj(match=lambda a: hasattr(a, "images")) for image in axes.images]
    shown = {picture.data.tobytes() for picture in pictures}
    for name, array in arrays.items():
        if name.endswith((".raw", ".field")) and "profile" not in name:
            assert {np.ascontiguousarray(picture).tobytes() for picture in array} <= shown
    said = [text.get_text() for text in figure.findobj(match=Text)]
    assert said.count("−1.00") >= 4 + 3 and "90°" in said and "steerable,\nby its fields" in said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [({"image": 6}, "an index below 6"), ({"group": "rotation:4"}, "did you mean 'rotations'")],
)
def test_bad_settings_are_refused(recorded, change, sentence, tmp_path):
    with pytest.raises(GeedError, match=sentence):
        record_orbit(recorded["settings"] | change, output=tmp_path / "o.safetensors", **recorded["arguments"])
    assert not list(tmp_path.iterdir())


def test_a_network_without_maps_is_refused(recorded, tmp_path):
    spec = {"architecture": {"kind": "perceptron", "hidden": 4, "layers": 1}, "channels": 1, "size": 9, "classes": 6}
    weights.save(build(spec | {"mean": [0.5], "std": [0.25]}, "orbit"), tmp_path / "w.safetensors")
    arguments = recorded["arguments"] | {"weights": [tmp_path / "w.safetensors"]}
    with pytest.raises(GeedError, match="found mlp without any"):
        record_orbit(recorded["settings"] | {"runs": ["mlp"]}, output=tmp_path / "o.safetensors", **arguments)


def test_other_files_are_not_taken_for_an_orbit(recorded, tmp_path):
    (tmp_path / "text.safetensors").write_text("not one")
    for path in (tmp_path / "text.safetensors", recorded["arguments"]["data"]):
        with pytest.raises(GeedError, match=re.escape("expected a recorded orbit")):
            overview.read(path)
    with pytest.raises(GeedError, match="no such file"):
        overview.read(tmp_path / "none.safetensors")
    assert load_file(recorded["folder"] / "overview.safetensors")  # and this one is whole
