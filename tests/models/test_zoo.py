import pickle
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from geed import compat
from geed.errors import GeedError
from geed.models.zoo import load_weights, resolve

OWN = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

def number():
    return 3

def broken():
    raise ValueError("no such thing")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("my_networks", None)
    yield "my_networks:net"
    sys.modules.pop("my_networks", None)


def net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def photo(width=60, height=40):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# a function of one's own


def test_a_function_of_a_module_in_this_folder(own):
    loaded = resolve(own)
    assert not loaded.model.training and loaded.record["weights"] == {"source": "untrained", "sha256": None}
    assert loaded.record["parameters"] == 3 * 4 * 9 + 4 + 25
    again = resolve(own)
    assert torch.equal(loaded.model[0].weight, again.model[0].weight)  # drawn from a generator named after the model
    images = torch.rand(2, 3, 9, 9)
    assert torch.equal(loaded.model(images), again.model(images))


def test_building_a_network_leaves_the_global_generator_alone(own):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    resolve(own)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("my_networks:nets", "no function 'nets'; did you mean 'net'"),
        ("my_network:net", "no module named 'my_network'"),
        ("tim:resnet18", "no module named 'tim' .* did you mean 'timm'"),
        ("my_networks:number", "expected it to return a torch.nn.Module, found int"),
        ("my_networks:broken", "building it raised ValueError: no such thing"),
        ("resnet18", "expected timm:NAME, torchvision:NAME"),
        ("my networks:net", "expected timm:NAME"),
    ],
)
def test_a_model_that_cannot_be_found_or_built_is_a_sentence(own, spec, words):
    with pytest.raises(GeedError, match=words):
        resolve(spec)


def test_options_that_say_nothing_are_refused(own):
    with pytest.raises(GeedError, match="pretrained says nothing"):
        resolve(own, pretrained=True)
    with pytest.raises(GeedError, match="exclude each other"):
        resolve("timm:resnet18", weights="w.safetensors", pretrained=True)


def test_images_for_a_network_without_a_data_config_stay_as_they_are_or_get_the_size_asked_for(own):
    as_is = resolve(own).preprocessing
    assert as_is.size is None and as_is.transform(photo()).shape == (3, 40, 60)
    assert torch.equal(as_is.transform(photo()), torch.from_numpy(np.array(photo())).permute(2, 0, 1) / 255)
    assert as_is.transform(photo().convert("L")).shape == (1, 40, 60)
    sized = resolve(own, size=16).preprocessing
    assert sized.size == (16, 16) and sized.transform(photo()).shape == (3, 16, 16)


def test_a_network_saved_by_geed_brings_its_own_specification(tmp_path):
    from geed.models import weights
    from geed.models.build import build

    architecture = {"kind": "plain_cnn", "widths": [2, 2]}
    model = build({"architecture": architecture, "channels": 1, "size": 9, "classes": 3, "mean": [0.5], "std": [0.25]}).eval()
    weights.save(model, tmp_path / "w.safetensors")
    loaded = resolve(str(tmp_path / "w.safetensors"))
    images = torch.rand(2, 1, 9, 9)
    assert torch.equal(loaded.model(images), model(images))
    assert loaded.preprocessing.size == (9, 9) and loaded.preprocessing.transform(photo()).shape == (1, 9, 9)
    assert len(loaded.record["weights"]["sha256"]) == 64
    with pytest.raises(GeedError, match=r"other.safetensors: no such file"):
        resolve(str(tmp_path / "other.safetensors"))


# weights


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".th"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_either_kind_with_or_without_the_prefix_of_data_parallel_training(tmp_path, suffix, prefix):
    source, target = net(), net()
    state = {prefix + name: tensor.clone() for name, tensor in source.state_dict().items()}
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    load_weights(target, path)
    assert all(torch.equal(tensor, target.state_dict()[name]) for name, tensor in source.state_dict().items())


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_weights_inside_a_training_checkpoint(tmp_path, key):
    source, target = net(), net()
    torch.save({key: source.state_dict(), "epoch": 3}, tmp_path / "w.pth")
    load_weights(target, tmp_path / "w.pth")
    assert torch.equal(source[0].weight, target[0].weight)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("how", ["torch.save", "pickle", "zip"])
def test_a_pickle_bomb_is_refused_and_never_executed(tmp_path, how):
    path, crater = tmp_path / "w.pth", tmp_path / "crater"
    if how == "torch.save":
        torch.save({"weight": Bomb(crater)}, path)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(crater)))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(Bomb(crater)))
            archive.writestr("archive/version", "3")
    with pytest.raises(GeedError, match=r"w\.pth: expected weights that torch.load\(weights_only=True\) reads"):
        load_weights(net(), path)
    assert not crater.exists()
    torch.load(path, weights_only=False) if how == "torch.save" else None
    assert crater.exists() == (how == "torch.save")  # it was a live one


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read|expected weights"),
        (b"\x93NUMPY what is this", "expected weights"),
        ([1, 2], "expected a mapping of names to tensors, found a list"),
        ({"epoch": 3}, "found a mapping with keys epoch"),
        ({}, "an empty mapping"),
    ],
)
def test_a_file_that_holds_no_weights_is_a_sentence(tmp_path, content, words):
    path = tmp_path / "w.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(GeedError, match=words):
        load_weights(net(), path)


