import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import geed
from geed import cli, files, groups
from geed.data.loading import load

NETWORKS = """
import torch
from torch import nn

def small():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )

def poisoned():
    network = small()
    nn.init.constant_(network[2].weight, float("nan"))
    return network

def perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def dense():
    return nn.Conv2d(1, 2, 3)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module of networks, weights, and photographs in two classes."""
    (tmp_path / "my_networks.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("my_networks", None)
    import my_networks

    torch.manual_seed(0)
    torch.save(my_networks.small().state_dict(), "small.pth")
    pixels = np.random.default_rng(0)
    for index in range(6):
        path = tmp_path / "photographs" / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.integers(0, 256, (20 + index, 30), dtype=np.uint8)).save(path)
    yield tmp_path
    sys.modules.pop("my_networks", None)


def run(**options):
    """`geed measure` with a small network on digits, unless told otherwise; returns the exit status."""
    given = {"model": "my_networks:small", "images": "digits", "group": "rotations:4", "out": "table.csv", "limit": 12} | options
    arguments = ["measure"]
    for name, value in given.items():
        if value:
            arguments += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return cli.main(arguments)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_the_table_is_what_the_library_measures(here, capsys, suffix):
    import my_networks

    assert run(weights="small.pth", out=f"table.{suffix}", metrics="channel_eed, latent_eed/l2,accuracy", layers="0,4") == 0
    table = pd.read_json("table.json") if suffix == "json" else files.read_table(f"table.{suffix}")
    network, digits = my_networks.small(), load("digits", "test", limit=12)
    network.load_state_dict(torch.load("small.pth", weights_only=True))
    expected = geed.measure(
        network,
        digits.images,
        group=groups.rotations(4),
        metrics=["channel_eed", "latent_eed/l2", "accuracy"],
        layers=["0", "4"],
        labels=digits.labels,
    )
    assert list(table["layer"].astype(str)) == list(expected["layer"])
    np.testing.assert_allclose(pd.to_numeric(table["value"]).to_numpy(), expected["value"].to_numpy(), rtol=1e-12)
    shown = capsys.readouterr().out
    assert "channel_eed/cosine of 1 layers" in shown and "accuracy" in shown and f"{expected['value'][0]:.4g}" in shown


def test_the_record_says_what_was_measured_with_what(here):
    assert run(weights="small.pth", figure="profile.png") == 0
    record = files.read_json("table.csv.record.json")
    assert record["table"] == {"path": "table.csv", "sha256": files.sha256("table.csv")}
    assert record["weights"] == {"source": "small.pth", "sha256": files.sha256("small.pth")}
    assert record["images"]["count"] == 12 and record["images"]["data_set"] == "digits"
    assert record["group"] == "rotations:4" and record["packages"]["torch"] == torch.__version__
    assert record["wall_seconds"] > 0 and record["images_per_second"] > 0
    with Image.open("profile.png") as figure:
        assert min(figure.size) > 500


def test_two_runs_write_the_same_table(here):
    assert run(out="a.csv") == run(out="b.csv", batch_size=8) == 0
    a, b = (files.read_table(name) for name in ("a.csv", "b.csv"))
    np.testing.assert_allclose(pd.to_numeric(a["value"]), pd.to_numeric(b["value"]), rtol=1e-6)
    assert files.read_json("a.csv.record.json")["images"] == files.read_json("b.csv.record.json")["images"]


def test_a_folder_with_classes(here):
    assert run(images="photographs", size=12, limit=None, metrics="channel_eed,accuracy") == 0
    table, record = files.read_table("table.csv"), files.read_json("table.csv.record.json")
    assert set(table["n_images"].astype(int)) == {6, 0}  # 0: layers that hold no map
    assert record["images"]["classes"] == 2 and len(record["images"]["sha256"]) == 64
    assert record["preprocessing"]["size"] == [12, 12]


def test_untrained_weights_beside_the_given_ones(here, capsys):
    assert run(weights="small.pth", untrained=True, layers="conv", figure="profile.pdf") == 0
    table = files.read_table("table.csv")
    values = table[table["metric"] == "channel_eed"].pivot(index="layer", columns="weights", values="value").astype(float)
    assert list(values.index.astype(str)) == ["0", "2"] and (values["given"] != values["untrained"]).all()
    assert "untrained" in capsys.readouterr().out


def test_many_layers_are_summarised_by_their_extremes(here, capsys):
    (here / "deep.py").write_text(
        "from torch import nn\n"
        "def net():\n"
        "    convolutions = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(20)]\n"
        "    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(64, 10))\n"
    )
    assert run(model="deep:net", layers="conv", metrics="channel_eed") == 0
    shown = capsys.readouterr().out.split(
        "channel_eed/cosine of 20 layers: the 6 that deviate most, then the 6 that deviate least"
    )[1]
    values = [float(line.split()[1]) for line in shown.splitlines() if line.strip()[:1].isdigit() and "images" not in line]
    table = sorted(files.read_table("table.csv")["value"].astype(float), reverse=True)
    assert values == pytest.approx(table[:6] + table[-6:], rel=1e-3)


def test_lie_derivatives_instead_of_a_group(here, capsys):
    import my_networks

    assert run(group=None, lie="translation_x, rotation", weights="small.pth", untrained=True) == 0
    table, record = files.read_table("table.csv"), files.read_json("table.csv.record.json")
    network, digits = my_networks.small(), load("digits", "test", limit=12)
    network.load_state_dict(torch.load("small.pth", weights_only=True))
    expected = geed.lie_derivative(network, digits.images, ["translation_x", "rotation"])
    given = table[table["weights"] == "given"]
    assert list(given["transform"].astype(str)) == ["translation_x", "rotation"] and len(table) == 4
    np.testing.assert_allclose(given["value"].astype(float), expected["value"], rtol=1e-9)
    assert record["lie_derivative"]["transforms"] == ["translation_x", "rotation"] and "group" not in record
    shown = capsys.readouterr().out
    assert "mean |dp/dt|" in shown and "untrained" in shown and f"{expected['value'][1]:.4g}" in shown


