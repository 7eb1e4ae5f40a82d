"""Networks of the registry of pretrained weights, as architectures of a study."""

import os

import pytest
import torch

from geed import compat, files
from geed.data import store
from geed.errors import GeedError
from geed.models import weights, zoo
from geed.models.build import build
from geed.models.layers import Normalise
from geed.models.pretrained import load_pretrained
from geed.models.published import PRETRAINED, convert

NAME = "cifar10_resnet20"


def spec(classes=10, channels=3, name=NAME, size=32):
    architecture = {"kind": "pretrained", "name": name}
    few = [0.5] * channels
    return {"architecture": architecture, "channels": channels, "size": size, "classes": classes, "mean": few, "std": few}


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    if not os.environ.get("GEED_DATA_MIRROR"):
        pytest.skip("GEED_DATA_MIRROR is not set")
    monkeypatch.setenv("GEED_CACHE", str(tmp_path))


@pytest.fixture
def original():
    """The network as published, with weights and statistics of our own."""
    model = PRETRAINED[NAME].build()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) * (0.1 if tensor.dim() > 1 else 1.0) + (0.5 if "var" in name else 0.0))
    return model.eval()


@pytest.fixture
def converted(original, tmp_path):
    """Its weights, through the published form and the conversion."""
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in original.state_dict().items()}}, tmp_path / "a.th")
    convert(NAME, tmp_path / "a.th", tmp_path / "a.safetensors")
    return tmp_path / "a.safetensors"


def test_it_is_the_published_network_with_its_own_normalisation(original, converted):
    model = build(spec(), "study", 0)
    assert model.take(converted)
    images = torch.rand(4, 3, 32, 32)
    normalise = Normalise(PRETRAINED[NAME].preprocessing["mean"], PRETRAINED[NAME].preprocessing["std"])
    with torch.no_grad():
        assert torch.equal(model.eval()(images), original(normalise(images)))
    assert model.spec["mean"] == list(PRETRAINED[NAME].preprocessing["mean"])


def test_another_number_of_classes_keeps_the_new_head(converted):
    model, fresh = build(spec(4), "study", 0), build(spec(4), "study", 0)
    assert not model.take(converted)
    assert torch.equal(model.head.weight, fresh.head.weight)
    assert not torch.equal(model.trunk.conv1.weight, fresh.trunk.conv1.weight)


