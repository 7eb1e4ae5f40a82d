"""The compiled loop: the same numbers whatever the number of threads, and every image once."""

import threading

import pytest
import torch

from geed import groups
from geed.metrics import permuted


@pytest.mark.parametrize(("images", "threads"), [(1, 1), (1, 4), (3, 2), (17, 2), (64, 3)])
def test_every_image_is_taken_once(images, threads):
    taken, lock = [], threading.Lock()

    def part(first, last):
        with lock:
            taken.extend(range(first, last))

    permuted._share(part, images, threads)
    assert sorted(taken) == list(range(images))


def test_what_goes_wrong_in_any_thread_is_raised():
    def part(first, last):
        if last == 8:
            raise ValueError("image 7")

    with pytest.raises(ValueError, match="image 7"):
        permuted._share(part, 8, 2)


@pytest.mark.parametrize("spec", ["rotations:4", "translations:x=3"])
def test_results_do_not_depend_on_threads(monkeypatch, spec):
    monkeypatch.setattr(permuted, "_WORTH_A_THREAD", 0)
    group, channels = groups.parse(spec), 5
    maps = torch.rand(group.order, 11, channels, 6, 6, generator=torch.Generator().manual_seed(0))
    exchanged = torch.stack([torch.arange(channels).roll(k) for k in range(group.order)])
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(torch.stack(permuted.measure(maps, group, True, exchanged)))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