def test_lie_derivatives_by_layer(here, capsys):
    import my_networks

    assert run(group=None, lie="rotation", layerwise=True, weights="small.pth", out="exact.csv") == 0
    assert "rotation: squared norm that a layer adds" in capsys.readouterr().out
    assert run(group=None, lie="rotation", layerwise=True, weights="small.pth", probes=3, out="probed.csv") == 0
    exact, probed = files.read_table("exact.csv"), files.read_table("probed.csv")
    network = my_networks.small()
    network.load_state_dict(torch.load("small.pth", weights_only=True))
    expected = geed.layerwise_lie_derivative(network, load("digits", "test", limit=12).images, "rotation")
    np.testing.assert_allclose(exact["value"].astype(float), expected["value"], rtol=1e-9)
    assert list(exact["layer"].astype(str)) == list(probed["layer"].astype(str)) == list(expected["layer"])
    assert (exact["value"].astype(float) != probed["value"].astype(float)).any()
    assert files.read_json("probed.csv.record.json")["layerwise_lie_derivative"]["probes"] == 3


WRONG = [
    ({"lie": "rotaton", "group": None}, "unknown transformation 'rotaton'; did you mean 'rotation'?"),
    ({"lie": ",", "group": None}, "no transformations given"),
    ({"lie": "saturation", "group": None}, "saturation: expected colour images (N, 3, H, W); found 1 channel(s)"),
    ({"lie": "saturation", "layerwise": True, "group": None}, "saturation: acts on colours, which layers do not have"),
    ({"lie": "rotation", "figure": "profile.png", "group": None}, "--figure, --layers and --metrics go with --group"),
    ({"lie": "rotation", "probes": "4", "group": None}, "--probes goes with --layerwise"),
    ({"lie": "rotation", "layerwise": True, "probes": "-4", "group": None}, "probes: expected None or a positive integer"),
    ({"layerwise": True}, "--layerwise and --probes go with --lie"),
    ({"model": "timm:resnet19"}, "unknown timm model 'resnet19'; did you mean 'resnet18'?"),
    ({"model": "my_networks:smal"}, "no function 'smal'; did you mean 'small'?"),
    ({"group": "rotation:4"}, "did you mean 'rotations'?"),
    ({"group": "rotations:3.5"}, "n must be a positive integer"),
    ({"metrics": "chanel_eed"}, "did you mean 'channel_eed/cosine'?"),
    ({"metrics": ","}, "no metrics given"),
    ({"layers": "0,relu"}, "the model has no module 'relu'"),
    ({"model": "my_networks:perceptron", "layers": "conv"}, "the network has no convolutions"),
    ({"images": "fotographs"}, "--images fotographs: no such folder, and no data set of that name"),
    ({"images": "digit"}, "did you mean 'digits'?"),
    ({"split": "valid"}, "digits: unknown split 'valid'"),
    ({"limit": "-1"}, "limit must be at least 1, found -1"),
    ({"weights": "none.pth"}, "none.pth: no such file"),
    ({"weights": "my_networks.py"}, "expected weights in a file that ends in"),
    ({"images": "photographs"}, "give an input size"),
    ({"model": "my_networks:poisoned"}, "layer '2' holds NaN"),
    ({"model": "my_networks:dense"}, "expected logits (N, K)"),
    ({"images": "photo_patches"}, "expected input[48, 3, 32, 32] to have 1 channels"),
    ({"out": "table.txt"}, "--out table.txt: expected a table that ends in .parquet, .csv, .json"),
    ({"figure": "profile.gif"}, "profile.gif: expected a figure that ends in .png or .pdf"),
    ({"figure": "profile.png", "metrics": "consistency"}, "draws metrics of layers, and none is among consistency"),
    ({"untrained": True}, "it needs --weights or --pretrained"),
    ({"device": "gpu"}, "device 'gpu' cannot be used"),
    ({"batch_size": "-4"}, "batch_size: expected a positive integer; found -4"),
]


@pytest.mark.parametrize(("options", "words"), WRONG, ids=[" ".join(map(str, next(iter(o.items())))) for o, _ in WRONG])
def test_bad_input_is_one_sentence_and_leaves_no_table(here, capsys, options, words):
    assert run(**options) == 2
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.startswith("geed: ") and words in sentence
    assert not list(here.glob("table.*"))


def test_an_image_that_cannot_be_read_is_named(here, capsys):
    (here / "photographs/b/5.png").write_bytes(b"not a picture")
    assert run(images="photographs", size=12, limit=None) == 2
    assert "photographs/b/5.png: cannot be read as an image" in capsys.readouterr().err


def test_json_holds_no_nan(here):
    assert run(out="table.json") == 0
    rows = json.loads((here / "table.json").read_text())
    assert any(row["value"] is None and row["note"] for row in rows)


@pytest.mark.slow
def test_a_timm_network_from_the_shell(here, capsys):
    assert run(model="timm:vit_tiny_patch16_224", size=48, images="photo_patches", limit=4, figure="profile.png") == 0
    shown = capsys.readouterr().out
    assert "mean 0.5 0.5 0.5" in shown and "36 layers could not be measured" in shown
