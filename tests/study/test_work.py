"""The work that is counted from settings is that of the networks that are built, and requests follow it."""

import csv
import runpy
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from geed.models.build import build
from geed.models.network import parameter_count
from geed.study import plan as study_plan
from geed.study import resources, work

ROOT = Path(__file__).parents[2]
ARCHITECTURES = {
    "cnn": {"kind": "plain_cnn", "widths": [12, 24, 24, 24]},
    "cyclic": {"kind": "plain_cnn", "widths": [12, 24], "padding": "circular", "stride": 1},
    "pooled": {"kind": "plain_cnn", "widths": [8, 16, 32], "stride": [1, 2, 2], "downsampling": "max_pool"},
    "steerable": {"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [7, 15]},
    "mlp": {"kind": "perceptron", "hidden": 64, "layers": 5},
    "tied": {"kind": "tied_perceptron", "hidden": 64, "layers": 5, "symmetry": "rotations:4", "pooling": "max"},
    "vit": {"kind": "vit", "patch": 4, "width": 32, "depth": 2, "heads": 2},
    "mixer": {"kind": "mixer", "patch": 4, "width": 32, "depth": 2},
    "augerino": {"kind": "augerino", "network": {"kind": "perceptron", "hidden": 64, "layers": 5}},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_counts_are_those_of_the_network(name):
    side = 16 if name in ("vit", "mixer") else 15
    data = work.Images(channels=3, side=side, classes=9, splits={})
    counted = work.network(ARCHITECTURES[name], data)
    spec = {"architecture": ARCHITECTURES[name], "channels": 3, "size": side, "classes": 9, "mean": [0.5] * 3, "std": [0.5] * 3}
    model = build(spec).eval()
    outputs = []
    for layer in model.profile:
        model.get_submodule(layer).register_forward_hook(
            lambda module, inputs, result: outputs.append(getattr(result, "tensor", result).numel())
        )
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.rand(1, 3, side, side))
    assert counted.gmac * 1e9 == pytest.approx(counter.get_total_flops() / 2, rel=0.15)
    assert counted.layers == len(model.profile)
    if name != "augerino":  # its copies are measured as one
        assert counted.numbers == pytest.approx(sum(outputs), rel=0.2)
    if name != "steerable":  # its kernels have fewer free numbers than pixels
        assert counted.parameters == pytest.approx(parameter_count(model), rel=0.15)


@pytest.fixture(scope="module")
def demo():
    return study_plan.load([ROOT / "config.yaml"], ROOT / "workflow/schemas")


def test_images_are_those_of_the_prepared_sets(demo):
    images = work.images(demo.sets["digits"])
    assert (images.channels, images.side, images.classes) == (1, 15, 9)
    assert sum(images.splits.values()) == pytest.approx(1797 * 0.9, rel=0.02)
    assert work.images(demo.sets["photographs"]).splits == {"test": 520}


def test_a_folder_s_images_are_guessed():
    settings = {"source": "imagenet", "classes": None, "size": None, "channels": None, "limit": 2000, "split": None, "pad": None}
    images = work.images(settings)
    assert (images.side, images.classes, images.splits["test"]) == (224, 1000, 2000)


def test_a_published_network_costs_what_was_counted_at_any_size():
    known, other = work.Images(3, 224, 1000, {}), work.Images(3, 448, 1000, {})
    small, large = ({"kind": "pretrained", "name": f"timm:{name}"} for name in ("resnet18.gluon_in1k", "resnet152.gluon_in1k"))
    assert work.network(small, known).gmac == pytest.approx(1.814, abs=0.001)  # as its papers have it
    assert work.network(small, other).gmac == pytest.approx(4 * 1.814, abs=0.005)
    assert work.network(large, known).gmac > 6 * work.network(small, known).gmac
    assert work.network({"kind": "pretrained", "name": "timm:never_counted"}, known).gmac == 4.1


def test_the_table_of_costs_is_what_its_maker_counts():
    cost = runpy.run_path(str(ROOT / "benchmarks/costs.py"))["cost"]
    with work.COSTS.open(newline="") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    for name, size, classes in (("cifar10_resnet20", 32, 10), ("timm:tresnet_m.miil_in21k_ft_in1k", 224, 1000)):
        assert {key: str(value) for key, value in cost(name, size, classes).items()} == rows[name]


def test_work_grows_with_images_elements_and_layers(demo):
    sets = {name: work.images(settings) for name, settings in demo.sets.items()}
    run, evaluations = demo.runs["plain"], demo.evaluations_of("plain")

    def amounts(**changes):
        clean = evaluations["clean"] | {"snapshots": False} | changes
        return work.measuring(run, {"clean": clean}, demo.corruptions, sets).amounts

    one, none = amounts(groups=["rotations:4"]), amounts(groups=["trivial"])
    assert amounts(groups=["rotations:4"], limit=100)["images"] == 500  # |G| = 4 elements, and the images themselves
    assert one["images"] / none["images"] == pytest.approx(5 / 2) and one["numbers"] / none["numbers"] == 4
    corrupted = len(demo.corruptions["names"]) * len(demo.corruptions["severities"])
    assert amounts(groups=["rotations:4"], corrupted=True)["images"] == corrupted * one["images"]
    assert amounts(groups=["rotations:4"], snapshots=True)["images"] == 4 * one["images"]
    assert work.training(demo.runs["untrained"], sets["digits"]).amounts["steps"] == 0


def test_a_published_network_needs_no_training_images(demo):
    sets = {name: work.images(settings) for name, settings in demo.sets.items()}
    run = demo.runs["untrained"] | {"architecture": {"kind": "pretrained", "name": "timm:resnet18"}}
    images = work.Images(3, 224, 1000, {"train": 10_000, "validation": 1_000, "test": 1_000})
    published = work.training(run | {"initialisation": {"from": None, "scale": 1, "pretrained": True}}, images)
    random = work.training(run | {"initialisation": {"from": None, "scale": 1, "pretrained": False}}, images)
    assert published.megabytes < 1000 < images.megabytes("train") < random.megabytes
    assert published.written > 50  # its weights
    lie = demo.evaluations["clean"] | {"data": "samples", "snapshots": False, "groups": ["trivial"], "metrics": ["accuracy"]}
    measured = work.measuring(run, {"lie": lie}, demo.corruptions, sets | {"samples": images})
    assert images.megabytes("test") < measured.megabytes < 10_000


def test_requests_follow_the_work_the_device_and_the_attempt(demo, monkeypatch):
    small = resources.of_training(demo, "plain")
    assert small["gpu"] == 0
    large = dict(demo.runs["plain"], training=demo.runs["plain"]["training"] | {"epochs": 3000})
    monkeypatch.setitem(demo.runs, "plain", large)
    assert resources.of_training(demo, "plain")["runtime"] > 3 * small["runtime"]
    assert resources.of_search(demo, "plain")["runtime"] > resources.of_training(demo, "plain")["runtime"]
    first, second = (resources.grown(small, attempt) for attempt in (1, 2))
    assert second["mem_mb"] == 2 * first["mem_mb"] and second["runtime"] == 2 * first["runtime"]
    monkeypatch.setitem(demo.__dict__, "device", "cuda")
    assert resources.of_training(demo, "plain")["gpu"] == resources.of_measuring(demo, "plain")["gpu"] == 1
    assert resources.of_reading(demo, list(demo.runs)[:3])["gpu"] == 0
