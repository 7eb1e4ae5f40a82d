import subprocess
import sys

import numpy as np
import pytest
import torch

from geed.data import loading
from geed.data.loading import load
from geed.data.registry import DATASETS
from geed.errors import GeedError


@pytest.fixture(autouse=True)
def alone(offline):
    """The embedded sets need neither mirror nor cache."""


def test_the_registry_is_light():
    code = "import sys, geed.data.registry as r; assert r.DATASETS and not {'torch', 'numpy', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("entry", DATASETS.values(), ids=DATASETS)
def test_entries_are_complete(entry):
    assert entry.title and entry.source and entry.licence and entry.splits
    channels = entry.shape[0] if entry.shape else 3
    assert len(entry.mean) == len(entry.std) == channels
    assert all(len(digest) == 64 and int(digest, 16) for digest in entry.sha256.values())
    assert entry.origins or entry.folder_reader
    from geed.data import readers

    assert all(callable(getattr(readers, origin.reader)) for origin in entry.origins)
    assert not entry.folder_reader or callable(getattr(readers, entry.folder_reader))
    shares = {}
    for part, start, stop in entry.splits.values():
        shares[part] = shares.get(part, 0) + stop - start
    assert all(share == pytest.approx(1) for share in shares.values()), "every published image lies in one split"


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    original = load_digits()
    splits = [load("digits", split) for split in ("train", "validation", "test")]
    assert [len(images) for images in splits] == [1078, 180, 539]
    ids = torch.cat([images.ids for images in splits])
    assert sorted(ids.tolist()) == list(range(1797))
    for images in splits:
        assert (
            images.images.shape[1:] == (1, 8, 8) and images.images.dtype == torch.float32 and images.labels.dtype == torch.int64
        )
        assert np.array_equal(images.images.numpy()[:, 0], original.images[images.ids] / 16)
        assert np.array_equal(images.labels, original.target[images.ids])
        share = images.labels.bincount() / len(images) - torch.from_numpy(original.target).bincount() / 1797
        assert share.abs().max() < 0.01, "stratified"
    pixels = original.images / 16
    assert DATASETS["digits"].mean[0] == pytest.approx(pixels.mean(), abs=1e-4)
    assert DATASETS["digits"].std[0] == pytest.approx(pixels.std(), abs=1e-4)


def test_photo_patches_are_patches_of_the_photographs():
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    images = load("photo_patches", "test")
    assert images.images.shape == (520, 3, 32, 32) and images.classes == ("china", "flower")
    found = (images.images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(found[21], china[32:64, 32:64])
    assert np.array_equal(found[260 + 259], flower[384:416, 608:640])


def test_classes_are_relabelled_within_the_same_split():
    everything, some = load("digits", "test"), load("digits", "test", classes=[7, 3])
    kept = (everything.labels == 7) | (everything.labels == 3)
    assert torch.equal(some.ids, everything.ids[kept]) and some.classes == ("7", "3")
    assert torch.equal(some.labels, (everything.labels[kept] == 3).long())


def test_size_15_is_bilinear_and_commutes_with_turns():
    small, large = load("digits", "test", limit=5).images, load("digits", "test", limit=5, size=15).images
    assert torch.equal(large[..., ::2, ::2], small)
    assert torch.equal(large[..., 1::2, ::2], (small[..., :-1, :] + small[..., 1:, :]) / 2)
    turned = torch.nn.functional.interpolate(small.rot90(1, (2, 3)), size=(15, 15), mode="bilinear", align_corners=True)
    assert torch.equal(turned, large.rot90(1, (2, 3)))


def test_reducing_keeps_the_mean_and_the_range():
    full, reduced = load("photo_patches", "test"), load("photo_patches", "test", size=15)
    assert reduced.images.shape == (520, 3, 15, 15) and reduced.images.min() >= 0 and reduced.images.max() <= 1
    assert torch.allclose(full.images.mean((2, 3)), reduced.images.mean((2, 3)), atol=0.03)


def test_enlarging_keeps_the_range():
    enlarged = load("digits", "test", limit=50, channels=3, size=64).images
    assert enlarged.min() >= 0 and enlarged.max() == 1  # bilinear weights, rounded, sum to more than 1 here


def test_channels():
    colour, grey = load("photo_patches", "test", limit=3), load("photo_patches", "test", limit=3, channels=1)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    assert torch.allclose(grey.images, (colour.images * weights).sum(1, keepdim=True))
    digit = load("digits", "test", limit=3, channels=3).images
    assert torch.equal(digit[:, 0], digit[:, 2]) and digit.shape == (3, 3, 8, 8)


def test_limits_are_stratified_and_nested():
    small, large = load("digits", "train", limit=50), load("digits", "train", limit=200)
    assert len(small) == 50 and small.labels.bincount().tolist() == [5] * 10
    assert set(small.ids.tolist()) < set(large.ids.tolist())
    assert len(load("digits", "validation", limit=10_000)) == 180


def test_splits_do_not_depend_on_the_process():
    code = "from geed.data.loading import load; print(load('digits', 'test', limit=20).ids.tolist())"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == str(load("digits", "test", limit=20).ids.tolist())
    assert load("digits", "test", limit=4).ids.tolist() == [231, 407, 670, 808]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": "mnits"}, "unknown data set 'mnits'; did you mean 'mnist'?"),
        ({"source": "digits:/tmp"}, "expected digits without a place"),
        ({"source": "folder"}, "expected folder:PLACE"),
        ({"source": "folder:/nowhere/at/all"}, "folder:/nowhere/at/all': expected a folder"),
        ({"source": "imagenet"}, "imagenet/ in the data mirror, or imagenet:PLACE"),
        ({"split": "tets"}, "unknown split 'tets'; did you mean 'test'?"),
        ({"classes": [3, 10]}, "classes must be distinct labels from 0 to 9, found [3, 10]"),
        ({"classes": [3, 3]}, "distinct labels"),
        ({"size": 4}, "size must lie between 8 and 1024 pixels, found 4"),
        ({"channels": 2}, "channels must be 1 or 3, found 2"),
        ({"limit": 0}, "limit must be at least 1"),
    ],
)
def test_bad_input(arguments, words):
    arguments = {"source": "digits", "split": "test"} | arguments
    with pytest.raises(GeedError) as error:
        load(arguments.pop("source"), arguments.pop("split"), **arguments)
    assert words in str(error.value)


def test_stratified_order_is_a_permutation_with_even_prefixes():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    order = loading.stratified_order(labels, "a")
    assert sorted(order) == list(range(160))
    for stop in (16, 32, 80):
        assert np.abs(np.bincount(labels[order[:stop]], minlength=3) - stop * np.array([100, 50, 10]) / 160).max() <= 1
    assert not np.array_equal(order, loading.stratified_order(labels, "b"))
