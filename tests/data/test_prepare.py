import numpy as np
import pytest
import torch

from geed import files
from geed.data import loading, registry, store
from geed.errors import GeedError
from geed.study.corrupt import corrupt
from geed.study.prepare import prepare

pytestmark = pytest.mark.usefixtures("offline")
DIGITS = {"source": "digits", "classes": [0, 1, 2, 3, 4, 5, 6, 7, 8], "size": 15, "limit": 40, "channels": None}


@pytest.fixture
def prepared(tmp_path):
    prepare("mine", DIGITS, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_prepare_writes_every_split_and_says_what_from(tmp_path):
    record = prepare("mine", DIGITS, tmp_path / "mine.safetensors")
    assert record["shape"] == [1, 15, 15] and {split: entry["images"] for split, entry in record["splits"].items()} == {
        "train": 40,
        "validation": 40,
        "test": 40,
    }
    assert sum(record["splits"]["test"]["classes"].values()) == 40 and set(record["splits"]["test"]["classes"]) == set(
        "012345678"
    )
    assert record["sha256"] == registry.DATASETS["digits"].sha256
    found, expected = (
        store.read(tmp_path / "mine.safetensors", "test"),
        loading.load("digits", "test", **without(DIGITS, "source")),
    )
    assert torch.equal(found.images, expected.images) and found.name == "mine"


def without(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


def test_prepare_and_corrupt_give_the_same_bytes_twice(tmp_path):
    for run in ("a", "b"):
        prepare("mine", DIGITS, tmp_path / run)
        corrupt("mine", tmp_path / run, ["snow", "fog"], [1, 5], tmp_path / f"{run}.corrupted")
    assert files.sha256(tmp_path / "a") == files.sha256(tmp_path / "b")
    assert files.sha256(tmp_path / "a.corrupted") == files.sha256(tmp_path / "b.corrupted")


def test_corrupt_keeps_labels_and_ids_and_reports_distances(prepared, tmp_path):
    record = corrupt("mine", prepared, ["contrast", "shot_noise"], [2, 4], tmp_path / "c")
    clean, found = store.read(prepared, "test"), store.read_corrupted(tmp_path / "c", "contrast", 4)
    assert torch.equal(found.labels, clean.labels) and torch.equal(found.ids, clean.ids)
    distance = float((found.images - clean.images).square().mean().sqrt())
    assert record["images"] == 40 and record["rms_distance"]["contrast"]["4"] == pytest.approx(distance, abs=1e-5)


def test_the_name_of_the_set_and_the_seed_key_the_noise(prepared, tmp_path):
    for name, seed in (("mine", "a"), ("other", "a"), ("mine", "b")):
        corrupt(name, prepared, ["gaussian_noise"], [3], tmp_path / f"{name}-{seed}", seed=seed)
    noise = [store.read_corrupted(tmp_path / key, "gaussian_noise", 3).images for key in ("mine-a", "other-a", "mine-b")]
    assert not torch.equal(noise[0], noise[1]) and not torch.equal(noise[0], noise[2])


@pytest.fixture
def cifar(tmp_path):
    """A prepared set that is part of CIFAR-10's test images, and official arrays for them."""
    place = tmp_path / "CIFAR-10-C"
    place.mkdir()
    arrays = np.zeros((50_000, 32, 32, 3), np.uint8)
    arrays[:, 0, 0, 0] = np.arange(50_000) // 10_000 + 1
    arrays[:, 0, 0, 1] = np.arange(50_000) % 10_000 % 256
    np.save(place / "frost.npy", arrays)
    np.save(place / "labels.npy", np.tile(np.arange(10_000) % 10, 5).astype(np.uint8))
    ids = torch.tensor([3, 14, 159, 2653])
    classes = registry.DATASETS["cifar10"].classes
    images = store.ImageSet(torch.zeros(4, 3, 32, 32), ids % 10, ids, classes, "mine", "test")
    store.write(tmp_path / "mine", {"test": images})
    return tmp_path / "mine", place


def test_official_arrays_are_taken_by_id(cifar, tmp_path):
    prepared, place = cifar
    record = corrupt("mine", prepared, ["frost"], [2], tmp_path / "c", official=f"cifar10_c:{place}")
    found = (store.read_corrupted(tmp_path / "c", "frost", 2).images * 255).round()
    assert found[:, 0, 0, 0].tolist() == [2] * 4
    assert found[:, 1, 0, 0].tolist() == [3, 14, 159, 2653 % 256]
    assert list(record["sha256"]) == ["names and sizes"]


def test_official_arrays_of_other_images_are_refused(cifar, tmp_path, prepared):
    path, place = cifar
    with pytest.raises(GeedError, match=r"of shape \(3, 32, 32\)"):
        corrupt("mine", prepared, ["frost"], [1], tmp_path / "c", official=f"cifar10_c:{place}")
    wrong = store.read(path, "test")
    store.write(path, {"test": store.ImageSet(wrong.images, wrong.labels.flip(0), wrong.ids, wrong.classes, "mine", "test")})
    with pytest.raises(GeedError, match="other labels at the ids"):
        corrupt("mine", path, ["frost"], [1], tmp_path / "c", official=f"cifar10_c:{place}")
    assert not (tmp_path / "c").exists()


def test_bad_settings(tmp_path, prepared):
    with pytest.raises(GeedError, match="data set 'mine': unknown setting 'sise'; did you mean 'size'"):
        prepare("mine", {"source": "digits", "sise": 3}, tmp_path / "x")
    with pytest.raises(GeedError, match="unknown corruption 'fogg'; did you mean 'fog'"):
        corrupt("mine", prepared, ["fogg"], [1], tmp_path / "x")
    assert not (tmp_path / "x").exists()
