"""Orbits that are laid out once give the very pixels that acting on each batch would give."""

import pytest
import torch

from geed import groups
from geed.training import views as module
from geed.training.augmentation import Pipeline
from geed.training.views import Views

CASES = {
    "nothing": ([], 1, None),
    "augmented": (["rotations:4"], 1, None),
    "two views": (["dihedral:4"], 2, None),
    "partner": ([], 1, "translations:x=3"),
    "augmented partner": (["rotations:4"], 1, "rotations:4"),
    "other group": (["reflections"], 1, "rotations:4"),
    "no permutation": (["noise"], 1, "rotations:4"),
}


@pytest.mark.parametrize("name", CASES)
def test_laid_out_or_not_the_same_pixels(name, monkeypatch):
    augmentation, count, partner = CASES[name]
    images, rows = torch.rand(20, 1, 9, 9), torch.randperm(20)[:8]
    partner = partner and groups.parse(partner)
    found = []
    for limit in (1 << 29, 0):
        monkeypatch.setattr(module, "_LAID_OUT", limit)
        views = Views(images, Pipeline(augmentation), count, partner)
        streams = views.streams("test", 1)
        found.append([views(rows, streams) for _ in range(3)])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    assert found[0][0].shape == ((count + bool(partner)) * 8, 1, 9, 9)
    if partner:
        assert not torch.equal(found[0][0], found[0][1])


def test_the_partner_is_the_first_view_moved_by_every_element_in_turn():
    images, group = torch.rand(200, 1, 9, 9), groups.rotations(4)
    views = Views(images, Pipeline(["rotations:4"]), 1, group)
    first, partner = views(torch.arange(200), views.streams("test", 1)).chunk(2)
    counts = [0] * 4
    for x, y in zip(first, partner, strict=True):
        (k,) = [k for k in range(4) if torch.equal(group.act(k, x), y)]
        counts[k] += 1
    assert min(counts) > 30
    assert not torch.equal(first, images)
