"""Every format, on small files of the same form that the tests make; and on the real ones where the mirror is."""

import dataclasses
import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from geed.data import loading, readers
from geed.data.loading import load
from geed.data.mirror import SourceFile
from geed.data.registry import DATASETS
from geed.errors import GeedError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def small(monkeypatch, tmp_path, offline):
    """small(name, {path: bytes}) puts files into a mirror and their checksums into the registry; returns the mirror."""

    def make(name, contents):
        for path, content in contents.items():
            (tmp_path / "mirror" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mirror" / path).write_bytes(content)
        origins = tuple(
            dataclasses.replace(
                origin,
                files=tuple(
                    SourceFile(file.path, hashlib.sha256(contents[file.path]).hexdigest() if file.path in contents else "0" * 64)
                    for file in origin.files
                ),
            )
            for origin in DATASETS[name].origins
        )
        monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], origins=origins))
        return tmp_path / "mirror"

    return make


def idx(values):
    header = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}i", *values.shape)
    return gzip.compress(header + values.tobytes())


def to_bytes(images):
    return (images.images * 255).round().to(torch.uint8).numpy()


@pytest.mark.parametrize(("name", "folder"), [("mnist", "mnist"), ("fashion_mnist", "fashion-mnist")])
def test_mnist_format(name, folder, small, rng):
    train, test = (rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for n in (200, 50))
    train_labels, test_labels = (np.arange(n, dtype=np.uint8) % 10 for n in (200, 50))
    mirror = small(
        name,
        {
            f"{folder}/train-images-idx3-ubyte.gz": idx(train),
            f"{folder}/train-labels-idx1-ubyte.gz": idx(train_labels),
            f"{folder}/t10k-images-idx3-ubyte.gz": idx(test),
            f"{folder}/t10k-labels-idx1-ubyte.gz": idx(test_labels),
        },
    )
    loaded = {split: load(name, split, mirror=mirror) for split in ("train", "validation", "test")}
    assert [len(images) for images in loaded.values()] == [180, 20, 50]
    assert np.array_equal(to_bytes(loaded["test"])[:, 0], test) and np.array_equal(loaded["test"].labels, test_labels)
    both = torch.cat([loaded["train"].ids, loaded["validation"].ids])
    assert sorted(both.tolist()) == list(range(200))
    assert np.array_equal(to_bytes(loaded["validation"])[:, 0], train[loaded["validation"].ids])
    assert loaded["validation"].labels.bincount().tolist() == [2] * 10


@pytest.mark.parametrize("damage", [lambda b: b[:-20], lambda b: b"", lambda b: gzip.compress(b"hello"), lambda b: b"hello"])
def test_damaged_idx(damage, tmp_path, rng):
    (tmp_path / "a.gz").write_bytes(damage(idx(rng.integers(0, 256, (20, 28, 28), dtype=np.uint8))))
    with pytest.raises(GeedError, match=r"a\.gz: expected a gzipped IDX file"):
        readers.mnist([tmp_path / "a.gz"] * 4, "train", None)


def test_labels_must_match_images(tmp_path):
    (tmp_path / "i.gz").write_bytes(idx(np.zeros((3, 28, 28), np.uint8)))
    (tmp_path / "l.gz").write_bytes(idx(np.zeros(2, np.uint8)))
    with pytest.raises(GeedError, match="as many labels as images, found 2 and 3"):
        readers.mnist([tmp_path / "i.gz", tmp_path / "l.gz"] * 2, "test", None)


def test_emnist_letters_from_the_mirror_and_from_nists_archive(small, rng):
    stored = rng.integers(0, 256, (52, 28, 28), dtype=np.uint8)
    files = {"images-idx3": idx(stored), "labels-idx1": idx(np.repeat(np.arange(1, 27, dtype=np.uint8), 2))}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for what, content in files.items():
            zipped.writestr(f"gzip/emnist-letters-test-{what}-ubyte.gz", content)
    folder = {f"emnist-letters-test/emnist-letters-test-{what}-ubyte.gz": content for what, content in files.items()}
    one = load("emnist_letters", "test", mirror=small("emnist_letters", folder))
    for path in folder:
        os.remove(small("emnist_letters", {}) / path)
    two = load("emnist_letters", "test", mirror=small("emnist_letters", {"emnist/gzip.zip": archive.getvalue()}))
    for images in (one, two):
        assert np.array_equal(to_bytes(images)[:, 0], stored.transpose(0, 2, 1)), "upright"
        assert images.labels.tolist() == np.repeat(np.arange(26), 2).tolist() and images.classes[0] == "a"


