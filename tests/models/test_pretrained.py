"""Pretrained weights: files of our own making in the published form, and the real ones where the mirror is."""

import dataclasses
import functools
import os
import subprocess
import sys

import pytest
import torch

from geed import files
from geed.data import loading, store
from geed.data.mirror import SourceFile
from geed.errors import GeedError
from geed.models.architectures import CifarResNet, MobileNetV1
from geed.models.pretrained import PRETRAINED, load_pretrained


def test_the_registry_is_light():
    code = "import sys, geed.models.pretrained as p; assert p.PRETRAINED and not {'torch', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("info", PRETRAINED.values(), ids=PRETRAINED)
def test_entries_are_complete(info):
    for digest in (info.file.sha256, info.safetensors):
        assert len(digest) == 64 and int(digest, 16)
    assert {"size", "resize", "mean", "std"} <= set(info.preprocessing) and info.licence and info.source and info.data


def test_cifar_resnet_is_he_et_als():
    for depth, millions in ((20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85)):
        model = CifarResNet(depth)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.006), "He et al. 2016, table 6"
        weighted = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        assert len(weighted) == depth
    assert model(torch.rand(2, 3, 32, 32)).shape == (2, 10)


def test_the_shortcut_keeps_every_second_pixel_and_pads_channels_with_zeros():
    block = CifarResNet(20).layer2[0].eval()
    for parameter in block.bn2.parameters():
        torch.nn.init.zeros_(parameter)  # the residual branch gives nothing
    x = torch.rand(1, 16, 8, 8)
    y = block(x)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2]) and not y[:, :8].any() and not y[:, 24:].any()


def test_mobilenet_v1_halves_the_size_five_times():
    model = MobileNetV1(0.25).eval()
    maps = model.stage3(model.stage2(model.stage1(torch.rand(1, 3, 224, 224))))
    assert maps.shape == (1, 256, 7, 7) and model(torch.rand(2, 3, 64, 64)).shape == (2, 1000)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(0.47, abs=0.01), "Howard et al. 2017, table 7: 0.5"


@pytest.fixture
def published(monkeypatch, tmp_path):
    """published(content) puts a file of random weights in place of ResNet-20's; returns the mirror and the network."""
    monkeypatch.delenv("GEED_DATA_MIRROR", raising=False)
    monkeypatch.setenv("GEED_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = CifarResNet(20).eval()
    state = {f"module.{name}": value for name, value in model.state_dict().items() if "num_batches" not in name}

    def publish(content=None):
        file = tmp_path / "mirror" / "weights" / "resnet20.th"
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"best_prec1": 1.0, "state_dict": state} if content is None else content, file)
        info = PRETRAINED["cifar10_resnet20"]
        converted = tmp_path / "converted"
        about = {"name": info.name, "sha256": files.sha256(file)}
        store.write_tensors(converted, {n.removeprefix("module."): v for n, v in sorted(state.items())}, about)
        source = SourceFile("weights/resnet20.th", files.sha256(file))
        entry = dataclasses.replace(info, file=source, safetensors=files.sha256(converted))
        monkeypatch.setitem(PRETRAINED, "cifar10_resnet20", entry)
        return tmp_path / "mirror", model

    return publish


def test_weights_come_with_their_preprocessing(published):
    mirror, model = published()
    loaded, record = load_pretrained("cifar10_resnet20", mirror)
    images = torch.rand(3, 3, 32, 32)
    mean, std = (torch.tensor(record["preprocessing"][key]).view(3, 1, 1) for key in ("mean", "std"))
    assert torch.allclose(loaded(images), model((images - mean) / std), atol=1e-5) and not loaded.training
    assert record["weights"]["sha256"] == PRETRAINED["cifar10_resnet20"].file.sha256
    assert record["accuracy"] == 91.8 and record["data"] == "CIFAR-10"
    assert record["preprocessing"]["std"] == [0.229, 0.224, 0.225]


def test_the_second_load_needs_the_converted_file_only(published):
    mirror, _ = published()
    first, _ = load_pretrained("cifar10_resnet20", mirror)
    (mirror / "weights" / "resnet20.th").unlink()
    second, _ = load_pretrained("cifar10_resnet20")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(first(images), second(images))


