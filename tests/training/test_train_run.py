"""The step: prepared data in, weights, history and snapshots out."""

import pandas as pd
import pytest
import torch

from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.models import published, weights
from geed.study import train as step
from geed.training import objectives
from geed.training.loop import accuracy


@pytest.fixture
def data(train, validation, tmp_path):
    path = tmp_path / "shapes.safetensors"
    store.write(path, {"train": train, "validation": validation})
    return path


def run(name="tiny", **changes):
    settings = {"epochs": 5, "batch_size": 16, "learning_rate": 0.02, "weight_decay": 1e-4, "snapshots": []}
    return {
        "name": name,
        "data": "shapes",
        "architecture": {"kind": "plain_cnn", "widths": [4, 6]},
        "initialisation": {"scale": 1.0, "from": None},
        "augmentation": [],
        "objective": "supervised",
        **changes,
        "training": settings | changes.get("training", {}),
    }


def outputs(folder):
    return {"weights": folder / "weights.safetensors", "history": folder / "history.csv", "snapshots": folder / "s.safetensors"}


def train_run(settings, data, folder, seed=0, **options):
    return step.train_run(
        settings, study="test", seed=seed, data=data, checkpoints=folder / "side", device="cpu", **outputs(folder), **options
    )


def test_outputs_and_numbers(data, train, validation, tmp_path):
    numbers = train_run(run(training={"snapshots": [2, 5], "epochs": 40}), data, tmp_path)
    model = weights.load(outputs(tmp_path)["weights"])
    assert numbers["train_accuracy"] == accuracy(model, train.images, train.labels)
    assert numbers["validation_accuracy"] == accuracy(model, validation.images, validation.labels) > 0.8
    assert numbers["epochs"] == 40
    assert numbers["parameters"] == 9 * 4 + 9 * 4 * 6 + 2 * (4 + 6) + 6 * 3 + 3
    assert numbers["images_per_second"] > 0
    assert numbers["device"] == "cpu"
    assert numbers["resumed_from_epoch"] == 0
    assert weights.epochs(outputs(tmp_path)["snapshots"]) == [2, 5]
    assert pd.read_csv(outputs(tmp_path)["history"]).epoch.tolist() == list(range(1, 41))
    assert not list((tmp_path / "side").glob("*"))


def test_normalisation_is_that_of_the_training_images(data, train, tmp_path):
    train_run(run(), data, tmp_path)
    model = weights.load(outputs(tmp_path)["weights"])
    normalised = model.normalise(train.images)
    assert normalised.mean().item() == pytest.approx(0, abs=1e-4)
    assert normalised.std().item() == pytest.approx(1, abs=1e-4)


