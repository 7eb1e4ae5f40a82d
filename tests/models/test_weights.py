"""Weights on disk: the same bytes for the same network, and one sentence for every file that is not one."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from geed.errors import GeedError
from geed.models import weights
from geed.models.build import build

ARCHITECTURES = [
    {"kind": "plain_cnn", "widths": [3, 4]},
    {"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [2, 3]},
    {"kind": "steerable_cnn", "symmetry": "reflections", "widths": [2, 3]},
    {"kind": "perceptron", "hidden": 5, "layers": 2},
]


def spec(architecture, classes=3):
    return {"architecture": architecture, "channels": 1, "size": 9, "classes": classes, "mean": [0.1], "std": [0.3]}


def network(architecture=ARCHITECTURES[0], seed=0, classes=3):
    """A network that has seen data, so that its batch statistics are its own."""
    model = build(spec(architecture, classes), "test", seed)
    with torch.no_grad():
        model(images(seed))
    return model


def images(seed=0):
    return torch.rand(8, 1, 9, 9, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_round_trip_gives_the_same_function_and_the_same_bytes(architecture, tmp_path):
    model = network(architecture)
    weights.save(model, tmp_path / "in_training_mode.safetensors")
    weights.save(model.eval(), tmp_path / "a.safetensors")
    loaded = weights.load(tmp_path / "a.safetensors")
    weights.save(loaded, tmp_path / "b.safetensors")
    saved = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("in_training_mode", "a", "b")]
    assert saved[0] == saved[1] == saved[2]
    assert not loaded.training
    assert loaded.spec == model.spec
    assert torch.equal(loaded(images(1)), model(images(1)))


def test_different_networks_have_different_bytes(tmp_path):
    for seed in (0, 1):
        weights.save(network(seed=seed), tmp_path / f"{seed}.safetensors")
    assert (tmp_path / "0.safetensors").read_bytes() != (tmp_path / "1.safetensors").read_bytes()


@pytest.mark.parametrize("architecture", ARCHITECTURES[:2])
def test_restore_in_eval_mode_takes_effect(architecture):
    target, source = network(architecture, 0).eval(), network(architecture, 1).eval()
    assert not torch.equal(target(images()), source(images()))
    weights.restore(target, weights.state(source), "test")
    assert not target.training
    assert torch.equal(target(images()), source(images()))


def test_snapshots_hold_each_epoch(tmp_path):
    models = {epoch: network(seed=epoch) for epoch in (2, 10)}
    file = tmp_path / "snapshots.safetensors"
    weights.save_snapshots(models[2], {epoch: weights.copy_state(model) for epoch, model in models.items()}, file)
    assert weights.epochs(file) == [2, 10]
    for epoch, model in models.items():
        assert torch.equal(weights.load(file, epoch=epoch)(images()), model.eval()(images()))
    with pytest.raises(GeedError, match="no weights of epoch 3; it holds: 2, 10"):
        weights.load(file, epoch=3)
    weights.save_snapshots(models[2], {}, file)
    assert weights.epochs(file) == []


def test_copies_do_not_change_with_the_network():
    model = network()
    copy = weights.copy_state(model)
    before = copy["head.weight"].clone()
    with torch.no_grad():
        model.head.weight.add_(1)
    assert torch.equal(copy["head.weight"], before)


def test_trunk_is_taken_over_and_the_head_kept():
    model, source = network(seed=0, classes=5), network(seed=1, classes=3)
    head = model.head.weight.clone()
    weights.take_trunk(model, source)
    assert torch.equal(model.head.weight, head)
    assert torch.equal(model.eval().features(images()), source.eval().features(images()))


def test_trunk_of_another_architecture_is_refused():
    with pytest.raises(GeedError, match=r"initialisation\.from"):
        weights.take_trunk(network(), network({"kind": "plain_cnn", "widths": [3, 5]}))


@pytest.mark.parametrize("architecture", ARCHITECTURES[:2])
def test_scaled_weights_scale_the_function(architecture):
    # without biases and with the initial batch statistics every layer is positively homogeneous: 3 weight layers, factor 2^3
    model = build(spec(architecture), "test")
    torch.nn.init.zeros_(model.head.bias)
    model.eval()
    before = model(images())
    model.train()
    weights.scale(model, 2.0)
    torch.testing.assert_close(model.eval()(images()), 8 * before, rtol=1e-4, atol=1e-6)


def test_damaged_files_are_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    with pytest.raises(GeedError, match=r"weights.safetensors: no such file"):
        weights.load(file)
    weights.save(network(), file)
    whole = file.read_bytes()
    for damaged in (b"", b"not weights", whole[:100], whole[:-10]):
        file.write_bytes(damaged)
        with pytest.raises(GeedError, match=r"weights.safetensors: expected weights in safetensors format"):
            weights.load(file)


def test_files_that_do_not_fit_are_refused(tmp_path):
    from safetensors import safe_open

    file = tmp_path / "weights.safetensors"
    weights.save(network(), file)
    tensors = load_file(file)
    with safe_open(file, framework="pt") as stream:
        metadata = stream.metadata()

    def rewritten(changed, metadata=metadata):
        save_file(changed, file, metadata=metadata)
        with pytest.raises(GeedError) as caught:
            weights.load(file)
        return str(caught.value)

    without = {name: tensor for name, tensor in tensors.items() if name != "head.bias"}
    assert "lacks 'head.bias'" in rewritten(without)
    assert "has 'tail.bias'" in rewritten(tensors | {"tail.bias": torch.zeros(3)})
    assert "'head.bias' is (4,) float32, the network needs (3,) float32" in rewritten(tensors | {"head.bias": torch.zeros(4)})
    assert "no network specification" in rewritten(tensors, metadata={"other": "thing"})
    assert "unknown kind" in rewritten(tensors, metadata={"spec": metadata["spec"].replace("plain_cnn", "fancy_cnn")})


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    model = network()
    with torch.no_grad():
        model.head.bias[0] = torch.nan
    with pytest.raises(GeedError, match=r"'head.bias' holds a value that is not finite"):
        weights.save(model, tmp_path / "weights.safetensors")
    assert not list(tmp_path.iterdir())
