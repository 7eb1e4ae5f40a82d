"""Networks of the registry of pretrained weights, as architectures of a study."""

import pytest
import torch

from geed.data import store
from geed.errors import GeedError
from geed.models import weights
from geed.models.build import Normalise, build
from geed.models.published import PRETRAINED, PROFILED, convert

NAME = "cifar10_resnet20"


def spec(classes=10, channels=3, name=NAME):
    architecture = {"kind": "pretrained", "name": name}
    few = [0.5] * channels
    return {"architecture": architecture, "channels": channels, "size": 32, "classes": classes, "mean": few, "std": few}


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
    with pytest.raises(GeedError, match=r"unknown pretrained network 'cifar10_resnet2'.*cifar10_resnet20"):
        build(spec(name="cifar10_resnet2"))
    with pytest.raises(GeedError, match="takes images of 3 channels, found 1"):
        build(spec(channels=1))
    model = build(spec())
    store.write_tensors(tmp_path / "a.safetensors", {"conv1.weight": torch.zeros(2, 2)}, {})
    with pytest.raises(GeedError, match=r"a\.safetensors: its weights do not fit the network cifar10_resnet20"):
        model.take(tmp_path / "a.safetensors")
    with pytest.raises(GeedError, match=r"b\.safetensors: expected pretrained weights"):
        model.take(tmp_path / "b.safetensors")


def test_every_profiled_network_can_be_built():
    for name in PROFILED:
        assert build(spec(name=name)).conv_layers