def test_weights_that_do_not_fit_are_counted_and_named(tmp_path):
    path, state = tmp_path / "w.safetensors", net().state_dict()
    save_file({name: tensor for name, tensor in state.items() if name != "0.weight"} | {"2.weight": torch.ones(1)}, path)
    with pytest.raises(GeedError, match=r"1 missing \(first: 0.weight\); 1 unexpected \(first: 2.weight\)"):
        load_weights(net(), path)
    save_file(state | {"0.weight": torch.ones(2, 3, 3, 3)}, path)
    with pytest.raises(GeedError, match=r"0.weight is \(2, 3, 3, 3\), expected \(2, 1, 3, 3\)"):
        load_weights(net(), path)
    save_file(state | {"0.bias": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(GeedError, match=r"0\.bias holds NaN"):
        load_weights(net(), path)
    path.write_bytes(b"no safetensors")
    with pytest.raises(GeedError, match="safetensors format"):
        load_weights(net(), path)


@pytest.mark.parametrize(("name", "words"), [("w.pkl", "ends in .safetensors, .pth, .pt, .th"), ("w.pth", "no such file")])
def test_other_files_and_absent_ones_are_refused(tmp_path, name, words):
    if name == "w.pkl":
        (tmp_path / name).write_bytes(pickle.dumps({}))
    with pytest.raises(GeedError, match=words):
        load_weights(net(), tmp_path / name)


# the libraries


def test_timm_with_its_own_preprocessing_and_normalisation_inside():
    timm = compat.import_timm()
    loaded = resolve("timm:resnet10t", num_classes=4)
    config = timm.data.resolve_model_data_config(loaded.model)
    image = photo(500, 300)
    expected = timm.data.create_transform(**config, is_training=False)(image)[None]
    batch = loaded.preprocessing.transform(image)[None]
    assert batch.min() >= 0 and batch.max() <= 1 and batch.shape == (1, *config["input_size"])
    inner = timm.create_model("resnet10t", num_classes=4).eval()
    inner.load_state_dict(loaded.model.state_dict())
    torch.testing.assert_close(loaded.model(batch), inner(expected))
    assert loaded.record["library"].startswith("timm 1") and loaded.record["preprocessing"]["mean"] == list(config["mean"])
    assert "conv1.0" in dict(loaded.model.named_modules())  # the names of timm's own documentation


def test_a_smaller_input_than_the_models_own():
    loaded = resolve("timm:vit_tiny_patch16_224", num_classes=2, size=48)
    assert loaded.preprocessing.size == (48, 48)
    assert loaded.model(loaded.preprocessing.transform(photo())[None]).shape == (1, 2)


def test_torchvision_with_its_own_preprocessing_and_normalisation_inside():
    models = compat.import_torchvision().models
    loaded = resolve("torchvision:squeezenet1_1", num_classes=4)
    image, transform = photo(500, 300), models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    batch = loaded.preprocessing.transform(image)[None]
    assert batch.min() >= 0 and batch.max() <= 1 and loaded.preprocessing.size == (224, 224)
    inner = models.squeezenet1_1(num_classes=4).eval()
    inner.load_state_dict(loaded.model.state_dict())
    torch.testing.assert_close(loaded.model(batch), inner(transform(image)[None]))
    half = resolve("torchvision:squeezenet1_1", num_classes=4, size=112).preprocessing
    assert half.transform(image).shape == (3, 112, 112) and "shorter side to 128" in half.settings["resize"]


@pytest.mark.parametrize(("spec", "near"), [("timm:resnet19", "resnet1"), ("torchvision:resnet19", "resnet18"), ("timm:", "")])
def test_an_unknown_name_of_a_library_suggests_the_nearest(spec, near):
    with pytest.raises(GeedError, match=rf"unknown {spec.split(':')[0]} model '.*'.*{near}"):
        resolve(spec)


def test_weights_for_another_number_of_classes_name_the_head(tmp_path):
    save_file(resolve("torchvision:resnet18", num_classes=4).model.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(GeedError, match=r"2 of its weights have the wrong shape; first: fc.weight is \(4, 512\)"):
        resolve("torchvision:resnet18", weights=tmp_path / "w.safetensors", num_classes=5)
    loaded = resolve("torchvision:resnet18", weights=tmp_path / "w.safetensors", num_classes=4)
    assert loaded.record["weights"]["source"].endswith("w.safetensors") and len(loaded.record["weights"]["sha256"]) == 64