def test_same_bytes_twice_and_other_bytes_with_another_seed(data, tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        train_run(run(training={"snapshots": [2]}), data, tmp_path / folder, seed)
    for name in ("weights", "history", "snapshots"):
        first, again, other = (outputs(tmp_path / folder)[name].read_bytes() for folder in "abc")
        assert first == again != other


def test_untrained_runs_share_their_start_with_trained_ones_and_scale_it(data, tmp_path):
    for name, changes in {"one": {}, "four": {"initialisation": {"scale": 4.0, "from": None}}}.items():
        numbers = train_run(run(objective="none", **changes), data, tmp_path / name)
        assert (numbers["epochs"], numbers["images_per_second"]) == (0, None)
        history = pd.read_csv(outputs(tmp_path / name)["history"])
        assert history.epoch.tolist() == [0]
        assert history.validation_accuracy.tolist() == [numbers["validation_accuracy"]]
    one, four = (weights.state(weights.load(outputs(tmp_path / name)["weights"])) for name in ("one", "four"))
    for name, tensor in one.items():
        scaled = tensor.ndim > 1  # weights of convolutions and the head, neither biases nor normalisation
        assert torch.equal(four[name], 4 * tensor if scaled else tensor)


def test_a_run_may_start_from_another_ones_trunk(data, tmp_path):
    train_run(run("pretraining"), data, tmp_path / "source")
    source = outputs(tmp_path / "source")["weights"]
    settings = run("finetuned", initialisation={"scale": 1.0, "from": "pretraining"}, objective="none")
    train_run(settings, data, tmp_path / "tuned", source=source)
    before, after = (weights.state(weights.load(file)) for file in (source, outputs(tmp_path / "tuned")["weights"]))
    assert {name for name, tensor in after.items() if not torch.equal(tensor, before[name])} == {"head.weight", "head.bias"}


def test_resumes_from_the_side_checkpoint(data, tmp_path, monkeypatch):
    train_run(run(), data, tmp_path / "whole")
    fit = step.fit

    class Killed(BaseException):
        pass

    def killed_fit(*args, progress, **options):
        def last_breath(epoch):
            progress(epoch)
            if epoch == 3:
                raise Killed

        return fit(*args, progress=last_breath, seconds_between_checkpoints=0, **options)

    monkeypatch.setattr(step, "fit", killed_fit)
    with pytest.raises(Killed):
        train_run(run(), data, tmp_path / "killed")
    assert not outputs(tmp_path / "killed")["weights"].exists()
    monkeypatch.setattr(step, "fit", fit)
    assert train_run(run(), data, tmp_path / "killed")["resumed_from_epoch"] == 3
    for name in ("weights", "history", "snapshots"):
        assert outputs(tmp_path / "killed")[name].read_bytes() == outputs(tmp_path / "whole")[name].read_bytes()
    assert not list((tmp_path / "killed" / "side").glob("*"))


def test_bad_input_is_refused(data, tmp_path, monkeypatch):
    with pytest.raises(GeedError, match="no such file"):
        train_run(run(), tmp_path / "absent.safetensors", tmp_path)
    with pytest.raises(GeedError, match="no such file"):
        train_run(run(), data, tmp_path, source=tmp_path / "absent.safetensors")
    with pytest.raises(GeedError, match=r"did you mean 'rotations"):
        train_run(run(augmentation=["rotation:4"]), data, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(GeedError, match="no CUDA device"):
        step.train_run(run(), study="t", seed=0, data=data, checkpoints=tmp_path, device="cuda", **outputs(tmp_path))


def test_a_gpu_that_is_too_small_gets_half_the_batch_and_the_record_says_so(data, tmp_path, monkeypatch, capfd):
    fit, tried = step.fit, []

    def small(model, train, validation, run, *args, **options):
        tried.append(run["training"]["batch_size"])
        if tried[-1] > 4:
            next(
                model.parameters()
            ).data.zero_()  # a training that fails has moved its network: the next one must not go on with it
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return fit(model, train, validation, run, *args, **options)

    numbers = {}
    monkeypatch.setattr(step, "fit", small)
    numbers["halved"] = train_run(run(), data, tmp_path / "halved")
    monkeypatch.setattr(step, "fit", fit)
    numbers["small"] = train_run(run(training={"batch_size": 4}), data, tmp_path / "small")
    assert tried == [16, 8, 4]
    assert [found["batch_size"] for found in numbers.values()] == [4, 4]
    assert "geed: out of GPU memory with batches of 16 images: training starts over with 8" in capfd.readouterr().out
    first, second = (outputs(tmp_path / name)["weights"].read_bytes() for name in numbers)
    assert first == second

    def too_small(*args, **options):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(step, "fit", too_small)
    with pytest.raises(
        GeedError, match="run 'tiny': the GPU's memory does not hold its data, its network and batches of 2 images"
    ):
        train_run(run(), data, tmp_path / "none")


def test_a_network_as_published_needs_test_images_only(tmp_path):
    """Also one whose classifier is a convolution, which no linear probe can train."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(4, 3, 64, 64, generator=generator), torch.tensor([0, 1, 2, 3])
    given = ImageSet(images, labels, labels, tuple(map(str, range(1000))), "photos", "test")
    store.write(tmp_path / "photos.safetensors", {"test": given})
    network = published.PRETRAINED["squeezenet1_0_compressed"].build().eval()
    store.write_tensors(tmp_path / "published.safetensors", dict(sorted(network.state_dict().items())), {})
    settings = run(architecture={"kind": "pretrained", "name": "squeezenet1_0_compressed"}, objective="none")
    numbers = train_run(settings, tmp_path / "photos.safetensors", tmp_path, published=tmp_path / "published.safetensors")
    assert not {"train_accuracy", "validation_accuracy"} & numbers.keys()
    assert numbers["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    model = weights.load(outputs(tmp_path)["weights"])
    with torch.no_grad():
        assert torch.allclose(model(images), network(model.normalise(images)), atol=1e-6)
    with pytest.raises(GeedError, match="no split 'train'"):
        train_run(settings, tmp_path / "photos.safetensors", tmp_path)
    with pytest.raises(GeedError, match="contrastive fits a linear classifier in the end; this network's is a Conv2d"):
        objectives.make("contrastive", model)
