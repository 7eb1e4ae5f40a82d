"""The step that fetches source files: which files a set needs, and how one comes into the study's folder."""

import pytest

from geed.data.mirror import SourceFile
from geed.errors import GeedError
from geed.files import sha256
from geed.study.fetch import FILES, fetch, wanted

SUBSET, FULL = "cifar10/cifar10_lossless_subset.npz", "cifar10/cifar-10-python.tar.gz"


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No mirror and an empty cache."""
    monkeypatch.delenv("GEED_DATA_MIRROR", raising=False)
    monkeypatch.setenv("GEED_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def published(alone, monkeypatch):
    """A mirror with one registered file."""
    place = alone / "mirror/some/file.gz"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"content")
    monkeypatch.setitem(FILES, "some/file.gz", SourceFile("some/file.gz", sha256(place)))
    monkeypatch.setenv("GEED_DATA_MIRROR", str(alone / "mirror"))
    return place


def lay(folder, path):
    (folder / path).parent.mkdir(parents=True)
    (folder / path).write_bytes(b"")


def test_a_set_needs_its_files(alone):
    assert len(wanted("mnist", alone)) == 4 and all(path.startswith("mnist/") for path in wanted("mnist", alone))


@pytest.mark.parametrize("source", ["digits", "photo_patches", "folder:here", "imagenet", "imagenet:here", "imagenet_samples"])
def test_sets_in_packages_and_folders_need_none(alone, source):
    assert wanted(source, alone) == []


def test_where_nothing_lies_here_the_form_with_an_address_is_wanted(alone):
    assert wanted("cifar10_subset", alone) == [FULL]


@pytest.mark.parametrize("place", ["sources", "mirror", "cache"])
def test_the_form_that_lies_here_is_wanted(alone, monkeypatch, place):
    (alone / "mirror").mkdir()
    monkeypatch.setenv("GEED_DATA_MIRROR", str(alone / "mirror"))
    lay(alone / place, SUBSET)
    assert wanted("cifar10_subset", alone / "sources") == [SUBSET]


def test_what_was_fetched_before_stays_wanted(alone):
    lay(alone / "sources", FULL)
    lay(alone / "cache", SUBSET)
    assert wanted("cifar10_subset", alone / "sources") == [FULL]


def test_the_official_folder_of_cifar10_c_is_read_where_it_lies(alone, monkeypatch):
    assert wanted("cifar10_c", alone) == ["cifar10-c/CIFAR-10-C.tar"]
    (alone / "mirror/CIFAR-10-C").mkdir(parents=True)
    monkeypatch.setenv("GEED_DATA_MIRROR", str(alone / "mirror"))
    assert wanted("cifar10_c", alone) == []


def test_an_unknown_set_is_refused(alone):
    with pytest.raises(GeedError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        wanted("mnits", alone)


def test_a_file_is_copied_from_the_mirror(published, alone):
    output = alone / "sources/some/file.gz"
    assert fetch("some/file.gz", output) == {"found": str(published)}
    assert output.read_bytes() == b"content"
    assert not output.samefile(published)  # Snakemake dates it, which must not date the mirror's file


def test_a_wrong_file_is_neither_used_nor_touched(published, alone):
    published.write_bytes(b"damaged")
    with pytest.raises(GeedError, match=r"some/file\.gz .*cannot be had: the mirror .* has a wrong one"):
        fetch("some/file.gz", alone / "sources/some/file.gz")
    assert published.read_bytes() == b"damaged" and not (alone / "sources").exists()
