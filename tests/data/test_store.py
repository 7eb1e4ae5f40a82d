import json

import pytest
import torch

from geed import files
from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError


def images(n=6, exact=True, name="set", split="test"):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, 9, 9), generator=generator).float() / 255
    if not exact:
        pixels = pixels * 0.999
    return ImageSet(pixels, torch.arange(n) % 2, torch.arange(n) * 10, ("a", "b"), name, split)


def same(a, b):
    return all(torch.equal(getattr(a, key), getattr(b, key)) for key in ("images", "labels", "ids")) and (
        (a.classes, a.name, a.split) == (b.classes, b.name, b.split)
    )


@pytest.mark.parametrize("exact", [True, False])
def test_round_trip(tmp_path, exact):
    path, train, test = tmp_path / "set.safetensors", images(5000, exact, split="train"), images(7, exact)
    store.write(path, {"train": train, "test": test})
    assert same(store.read(path, "train"), train) and same(store.read(path, "test"), test)
    per_pixel = path.stat().st_size / (5007 * 243)
    assert per_pixel == pytest.approx(1 if exact else 4, rel=0.1), "bytes where nothing is lost, else float32"


def test_equal_data_have_equal_bytes_that_the_package_reads(tmp_path):
    from safetensors.torch import load_file

    for name in ("a", "b"):
        store.write(tmp_path / name, {"test": images()})
    assert files.sha256(tmp_path / "a") == files.sha256(tmp_path / "b")
    tensors = load_file(tmp_path / "a")
    assert set(tensors) == {"test.images", "test.labels", "test.ids"} and tensors["test.images"].dtype == torch.uint8


def test_float_images_are_memory_mapped(tmp_path):
    store.write(tmp_path / "a", {"test": images(exact=False)})
    with open("/proc/self/maps") as maps:
        before = maps.read().count(str(tmp_path / "a"))
    kept = store.read(tmp_path / "a", "test")
    with open("/proc/self/maps") as maps:
        assert maps.read().count(str(tmp_path / "a")) > before
    assert len(kept)


def test_corrupted_round_trip_and_one_at_a_time(tmp_path):
    clean, calls = images(), []

    def corrupted(name, severity):
        calls.append((name, severity))
        return clean.images * (1 - severity / 10)

    path = tmp_path / "set.corrupted.safetensors"
    store.write_corrupted(path, clean, corrupted, ["dark", "darker"], [1, 3])
    assert calls == [("dark", 1), ("dark", 3), ("darker", 1), ("darker", 3)]
    found = store.read_corrupted(path, "darker", 3)
    assert torch.equal(found.images, (clean.images * 0.7 * 255).round() / 255)
    assert torch.equal(found.labels, clean.labels) and torch.equal(found.ids, clean.ids) and found.split == "test"
    for arguments, words in [(("drak", 1), "did you mean 'dark'"), (("dark", 2), "no severity 2; known: 1, 3")]:
        with pytest.raises(GeedError, match=words):
            store.read_corrupted(path, *arguments)


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def stop(name, severity):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_corrupted(tmp_path / "a", images(), stop, ["dark"], [1])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "foreign", "header"])
def test_damaged_files_are_refused_in_one_sentence(tmp_path, damage):
    path = tmp_path / "set.safetensors"
    store.write(path, {"test": images()})
    content = path.read_bytes()
    if damage == "foreign":
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path)
    else:
        path.write_bytes(
            {"truncated": content[:-10], "empty": b"", "text": b"hello", "header": b"\xff" * 8 + content[8:]}[damage]
        )
    with pytest.raises(GeedError, match="expected a prepared data set"):
        store.read(path, "test")


def test_other_bad_input(tmp_path):
    store.write(tmp_path / "a", {"test": images()})
    with pytest.raises(GeedError, match="no split 'tset'; did you mean 'test'"):
        store.read(tmp_path / "a", "tset")
    with pytest.raises(GeedError, match="no such file"):
        store.read(tmp_path / "b", "test")
    bad = images()
    bad.images[0, 0, 0, 0] = torch.nan
    with pytest.raises(GeedError, match=r"expected pixel values in \[0, 1\]"):
        store.write(tmp_path / "c", {"test": bad})
    with pytest.raises(GeedError, match="cannot be written"):
        store.write("/proc/nowhere/a", {"test": images()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": torch.zeros(0, 1, 8, 8)}, "N >= 1"),
        ({"images": torch.zeros(2, 8, 8)}, r"\(N, C, H, W\)"),
        ({"labels": torch.zeros(3, dtype=torch.int64)}, "expected 2 labels"),
        ({"ids": torch.zeros(3, dtype=torch.int64)}, "expected 2 ids"),
        ({"labels": torch.tensor([0, 2])}, "labels 0 to 1, found 0 to 2"),
    ],
)
def test_an_image_set_checks_its_parts(change, words):
    parts = {"images": torch.zeros(2, 1, 8, 8), "labels": torch.tensor([0, 1]), "ids": torch.tensor([0, 1])} | change
    with pytest.raises(GeedError, match=words):
        ImageSet(**parts, classes=("a", "b"), name="set", split="test")


def test_the_header_is_aligned_and_canonical(tmp_path):
    store.write(tmp_path / "a", {"test": images(5)})
    content = (tmp_path / "a").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0
    assert list(header) == ["__metadata__", "test.labels", "test.ids", "test.images"]
    assert list(header["__metadata__"]) == ["geed"]
