"""The loop learns, repeats itself to the bit, and goes on after a kill as if nothing had happened."""

import hashlib
import math

import pytest
import torch

from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.models import weights
from geed.models.build import build
from geed.training import checkpoints
from geed.training.loop import accuracy, fit, one_cycle
from geed.training.probe import linear_probe

PLAIN = {"kind": "plain_cnn", "widths": [4, 6]}
STEERABLE = {"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [2, 3]}


def run(objective="supervised", augmentation=("reflections", "noise"), **training):
    settings = {"epochs": 6, "batch_size": 16, "learning_rate": 0.02, "weight_decay": 1e-4, "snapshots": []}
    return {"name": "tiny", "objective": objective, "augmentation": list(augmentation), "training": settings | training}


def network(architecture=PLAIN, seed=0):
    spec = {"architecture": architecture, "channels": 1, "size": 9, "classes": 3, "mean": [0.3], "std": [0.3]}
    return build(spec, "test", seed)


def bytes_of(model):
    return b"".join(tensor.numpy().tobytes() for tensor in weights.state(model).values())


class Killed(Exception):
    pass


def killer(epoch):
    def progress(done):
        if done == epoch:
            raise Killed

    return progress


@pytest.mark.parametrize("architecture", [PLAIN, STEERABLE])
def test_loss_falls_and_the_shapes_are_learned(architecture, train, validation):
    model = network(architecture)
    before = accuracy(model, validation.images, validation.labels)
    history = fit(model.train(), train, validation, run(epochs=60), ("test", 0)).history
    assert list(history.columns) == ["epoch", "loss", "train_accuracy", "validation_accuracy"]
    assert history.epoch.tolist() == list(range(1, 61))
    assert history.loss.iloc[-1] < 0.5 * history.loss.iloc[0]
    assert history.train_accuracy.between(0, 1).all()
    assert not model.training
    after = accuracy(model, validation.images, validation.labels)
    assert history.validation_accuracy.iloc[-1] == after > max(before, 0.9)


@pytest.mark.parametrize("objective", ["supervised", "contrastive", "vicreg", "rotation_prediction"])
def test_same_names_same_bytes_other_names_other_bytes(objective, train):
    models = [network() for _ in range(3)]
    histories = []
    for model, names in zip(models, [("test", 0), ("test", 0), ("test", 1)], strict=True):
        torch.manual_seed(len(histories))  # the global stream must not matter
        histories.append(fit(model, train, None, run(objective, epochs=2), names).history)
    assert bytes_of(models[0]) == bytes_of(models[1]) != bytes_of(models[2])
    assert histories[0].equals(histories[1])


REMUL = {"kind": "remul", "group": "rotations:4", "weight": 1.0, "adaptive": True}
RESUMED = [
    (architecture, objective) for architecture in (PLAIN, STEERABLE) for objective in ("supervised", "contrastive", "vicreg")
]
RESUMED += [(PLAIN, REMUL), (PLAIN, "rotation_prediction")]
RESUMED += [({"kind": "augerino", "network": PLAIN}, {"kind": "augerino", "weight": 0.1})]


@pytest.mark.parametrize(("architecture", "objective"), RESUMED)
def test_a_killed_training_resumes_to_the_same_bytes(objective, architecture, train, validation, tmp_path):
    settings, file = run(objective, epochs=4, snapshots=[2]), tmp_path / "side.pt"
    whole = network(architecture)
    expected = fit(whole, train, validation, settings, ("test", 0))
    with pytest.raises(Killed):
        fit(
            network(architecture),
            train,
            validation,
            settings,
            ("test", 0),
            checkpoint=file,
            seconds_between_checkpoints=0,
            progress=killer(3),
        )
    assert file.exists()
    # a fresh network with other weights: everything must come from the checkpoint
    resumed = network(architecture, seed=1)
    found = fit(resumed, train, validation, settings, ("test", 0), checkpoint=file)
    assert found.resumed_from_epoch == 3
    assert found.images == 48
    assert bytes_of(resumed) == bytes_of(whole)
    assert found.history.equals(expected.history)
    assert all(torch.equal(found.snapshots[2][name], tensor) for name, tensor in expected.snapshots[2].items())
    assert file.exists()  # whoever saves the outcome removes it afterwards


def test_checkpoints_are_written_no_more_often_than_asked(train, tmp_path):
    with pytest.raises(Killed):
        fit(
            network(),
            train,
            None,
            run(),
            ("test", 0),
            checkpoint=tmp_path / "side.pt",
            seconds_between_checkpoints=1e9,
            progress=killer(5),
        )
    assert not (tmp_path / "side.pt").exists()


def test_a_damaged_checkpoint_costs_time_only(train, tmp_path, capsys):
    whole, again, file = network(), network(), tmp_path / "side.pt"
    fit(whole, train, None, run(epochs=2), ("test", 0))
    checkpoints.save(file, {"epoch": 1, "model": {"weight": torch.ones(3)}})
    saved = file.read_bytes()
    flipped = bytearray(saved)
    flipped[len(saved) // 2] ^= 1
    for damaged in (b"", b"not a checkpoint", saved[:-1], bytes(flipped)):
        file.write_bytes(damaged)
        assert checkpoints.load(file) is None
        assert capsys.readouterr().out.endswith("this side checkpoint is damaged and is not used: training starts over\n")
    file.write_bytes(saved)
    assert checkpoints.load(file)["model"]["weight"].tolist() == [1, 1, 1]
    file.write_bytes(damaged)
    assert fit(again, train, None, run(epochs=2), ("test", 0), checkpoint=file).resumed_from_epoch == 0
    assert bytes_of(again) == bytes_of(whole)


def test_a_checkpoint_that_would_run_code_is_never_unpickled(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    file = tmp_path / "side.pt"
    checkpoints.save(file, {"bomb": Bomb()})
    for bomb in (pickle.dumps(Bomb()), hashlib.sha256(pickle.dumps(Bomb())).digest() + pickle.dumps(Bomb()), file.read_bytes()):
        file.write_bytes(bomb)
        assert checkpoints.load(file) is None
        assert not (tmp_path / "exploded").exists()
    pickle.loads(pickle.dumps(Bomb())).close()
    assert (tmp_path / "exploded").exists(), "the bomb works where it is not refused"


def test_checkpoint_names_depend_on_every_setting(tmp_path):
    settings = {"run": run(), "seed": 0}
    names = {checkpoints.path(tmp_path, changed).name for changed in (settings, {**settings, "seed": 1}, {"run": run(epochs=7)})}
    assert len(names) == 3
    assert checkpoints.path(tmp_path, {"seed": 0, "run": run()}) == checkpoints.path(tmp_path, settings)


def test_divergence_is_one_sentence_with_run_epoch_and_learning_rate(train):
    broken = ImageSet(train.images.clone(), train.labels, train.ids, train.classes, "shapes", "train")
    broken.images[3] = torch.inf
    with pytest.raises(GeedError, match=r"run 'tiny': the loss is nan in epoch 1 at learning rate .*now 0.02"):
        fit(network(), broken, None, run(augmentation=()), ("test", 0))


def test_self_supervised_trunk_does_not_see_labels_but_the_head_is_fitted(train, validation):
    shuffled = ImageSet(train.images, train.labels.roll(1), train.ids, train.classes, "shapes", "train")
    models = [network(), network()]
    histories = [
        fit(model, data, validation, run("contrastive", epochs=4, snapshots=[2]), ("test", 0)).history
        for model, data in zip(models, (train, shuffled), strict=True)
    ]
    first, second = (weights.state(model) for model in models)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items() if not name.startswith("head."))
    assert not torch.equal(first["head.weight"], second["head.weight"])
    assert histories[0].validation_accuracy.notna().tolist() == [False, True, False, True]
    assert histories[0].validation_accuracy.iloc[-1] > 0.9 > histories[1].validation_accuracy.iloc[-1]


def test_snapshots_are_the_weights_of_their_epoch(train):
    settings = run(epochs=4, snapshots=[2, 4])
    model = network()
    snapshots = fit(model, train, None, settings, ("test", 0)).snapshots
    assert list(snapshots) == [2, 4]
    assert all(torch.equal(snapshots[4][name], tensor) for name, tensor in weights.state(model).items())
    assert not torch.equal(snapshots[2]["head.weight"], snapshots[4]["head.weight"])


def test_paired_runs_see_the_same_images_in_the_same_order(train):
    seen = {}
    for names, augmentation in {("a", 0): (), ("b", 0): ("reflections",)}.items():
        model, batches = network(), []
        model.register_forward_pre_hook(lambda _, args, batches=batches: batches.append(args[0].clone()))
        fit(model, train, None, run(epochs=2, augmentation=augmentation), ("test", 0))
        seen[names] = torch.cat(batches)
    brightness = [images.sum((1, 2, 3)) for images in seen.values()]  # which a reflection does not change
    torch.testing.assert_close(*brightness)
    assert not torch.equal(seen["a", 0], seen["b", 0])
    first_epoch, second_epoch = seen["a", 0].chunk(2)
    assert not torch.equal(first_epoch, second_epoch)


def test_weight_decay_spares_biases_and_normalisation(train):
    from geed.training.loop import _groups

    model = network(STEERABLE)
    decayed, free = _groups([model], 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(p)].rpartition(".")[2] for p in decayed["params"]] == ["weights", "weights", "weight"]
    assert len(decayed["params"]) + len(free["params"]) == len(names)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


def test_one_cycle_rises_to_one_and_falls_towards_zero():
    rates = [one_cycle(step, 400) for step in range(400)]
    assert max(rates) == rates[99] == 1
    assert rates[:100] == sorted(rates[:100])
    assert rates[99:] == sorted(rates[99:], reverse=True)
    assert 0 < rates[-1] < 1e-3
    assert all(0 < one_cycle(step, steps) <= 1 for steps in range(1, 9) for step in range(steps))


def test_linear_probe_agrees_with_scikit_learn(train, validation):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    model = network().eval()
    trunk = weights.copy_state(model)
    share = linear_probe(model, train.images, train.labels)
    with torch.no_grad():
        features, others = (model.features(data.images).double().numpy() for data in (train, validation))
        ours = model(validation.images).double().softmax(1)
    scaler = StandardScaler().fit(features)
    # scikit-learn's scaler divides by n, torch's deviation by n - 1: the same model with a penalty larger by n / (n - 1)
    n = len(features)
    theirs = LogisticRegression(C=(n - 1) / n, tol=1e-8, max_iter=2000).fit(scaler.transform(features), train.labels)
    torch.testing.assert_close(ours, torch.from_numpy(theirs.predict_proba(scaler.transform(others))), rtol=0, atol=1e-4)
    assert share == pytest.approx(theirs.score(scaler.transform(features), train.labels))
    assert all(torch.equal(tensor, trunk[name]) for name, tensor in weights.state(model).items() if not name.startswith("head."))


def test_probe_survives_a_feature_that_never_fires(train):
    model = network().eval()
    with torch.no_grad():
        model.blocks[-1][1].weight[0] = 0
        model.blocks[-1][1].bias[0] = -1
    assert math.isfinite(linear_probe(model, train.images, train.labels))
    assert model.head.weight.isfinite().all()


def test_checkpoint_file_loads_without_pickle_code(train, tmp_path):
    file = tmp_path / "side.pt"
    with pytest.raises(Killed):
        fit(network(), train, None, run(), ("test", 0), checkpoint=file, seconds_between_checkpoints=0, progress=killer(2))
    content = checkpoints.load(file)
    assert content["epoch"] == 2
    assert [row["epoch"] for row in content["history"]] == [1, 2]


INVARIANCE = {"kind": "invariance", "group": "rotations:4", "distance": "logit", "weight": 1.0}


def chosen(**training):
    fixed = {"keep": "best_validation", "optimiser": "adam", "schedule": "constant", "weight_decay": 0}
    return run(INVARIANCE, ["rotations:4"], **(fixed | training))


def test_the_weights_of_the_best_validation_accuracy_are_kept(train, validation):
    settings, model = chosen(epochs=12, snapshots=list(range(1, 13)), learning_rate=0.05), network()
    result = fit(model, train, validation, settings, ("test", 0))
    accuracies = result.history.validation_accuracy
    assert accuracies.notna().all() and accuracies.nunique() > 1
    assert result.kept_epoch == accuracies.idxmax() + 1 < 12  # the first of the best
    assert accuracy(model, validation.images, validation.labels) == accuracies.max()
    assert all(torch.equal(tensor, result.snapshots[result.kept_epoch][name]) for name, tensor in weights.state(model).items())


def test_a_killed_training_keeps_the_best_weights_of_before(train, validation, tmp_path):
    settings, whole, file = chosen(epochs=12, learning_rate=0.05), network(), tmp_path / "side.pt"
    expected = fit(whole, train, validation, settings, ("test", 0))
    options = {"checkpoint": file, "seconds_between_checkpoints": 0, "progress": killer(expected.kept_epoch + 1)}
    with pytest.raises(Killed):
        fit(network(), train, validation, settings, ("test", 0), **options)
    resumed = network(seed=1)
    found = fit(resumed, train, validation, settings, ("test", 0), checkpoint=file)
    assert found.resumed_from_epoch == found.kept_epoch + 1 == expected.kept_epoch + 1
    assert bytes_of(resumed) == bytes_of(whole)
    assert found.history.equals(expected.history)


def test_nothing_to_choose_weights_by(train):
    with pytest.raises(GeedError, match=r"run 'tiny': expected validation images, .*found none"):
        fit(network(), train, None, chosen(), ("test", 0))


def test_adam_at_a_constant_rate_is_a_plain_loop(train):
    from geed import seeds

    settings = {"optimiser": "adam", "schedule": "constant", "weight_decay": 0, "epochs": 2, "learning_rate": 0.01}
    ours, theirs = network(), network()
    fit(ours, train, None, run(augmentation=(), **settings), ("test", 0))
    optimiser = torch.optim.Adam(theirs.parameters(), lr=0.01)
    for epoch in (1, 2):
        order = torch.randperm(50, generator=seeds.generator("test", 0, "order", epoch))
        for rows in order[:48].split(16):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(theirs(train.images[rows]), train.labels[rows]).backward()
            optimiser.step()
    for name, tensor in weights.state(ours).items():
        torch.testing.assert_close(tensor, weights.state(theirs)[name])


def test_a_regularised_network_is_more_invariant_whatever_its_kind(train):
    from geed import groups

    group, deviations = groups.rotations(4), {}
    for architecture in (PLAIN, {"kind": "perceptron", "hidden": 16, "layers": 2}):
        for weight in (1e-6, 10.0):
            model = network(architecture)
            fit(model, train, None, run(INVARIANCE | {"weight": weight}, ["rotations:4"], epochs=20), ("test", 0))
            with torch.no_grad():
                logits = [model(group.act(k, train.images)) for k in range(4)]
            deviations[weight] = sum((moved - logits[0]).square().sum() for moved in logits).item()
        assert deviations[10.0] < 0.2 * deviations[1e-6]