def test_fashion_sprite(small, rng):
    tiles = rng.integers(0, 256, (900, 28, 28), dtype=np.uint8)
    sheet = np.zeros((840, 840, 4), np.uint8)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, 30)
        sheet[28 * row : 28 * row + 28, 28 * column : 28 * column + 28, :3] = tile[..., None]
    sheet[..., 3] = 255
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "PNG")
    mirror = small("fashion_mnist_sprite", {"fashion-mnist-sprite/fashion-mnist-sprite.png": stream.getvalue()})
    images = load("fashion_mnist_sprite", "test", mirror=mirror)
    assert np.array_equal(to_bytes(images)[:, 0], tiles) and images.labels.bincount().tolist() == [90] * 10


def python2_pickle(data, labels):
    """A batch of CIFAR-10 as Python 2 and its numpy pickled it, opcode by opcode: byte strings, the old name of numpy's core."""

    def text(value):
        return b"T" + struct.pack("<i", len(value)) + value

    def number(value):
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n(" + text(b"u1") + b"K\0K\1tR(K\3" + text(b"|") + b"NNN" + number(-1) + number(-1) + b"K\0tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85" + text(b"b") + b"tR"
    array += b"(K\1" + number(data.shape[0]) + number(data.shape[1]) + b"\x86" + dtype + b"\x89" + text(data.tobytes()) + b"tb"
    batch = text(b"data") + array + text(b"labels") + b"](" + b"".join(map(number, labels)) + b"e"
    return b"\x80\x02}(" + batch + b"u."


def cifar_tar(batches):
    """An archive like the published one."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@pytest.fixture
def cifar(rng):
    """A full CIFAR-10 of 60,000 images with little in them: archive, pixels (HWC) and labels of both parts."""
    pixels = {part: np.zeros((n, 32, 32, 3), np.uint8) for part, n in (("train", 50_000), ("test", 10_000))}
    labels = {part: rng.integers(0, 10, len(values)) for part, values in pixels.items()}
    for values in pixels.values():
        values[:, 0, :4] = rng.integers(0, 256, (len(values), 4, 3))
    batches = {"batches.meta": pickle.dumps({"label_names": []})}
    for part, names in (("train", [f"data_batch_{i}" for i in range(1, 6)]), ("test", ["test_batch"])):
        for i, name in enumerate(names):
            rows = slice(10_000 * i, 10_000 * (i + 1))
            batches[name] = python2_pickle(pixels[part][rows].transpose(0, 3, 1, 2).reshape(-1, 3072), labels[part][rows])
    return cifar_tar(batches), pixels, labels


def test_cifar10_and_its_subset_have_the_same_bytes_either_way(small, cifar):
    archive, pixels, labels = cifar
    full = load("cifar10", "test", mirror=small("cifar10", {"cifar10/cifar-10-python.tar.gz": archive}))
    assert np.array_equal(to_bytes(full).transpose(0, 2, 3, 1), pixels["test"]) and np.array_equal(full.labels, labels["test"])

    index = {"train": np.r_[0:4000, 10000:11017, 20000:21017, 30000:31017, 40000:41017], "test": np.arange(1017)}
    stream = io.BytesIO()
    arrays = {}
    for part, rows in index.items():
        arrays |= {f"{part}_x": pixels[part][rows], f"{part}_y": labels[part][rows].astype(np.uint8)}
        arrays |= {f"{part}_index": rows.astype(np.uint16), f"all_{part}_labels": labels[part].astype(np.uint8)}
    np.savez(stream, **arrays)
    npz, tar = "cifar10/cifar10_lossless_subset.npz", "cifar10/cifar-10-python.tar.gz"
    mirror = small("cifar10_subset", {npz: stream.getvalue()})
    from_npz = {split: load("cifar10_subset", split, mirror=mirror) for split in ("train", "validation", "test")}
    (mirror / npz).unlink()
    small("cifar10_subset", {tar: archive})
    for split, expected in from_npz.items():
        found = load("cifar10_subset", split, mirror=mirror)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.labels, expected.labels) and torch.equal(found.ids, expected.ids)
    assert sum(len(images) for images in from_npz.values()) == 8068 + 1017
    assert np.array_equal(to_bytes(from_npz["train"]).transpose(0, 2, 3, 1), pixels["train"][from_npz["train"].ids])


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_a_pickle_that_does_something_is_refused_before_it_does_it(tmp_path):
    bomb = pickle.dumps(Bomb(str(tmp_path / "boom")), protocol=2)
    (tmp_path / "bad.tar.gz").write_bytes(cifar_tar({"test_batch": bomb}))
    with pytest.raises(GeedError, match=r"refused to unpickle (posix|nt)\.mkdir"):
        readers.cifar10([tmp_path / "bad.tar.gz"], "test", None)
    assert not (tmp_path / "boom").exists()
    pickle.loads(bomb)
    assert (tmp_path / "boom").exists(), "the bomb works where it is not refused"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        cifar_tar({}),
        cifar_tar({"test_batch": pickle.dumps({"data": [1]})}),
        cifar_tar({"test_batch": b"\x80\x02"}),
        cifar_tar({"test_batch": python2_pickle(np.zeros((2, 3072), np.uint8), [0, 1])})[:-40],
    ],
)
def test_damaged_cifar10(content, tmp_path):
    (tmp_path / "bad.tar.gz").write_bytes(content)
    with pytest.raises(GeedError, match="expected CIFAR-10's pickled batches test_batch"):
        readers.cifar10([tmp_path / "bad.tar.gz"], "test", None)


def test_jpeg_copy(small, rng):
    pixels = np.repeat(np.repeat(rng.integers(0, 256, (40, 4, 4, 3), dtype=np.uint8), 8, 1), 8, 2)
    streams = []
    for image in pixels:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=75)
        streams.append(stream.getvalue())
    shared = next(i for i, bytes_ in enumerate(zip(*streams, strict=False)) if len(set(bytes_)) > 1)
    packed = {"header": np.frombuffer(streams[0][:shared], np.uint8)}
    for part, rows in (("train", range(20)), ("test", range(20, 40))):
        bodies = [streams[i][shared:] for i in rows]
        packed |= {
            f"{part}_payload": np.frombuffer(b"".join(bodies), np.uint8),
            f"{part}_offsets": np.cumsum([0, *map(len, bodies)]).astype(np.uint32),
            f"{part}_labels": np.arange(20, dtype=np.uint8) % 10,
        }
    stream = io.BytesIO()
    np.savez(stream, **packed)
    mirror = small("cifar10_jpeg75", {"cifar10/cifar10_jpeg75_all60000.npz": stream.getvalue()})
    images = load("cifar10_jpeg75", "test", mirror=mirror)
    expected = np.stack([np.asarray(Image.open(io.BytesIO(streams[i]))) for i in range(20, 40)])
    assert np.array_equal(to_bytes(images).transpose(0, 2, 3, 1), expected)
    assert "JPEG-75 copy" in DATASETS["cifar10_jpeg75"].title


def test_svhn(small, rng):
    from scipy.io import savemat

    contents = {}
    images, labels = rng.integers(0, 256, (32, 32, 3, 30), dtype=np.uint8), np.arange(1, 31) % 10 + 1
    for part in ("train", "test"):
        stream = io.BytesIO()
        savemat(stream, {"X": images, "y": labels.astype(np.uint8)[:, None]})
        contents[f"svhn/{part}_32x32.mat"] = stream.getvalue()
    found = load("svhn", "test", mirror=small("svhn", contents))
    assert np.array_equal(to_bytes(found), images.transpose(3, 2, 0, 1))
    assert found.labels.tolist() == (labels % 10).tolist() and 10 in labels
    mirror = small("svhn", contents | {"svhn/test_32x32.mat": contents["svhn/test_32x32.mat"][:500]})
    with pytest.raises(GeedError, match="expected SVHN's arrays"):
        load("svhn", "test", mirror=mirror)


@pytest.fixture
def official(tmp_path):
    """Official arrays with little in them, as an extracted folder."""
    place = tmp_path / "arrays" / "CIFAR-10-C"
    place.mkdir(parents=True)
    images = np.zeros((50_000, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = np.repeat(np.arange(1, 6), 10_000)
    images[:, 0, 1, 1] = np.tile(np.arange(10_000) % 251, 5)
    np.save(place / "fog.npy", images)
    np.save(place / "labels.npy", np.tile(np.arange(10_000) % 10, 5).astype(np.uint8))
    return place


def test_cifar10_c_from_a_folder_and_from_the_archive(official, small, tmp_path):
    one = load(f"cifar10_c:{official}", "fog.4", limit=300)
    assert one.images.shape == (300, 3, 32, 32) and (to_bytes(one)[:, 0, 0, 0] == 4).all()
    assert np.array_equal(to_bytes(one)[:, 1, 0, 1], one.ids % 251) and torch.equal(one.labels, one.ids % 10)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(official, "CIFAR-10-C")
    mirror = small("cifar10_c", {"cifar10-c/CIFAR-10-C.tar": stream.getvalue()})
    two = load("cifar10_c", "fog.4", limit=300, mirror=mirror)
    assert torch.equal(one.images, two.images) and torch.equal(one.ids, two.ids)
    assert len(load("cifar10_c", "fog.1", mirror=official.parent, limit=5)) == 5, "a folder of that name in the mirror"
    with pytest.raises(GeedError, match=r"expected snow\.npy"):
        load(f"cifar10_c:{official}", "snow.1")
    with pytest.raises(GeedError, match=r"unknown split 'fogg\.1'; did you mean 'fog\.1'"):
        load(f"cifar10_c:{official}", "fogg.1")
    np.save(official / "fog.npy", np.zeros((10, 32, 32, 3), np.uint8))
    with pytest.raises(GeedError, match=r"shapes \(10, 32, 32, 3\)"):
        load(f"cifar10_c:{official}", "fog.1")


def photograph(path, width, height, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, 3), colour, np.uint8)
    pixels[:, : width // 4] = 255 - pixels[:, : width // 4]
    Image.fromarray(pixels).save(path)


def test_a_folder_of_images(tmp_path):
    for label, name in enumerate(("zebra", "ant")):
        for i in range(10):
            photograph(tmp_path / name / f"{i}.png", 60 + i, 40, 40 * label + i)
    (tmp_path / "ant" / "notes.txt").write_text("not an image")
    loaded = [load(f"folder:{tmp_path}", split, size=28) for split in ("train", "validation", "test")]
    assert [len(images) for images in loaded] == [12, 2, 6]
    assert loaded[0].classes == ("ant", "zebra") and loaded[0].images.shape[1:] == (3, 28, 28)
    for images in loaded:
        # Sorted by class, then by name; the middle of each picture has its number.
        expected = [40 * (1 - label) + i % 10 for label, i in zip(images.labels.tolist(), images.ids.tolist(), strict=True)]
        assert to_bytes(images)[:, 0, 14, 14].tolist() == expected
    before = loading.checksums(f"folder:{tmp_path}")
    for file in (tmp_path / "ant").iterdir():
        file.write_bytes(b"x")
    assert loading.checksums(f"folder:{tmp_path}") != before
    with pytest.raises(GeedError, match=r"\.png: expected an image, found something unreadable"):
        load(f"folder:{tmp_path}", "train", size=28)


def test_an_empty_folder(tmp_path):
    with pytest.raises(GeedError, match="expected one folder of images"):
        load(f"folder:{tmp_path}", "train")


def test_imagenet_layout_in_the_mirror_and_elsewhere(tmp_path):
    for part, n in (("train", 100), ("val", 3)):
        for name in ("n01440764", "n01443537"):
            for i in range(n):
                photograph(tmp_path / "imagenet" / part / name / f"{name}_{i}.JPEG", 40, 50, i)
    found = {split: load("imagenet", split, mirror=tmp_path, size=32) for split in ("train", "validation", "test")}
    assert [len(images) for images in found.values()] == [198, 2, 6]
    again = load(f"imagenet:{tmp_path / 'imagenet'}", "test", size=32)
    assert torch.equal(again.images, found["test"].images) and again.classes == ("n01440764", "n01443537")


def test_photograph_keeps_the_middle_and_the_proportions(tmp_path):
    photograph(tmp_path / "a.png", 512, 256, 0)
    pixels = readers.photograph(tmp_path / "a.png", 224)
    assert pixels.shape == (3, 224, 224) and not pixels.any(), "of 512 columns the middle 224 of a 256-high picture"
    photograph(tmp_path / "b.png", 100, 100, 0)
    pixels = readers.photograph(tmp_path / "b.png", 56)
    assert pixels.shape == (3, 56, 56) and pixels[0, 0, 0] == 255 and pixels[0, 0, -1] == 0


# ---- the real files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mnist", {"train": 54_000, "validation": 6_000, "test": 10_000}),
        ("fashion_mnist_sprite", {"test": 900}),
        ("emnist_letters", {"test": 20_800}),
        ("cifar10_subset", {"train": 7_261, "validation": 807, "test": 1_017}),
    ],
)
def test_real_sets(name, sizes, mirror):
    for split, expected in sizes.items():
        images = load(name, split, mirror=mirror)
        assert len(images) == expected and images.images.shape[1:] == DATASETS[name].shape
        tolerance = 0.005 if "sprite" not in name else 0.01
        assert images.images.mean((0, 2, 3)).tolist() == pytest.approx(DATASETS[name].mean, abs=tolerance)
        assert images.images.transpose(0, 1).flatten(1).std(1).tolist() == pytest.approx(DATASETS[name].std, abs=tolerance)


def test_the_jpeg_copy_is_the_same_photographs_a_little_worse(mirror):
    clean, lossy = load("cifar10_subset", "test", mirror=mirror), load("cifar10_jpeg75", "test", mirror=mirror, limit=10_000)
    error = (clean.images - lossy.images[clean.ids]).square().mean((1, 2, 3))
    assert torch.equal(clean.labels, lossy.labels[clean.ids])
    assert -10 * error.log10().mean() == pytest.approx(30, abs=1.5), "decibels"


def test_real_photographs(mirror):
    images = load("imagenet_samples", "test", mirror=mirror, size=32, limit=10)
    assert images.images.shape == (10, 3, 32, 32) and len(images.classes) == 1000 and images.classes[0] == "tench"