def test_a_damaged_converted_file_is_set_aside_and_made_anew(published, tmp_path, capsys):
    mirror, _ = published()
    load_pretrained("cifar10_resnet20", mirror)
    place = tmp_path / "cache" / "weights" / "cifar10_resnet20.safetensors"
    content = place.read_bytes()
    place.write_bytes(content[:-4] + b"\1\2\3\4")
    load_pretrained("cifar10_resnet20", mirror)
    assert place.read_bytes() == content and place.with_name(place.name + ".corrupt").exists()
    assert "set aside" in capsys.readouterr().err


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (self.path,))


def test_a_file_that_does_something_is_refused(published, tmp_path):
    mirror, _ = published({"state_dict": Bomb(str(tmp_path / "boom"))})
    with pytest.raises(GeedError, match=r"resnet20\.th: expected weights"):
        load_pretrained("cifar10_resnet20", mirror)
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize("content", [{"state_dict": {"module.conv1.weight": torch.zeros(1)}}, {}, [1, 2], torch.zeros(3)])
def test_weights_that_do_not_fit(published, content):
    mirror, _ = published(content)
    with pytest.raises(GeedError, match="resnet20"):
        load_pretrained("cifar10_resnet20", mirror)


def test_unknown_and_unavailable(published, tmp_path):
    with pytest.raises(GeedError, match="unknown pretrained network 'cifar10_resnet_20'; did you mean 'cifar10_resnet"):
        load_pretrained("cifar10_resnet_20")
    with pytest.raises(GeedError, match=r"mobilenet_v1_025.* GEED_DATA_MIRROR"):
        load_pretrained("mobilenet_v1_025", tmp_path)


def test_the_networks_of_torchvision_have_the_registered_names():
    for name in ("mobilenet_v2_int8", "squeezenet1_0_compressed"):
        build = PRETRAINED[name].build
        assert isinstance(build, functools.partial) and build.func.__name__ == "_torchvision"
        assert build()(torch.rand(1, 3, 64, 64)).shape == (1, 1000)


# ---- the real files --------------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    place = os.environ.get("GEED_DATA_MIRROR")
    if not place:
        pytest.skip("GEED_DATA_MIRROR is not set")
    monkeypatch.setenv("GEED_CACHE", str(tmp_path))
    return place


@pytest.mark.parametrize("name", PRETRAINED)
def test_real_files_load_and_convert_to_the_registered_bytes(name, mirror, tmp_path):
    load_pretrained(name, mirror)
    assert files.sha256(tmp_path / "weights" / f"{name}.safetensors") == PRETRAINED[name].safetensors


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_cifar_resnets_score_as_published(depth, mirror):
    """Within two binomial standard errors (0.8 points on 1,017 images) of the published accuracy on 10,000."""
    model, record = load_pretrained(f"cifar10_resnet{depth}", mirror)
    images = loading.load("cifar10_subset", "test", mirror=mirror)
    with torch.no_grad():
        right = torch.cat([model(batch).argmax(1) for batch in images.images.split(256)]) == images.labels
    assert 100 * right.float().mean().item() == pytest.approx(record["accuracy"], abs=1.7)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "top1", "top5"),
    [("mobilenet_v2_int8", 80, 95), ("squeezenet1_0_compressed", 63, 84), ("mobilenet_v1_025", 51, 75)],
)
def test_imagenet_networks_know_the_photographs(name, top1, top5, mirror):
    """This shows that weights and preprocessing fit; it is no ImageNet accuracy, for these may be training images."""
    model, _ = load_pretrained(name, mirror)
    images = loading.load("imagenet_samples", "test", mirror=mirror, size=224)
    with torch.no_grad():
        best = torch.cat([model(batch).topk(5).indices for batch in images.images.split(50)])
    hit = best == images.labels[:, None]
    assert 100 * hit[:, 0].float().mean().item() == pytest.approx(top1, abs=2.5)
    assert 100 * hit.any(1).float().mean().item() == pytest.approx(top5, abs=2.5)
