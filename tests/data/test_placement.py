"""Padding keeps pixels and their middle; random rotations are seeded by image; drawn splits are disjoint and have their sizes."""

import math

import pytest
import torch

from geed.data import loading, store
from geed.data.placement import pad, rotate_at_random
from geed.errors import GeedError
from geed.study.prepare import prepare

pytestmark = pytest.mark.usefixtures("offline")
SIZES = {"train": 500, "validation": 100, "test": 900}


def test_padding_puts_the_image_in_the_middle():
    images = torch.rand(2, 1, 28, 28)
    padded = pad(images, 36)
    assert padded.shape == (2, 1, 36, 36)
    assert torch.equal(padded[..., 4:32, 4:32], images)
    assert padded.sum() == pytest.approx(images.sum())
    assert torch.equal(pad(images.rot90(1, (2, 3)), 36), padded.rot90(1, (2, 3)))
    with pytest.raises(GeedError, match="expected at least 28 pixels, the side of the images, found 20"):
        pad(images, 20)


def test_rotations_are_seeded_by_name_and_image():
    images, ids = torch.rand(6, 1, 17, 17), torch.tensor([5, 1, 9, 3, 0, 7])
    turned = rotate_at_random(images, ids, "a")
    chosen = torch.tensor([4, 1])
    torch.testing.assert_close(rotate_at_random(images[chosen], ids[chosen], "a"), turned[chosen], rtol=0, atol=1e-6)
    assert not torch.equal(rotate_at_random(images, ids, "b"), turned)
    assert torch.equal((turned * 255).round() / 255, turned)


def test_angles_cover_the_circle():
    # a dot to the right of the middle goes to the angle
    images = torch.zeros(400, 1, 31, 31)
    images[:, 0, 14:17, 24:27] = 1
    turned = rotate_at_random(images, torch.arange(400), "dots")[:, 0]
    rows, columns = torch.meshgrid(torch.arange(31) - 15.0, torch.arange(31) - 15.0, indexing="ij")
    y, x = ((turned * axis).sum((1, 2)) / turned.sum((1, 2)) for axis in (rows, columns))
    torch.testing.assert_close(torch.hypot(x, y), torch.full((400,), 10.0), rtol=0, atol=0.3)
    quadrants = torch.histc(torch.atan2(y, x), 4, -math.pi, math.pi)
    assert (quadrants > 70).all()


def test_drawn_splits_are_disjoint_stratified_and_always_the_same(tmp_path):
    settings = {"source": "digits", "split": SIZES, "pad": 12}
    for name in ("a", "b"):
        prepare("digits", settings, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    splits = {split: store.read(tmp_path / "a", split) for split in SIZES}
    assert {split: len(images) for split, images in splits.items()} == SIZES
    ids = torch.cat([images.ids for images in splits.values()])
    assert len(ids.unique()) == sum(SIZES.values())
    for images in splits.values():
        share = torch.bincount(images.labels) / len(images)
        assert (share - 0.1).abs().max() < 0.015
    # ids are positions in the source: the images there are the same
    everything = loading.load("digits", "train", sizes={"train": 1797})
    assert torch.equal(pad(everything.images, 12)[splits["test"].ids], splits["test"].images)
    assert torch.equal(everything.labels[splits["test"].ids], splits["test"].labels)


def test_the_first_split_does_not_depend_on_the_others():
    first = loading.load("digits", "train", sizes={"train": 300, "test": 200}, classes=[1, 2, 3])
    again = loading.load("digits", "train", sizes={"train": 300, "test": 1}, classes=[1, 2, 3])
    assert torch.equal(first.ids, again.ids)


def test_more_images_than_there_are():
    with pytest.raises(GeedError, match=r"digits: expected splits of at most 1797 images in all, found 1000 \(train\) \+ 900"):
        loading.load("digits", "train", sizes={"train": 1000, "test": 900})


def test_parts_are_pooled_with_ids_that_count_on():
    import numpy as np

    from geed.data import readers

    images = np.arange(7, dtype=np.uint8)[:, None, None, None]
    parts = [readers._in_memory(images[:4], np.arange(4), ("a",)), readers._in_memory(images[4:], np.arange(3), ("a",))]
    raw = readers.pooled(parts)
    assert raw.ids.tolist() == list(range(7)) and raw.labels.tolist() == [0, 1, 2, 3, 0, 1, 2]
    assert raw.pixels(np.array([6, 0, 4, 3])).ravel().tolist() == [6, 0, 4, 3]