def test_it_starts_at_random_by_name():
    one, same, other = (build(spec(), "study", seed).trunk.conv1.weight for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_its_layers_are_there():
    model = build(spec(), "study", 0)
    names = dict(model.named_modules())
    assert {*model.conv_layers, model.feature_layer} <= names.keys() and len(model.conv_layers) == 9
    assert model.features(torch.rand(2, 3, 32, 32)).shape == (2, 64)


def test_it_is_saved_and_read_again(converted, tmp_path):
    model = build(spec(), "study", 0)
    model.take(converted)
    weights.save(model, tmp_path / "weights.safetensors")
    again = weights.load(tmp_path / "weights.safetensors")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(again(images), model.eval()(images))


def test_the_trunk_goes_over_to_a_network_of_other_classes(converted):
    source, model = build(spec(), "study", 0), build(spec(4), "study", 0)
    source.take(converted)
    weights.take_trunk(model, source)
    assert torch.equal(model.trunk.conv1.weight, source.trunk.conv1.weight) and model.head.out_features == 4


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(GeedError, match=r"name of pretrained weights or timm:NAME, found 'cifar10_resnet2'.*cifar10_resnet20"):
        build(spec(name="cifar10_resnet2"))
    with pytest.raises(GeedError, match=r"architecture\.name: expected timm:NAME, .* found 'timm:\.\./x'"):
        build(spec(name="timm:../x"))
    with pytest.raises(GeedError, match="unknown timm model 'resnet_18'"):
        build(spec(name="timm:resnet_18"))
    with pytest.raises(GeedError, match="takes images of 3 channels, found 1"):
        build(spec(channels=1))
    model = build(spec())
    store.write_tensors(tmp_path / "a.safetensors", {"conv1.weight": torch.zeros(2, 2)}, {})
    with pytest.raises(GeedError, match=r"a\.safetensors: its weights do not fit the network cifar10_resnet20"):
        model.take(tmp_path / "a.safetensors")
    with pytest.raises(GeedError, match=r"b\.safetensors: expected pretrained weights"):
        model.take(tmp_path / "b.safetensors")


@pytest.mark.parametrize("name", [*PRETRAINED, "timm:test_resnet", "timm:test_vit"])
def test_every_published_network_has_layers_and_features_and_its_classifier(name):
    model = build(spec(name=name, size=160 if name == "timm:test_vit" else 64), "study", 0).eval()
    names = dict(model.named_modules())
    assert {*model.conv_layers, model.feature_layer} <= names.keys() and model.conv_layers
    images = torch.rand(2, 3, model.spec["size"], model.spec["size"])
    with torch.no_grad():
        features, logits = model.features(images), model(images)
    assert features.ndim == 2 and logits.shape == (2, 10)
    if isinstance(model.head, torch.nn.Linear):
        assert torch.equal(model.head(features), logits) and model.head.in_features == features.shape[1]
    assert not names[model.feature_layer]._forward_hooks


@pytest.mark.parametrize("name", ["mobilenet_v2_int8", "squeezenet1_0_compressed", "mobilenet_v1_025"])
def test_imagenet_networks_are_those_that_load_pretrained_gives(name, mirror, tmp_path):
    """The same logits on the same images; with other classes, the same features and a head of its own."""
    whole, _ = load_pretrained(name)
    images = torch.rand(2, 3, 64, 64)
    same, other = (build(spec(classes, name=name, size=64), "study", 0) for classes in (1000, 10))
    weights_file = tmp_path / "weights" / f"{name}.safetensors"
    assert same.take(weights_file) and not other.take(weights_file)
    with torch.no_grad():
        assert torch.allclose(same.eval()(images), whole(images), atol=1e-5)
        assert torch.equal(same.features(images), other.eval().features(images)) and other(images).shape == (2, 10)


def test_a_size_that_the_network_does_not_take_is_one_sentence():
    with pytest.raises(GeedError, match=r"architecture\.name: squeezenet1_0_compressed does not take images of 8 x 8 pixels: ."):
        build(spec(name="squeezenet1_0_compressed", size=8))
    with pytest.raises(GeedError, match=r"timm:deit_tiny_patch16_224 does not take images of 32 x 32 pixels: .*224"):
        build(spec(name="timm:deit_tiny_patch16_224"))


def test_timm_weights_come_from_the_mirror_where_it_has_them(tmp_path, monkeypatch):
    """timm's own download is cut off; what one machine wrote another reads from its mirror."""
    monkeypatch.delenv("GEED_DATA_MIRROR", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    target = tmp_path / "out.safetensors"
    kept = tmp_path / "mirror" / "weights" / "timm" / "test_resnet.safetensors"
    kept.parent.mkdir(parents=True)
    timm = compat.import_timm()
    torch.manual_seed(0)
    given = timm.create_model("test_resnet", num_classes=1000).eval()
    floats = {name: tensor for name, tensor in sorted(given.state_dict().items()) if tensor.is_floating_point()}
    store.write_tensors(kept, floats, {})
    record = zoo.save_timm("test_resnet", target, tmp_path / "mirror")
    assert record["weights"] == {"source": str(kept), "sha256": files.sha256(kept), "licence": record["weights"]["licence"]}
    assert target.read_bytes() == kept.read_bytes()
    model = build(spec(1000, name="timm:test_resnet", size=64), "study", 0)
    assert model.take(target)
    images = torch.rand(2, 3, 64, 64)
    normalise = Normalise(model.spec["mean"], model.spec["std"])
    with torch.no_grad():
        assert torch.allclose(model.eval()(images), given(normalise(images)), atol=1e-6)
    store.write_tensors(kept, {"fc.weight": torch.zeros(2)}, {})
    with pytest.raises(GeedError, match=r"mirror/weights/timm/test_resnet\.safetensors: its weights do not fit timm:test_resnet"):
        zoo.save_timm("test_resnet", target, tmp_path / "mirror")
    with pytest.raises(GeedError, match=r"unknown timm model 'resnet_18'; did you mean"):
        zoo.save_timm("resnet_18", target)
    with pytest.raises(GeedError, match=r"timm:test_resnet: no pretrained weights to be had"):
        zoo.save_timm("test_resnet", target)
