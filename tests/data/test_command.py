import argparse
import dataclasses
import hashlib

import pytest

from geed.commands import data
from geed.data.mirror import SourceFile
from geed.data.registry import DATASETS, Origin
from geed.errors import GeedError
from geed.models.pretrained import PRETRAINED


@pytest.fixture
def geed(offline, capsys):
    """geed(*words) -> (exit status, what it printed)."""

    def call(*words):
        parser = argparse.ArgumentParser()
        data.register(parser.add_subparsers())
        status = data.run(parser.parse_args(["data", *map(str, words)]))
        return status, capsys.readouterr().out

    return call


@pytest.fixture
def place(monkeypatch, tmp_path):
    """A mirror with one file of mnist, which is all of mnist here."""
    (tmp_path / "mirror").mkdir()
    file = tmp_path / "mirror" / "a.gz"
    file.write_bytes(b"content")
    source = SourceFile("a.gz", hashlib.sha256(b"content").hexdigest())
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(DATASETS["mnist"], origins=(Origin("mnist", (source,)),)))
    return file


def test_list_names_everything(geed):
    status, text = geed("list")
    assert status == 0 and all(name in text for name in [*DATASETS, *PRETRAINED]) and "CC BY 4.0" in text
    _, more = geed("list", "--sources")
    assert DATASETS["cifar10"].files[0].sha256 in more and DATASETS["cifar10"].files[0].urls[0] in more


def test_fetch_prints_where_the_files_lie(geed, place):
    assert geed("fetch", "mnist", "digits", "--mirror", place.parent)[1].splitlines()[0] == str(place)
    with pytest.raises(GeedError, match="unknown data set or weights 'mnits'; did you mean 'mnist'"):
        geed("fetch", "mnits")


def test_fetch_says_what_it_cannot_have(geed, place):
    with pytest.raises(GeedError, match=r"weights/mobilenetv1_025.* cannot be had"):
        geed("fetch", "mobilenet_v1_025", "--mirror", place.parent)
    with pytest.raises(GeedError, match=r"cifar10_jpeg75_all60000.* cannot be had"):
        geed("fetch", "cifar10_jpeg75", "--mirror", place.parent)


def test_verify(geed, place):
    status, text = geed("verify", "mnist", "digits", "imagenet", "--mirror", place.parent)
    assert status == 0 and f"mnist: a.gz: ok ({place})" in text and "imagenet: a folder of yours" in text
    assert geed("verify", "mnist")[1] == "mnist: a.gz: absent\n"
    place.write_bytes(b"other")
    status, text = geed("verify", "mnist", "--mirror", place.parent)
    assert status == 1 and "WRONG" in text and hashlib.sha256(b"other").hexdigest() in text
    assert geed("verify", "--mirror", place.parent)[0] == 1, "all names"


def test_the_real_mirror_is_whole(mirror, geed):
    status, text = geed("verify", "--mirror", mirror)
    assert status == 0 and "imagenet_samples: imagenet-sample-images: ok" in text
    assert all(f"{name}: " in text for name in PRETRAINED)
