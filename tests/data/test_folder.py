import numpy as np
import pytest
import torch
from PIL import Image

from geed.data.folder import ImageFolder
from geed.errors import GeedError


def tensor(image):
    return torch.from_numpy(np.array(image.convert("L"), dtype=np.float32) / 255)[None]


def make(folder, names, side=4):
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((side, side), 10 * index, dtype=np.uint8)).save(path)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_flat_images_come_in_the_order_of_their_names(tmp_path, batch_size):
    make(tmp_path, ["b.png", "a.png", "c.bmp", "d.PNG", "e.png"])
    (tmp_path / "notes.txt").write_text("no image")
    folder = ImageFolder(tmp_path, tensor, batch_size)
    batches = list(folder)
    assert [round(float(image[0, 0, 0]) * 255) for batch in batches for image in batch] == [10, 0, 20, 30, 40]
    assert max(len(batch) for batch in batches) <= batch_size and len(folder) == 5
    assert folder.labels is None and folder.classes == ()


def test_subfolders_are_classes(tmp_path):
    make(tmp_path, ["zebra/1.png", "ant/2.png", "ant/1.png"])
    (tmp_path / "empty").mkdir()
    folder = ImageFolder(tmp_path, tensor)
    assert folder.classes == ("ant", "zebra") and folder.labels.tolist() == [0, 0, 1]


def test_a_limit_keeps_the_proportion_of_classes(tmp_path):
    make(tmp_path, [f"{name}/{index}.png" for name in "ab" for index in range(6)])
    assert ImageFolder(tmp_path, tensor, limit=4).labels.tolist() == [0, 0, 1, 1]
    assert len(ImageFolder(tmp_path, tensor, limit=100)) == 12


def test_the_digest_is_of_names_and_contents_whatever_the_batches(tmp_path):
    make(tmp_path, ["a.png", "b.png"])
    digests = []
    for batch_size in (1, 2):
        folder = ImageFolder(tmp_path, tensor, batch_size)
        assert folder.sha256 is None
        list(folder)
        digests.append(folder.sha256)
    (tmp_path / "a.png").rename(tmp_path / "aa.png")
    renamed = ImageFolder(tmp_path, tensor)
    list(renamed)
    assert digests[0] == digests[1] != renamed.sha256


@pytest.mark.parametrize(
    ("names", "limit", "words"),
    [
        ([], None, "no images in it, nor in its subfolders"),
        (["a.png", "x/b.png"], None, r"found both \(a.png, x/\)"),
        (["a.png"], 0, "limit must be at least 1, found 0"),
    ],
)
def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path, names, limit, words):
    make(tmp_path, names)
    with pytest.raises(GeedError, match=words):
        ImageFolder(tmp_path, tensor, limit=limit)


def test_an_absent_folder_a_broken_image_and_one_of_another_shape_are_named(tmp_path):
    with pytest.raises(GeedError, match="none: no such folder"):
        ImageFolder(tmp_path / "none", tensor)
    make(tmp_path, ["a.png"])
    make(tmp_path, ["b.png"], side=5)
    with pytest.raises(GeedError, match=r"b\.png: has shape \(1, 5, 5\) where the images before have \(1, 4, 4\)"):
        list(ImageFolder(tmp_path, tensor))
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(GeedError, match=r"b\.png: cannot be read as an image"):
        list(ImageFolder(tmp_path, tensor))
