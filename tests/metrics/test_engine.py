"""One pass: batches, hooks, flags, repeated calls, actions, and sentences for bad input."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import geed
from geed import compat, groups
from geed.errors import GeedError
from geed.metrics.engine import COLUMNS, measure
from geed.metrics.registry import NAMES, parse

GROUP = groups.rotations(4)
GRADIENT_FREE = [name for name in NAMES if parse(name).reads not in ("images", "action")]


def images(n=6, channels=2, side=8, dtype=torch.float32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0)).to(dtype)


def run(model, x, metrics=("channel_eed",), group=GROUP, **options):
    return measure(model, x, group=group, metrics=metrics, **({"device": "cpu"} | options))


def test_the_public_entry_is_this_one():
    assert geed.measure is measure


def test_table_has_the_fixed_columns_and_one_row_per_metric_and_layer(networks):
    table = run(networks.small(), images(), ["channel_eed", "output_eed/kl", "consistency"], layers=["4", "0"])
    assert list(table.columns) == COLUMNS
    assert list(zip(table.metric, table.distance, table.layer, strict=True)) == [
        ("channel_eed", "cosine", "4"),
        ("channel_eed", "cosine", "0"),
        ("output_eed", "kl", ""),
        ("consistency", "", ""),
    ]
    assert set(table.group) == {"rotations:4"} and set(table.n_images) == {6} and set(table.n_elements) == {4}
    assert run(networks.small(), images(), "channel_eed/cosine", layers="0").equals(run(networks.small(), images(), layers=["0"]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_results_do_not_depend_on_the_batch_size_or_on_how_images_come(networks, dtype):
    model, x, labels = networks.small().to(dtype), images(11, dtype=dtype), torch.arange(11) % 4
    tables = [run(model, x, GRADIENT_FREE, labels=labels, batch_size=size) for size in (1, 8, 20, 999)]
    tables.append(run(model, list(zip(x.split(3), labels.split(3), strict=True)), GRADIENT_FREE, batch_size=8))
    tables.append(run(model, iter(x.split(4)), GRADIENT_FREE, labels=labels))
    # In float32 the network's own matrix products round differently for different batches.
    tolerance = 1e-9 if dtype == torch.float64 else 1e-6
    for table in tables[1:]:
        assert np.allclose(table.value, tables[0].value, rtol=tolerance, atol=0, equal_nan=True)
        assert np.allclose(table.se, tables[0].se, rtol=1e-6 if dtype == torch.float64 else 1e-3, atol=1e-12, equal_nan=True)


def test_float32_maps_themselves_are_reduced_alike_in_any_batch(networks):
    class Maps(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.Identity()

        def forward(self, x):
            return self.maps(x).flatten(1)

    x = torch.rand(9, 7, 17, 17) + 0.2
    metrics = ["channel_eed", "feature_correlation"]
    for side in (17, 4):
        tables = [run(Maps(), x[..., :side, :side], metrics, batch_size=size) for size in (4, 12, 999)]
        for table in tables[1:]:
            assert np.allclose(table.value, tables[0].value, rtol=1e-9, atol=0)


def test_per_image_values_are_in_order_and_average_to_the_value(networks):
    x = images(7)
    table = run(networks.small(), x, GRADIENT_FREE, labels=torch.zeros(7, dtype=torch.long), batch_size=8, per_image=True)
    for row in table.itertuples():
        if math.isnan(row.value):
            assert row.values is None and row.note and row.n_images == 0
        else:
            assert row.values.dtype == np.float32 and row.values.shape == (7,)
            assert row.values.mean() == pytest.approx(row.value, abs=1e-5)
    backwards = run(networks.small(), x.flip(0), ["logit_invariance"], per_image=True)
    assert backwards["values"][0] == pytest.approx(table[table.metric == "logit_invariance"]["values"].item()[::-1], rel=1e-5)


def test_each_orbit_element_goes_through_the_network_once(networks):
    model, seen = networks.small(), []
    model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    run(model, images(10), GRADIENT_FREE, labels=torch.zeros(10, dtype=torch.long), batch_size=16)
    assert seen == [16, 16, 8]


def test_progress_is_told_of_every_image(networks):
    done = []
    run(networks.small(), images(10), batch_size=16, progress=done.append)
    assert done == [4, 4, 2]


def test_an_in_place_layer_that_follows_does_not_spoil_what_was_seen(networks):
    overwritten, kept = networks.small(), networks.small()
    kept[2] = nn.ReLU(inplace=False)
    found = [run(model, images(), layers=["1", "2"]).value.tolist() for model in (overwritten, kept)]
    assert found[0] == found[1] and found[0][0] != found[0][1]


class Twice(nn.Module):
    """Calls its activation twice, its spare layer never."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.spare = nn.Conv2d(2, 3, 3), nn.Conv2d(3, 3, 3), nn.Conv2d(2, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.second(self.relu(self.first(x)))).mean((-2, -1))


def test_modules_called_twice_are_two_layers_and_modules_never_called_are_reported():
    torch.manual_seed(0)
    model = Twice()
    table = run(model, images()).set_index("layer")
    assert list(table.index) == ["first", "second", "spare", "relu", "relu#2"]
    assert table.value["relu"] != table.value["relu#2"]
    assert math.isnan(table.value["spare"]) and "never calls" in table.note["spare"]


def test_layers_that_cannot_be_measured_say_why(networks):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.pair, self.head = nn.Identity(), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.pair((x, x))[0].mean((1, 2)))

    table = run(Odd(), images(), ["channel_eed", "latent_eed/l2"]).set_index(["metric", "layer"])
    assert "tuple of 2 tensors" in table.note["channel_eed", "pair"]
    assert "vector of 2 numbers" in table.note["channel_eed", "head"]
    assert table.value["latent_eed", "head"] > 0 and table.note["latent_eed", "head"] == ""
    table = run(networks.small(), images(), ["latent_eed/l2"], layers=["0"])
    assert table.note[0].startswith("needs a vector (N, D); the output is a map of shape (5, 8, 8)")


def test_any_module_can_be_a_layer_not_only_leaves():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), nn.Flatten(), nn.Linear(108, 2))
    table = run(model, images(), layers=["0", "0.1"])
    assert table.value[0] == table.value[1]


def flags(model):
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was_whatever_happens(networks, fails):
    model = networks.small()
    model.train()
    model[1].eval()
    before, statistics = flags(model), model[1].running_mean.clone()
    own = model[0].register_forward_hook(lambda module, inputs, result: None)

    def fail(module, inputs, result):
        raise RuntimeError("broken")

    handle = model[4].register_forward_hook(fail) if fails else None
    if fails:
        with pytest.raises(GeedError, match=r"forward pass fails on images of shape .*: broken"):
            run(model, images())
        handle.remove()
    else:
        run(model, images())
    assert flags(model) == before and any(before) and not all(before)
    assert list(model[0]._forward_hooks) == [own.id]
    assert all(not module._forward_hooks for module in list(model.modules())[2:])
    assert torch.equal(model[1].running_mean, statistics)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_hooks_are_removed_when_the_model_raises_something_of_its_own(networks):
    class Own(Exception):
        pass

    def fail(module, inputs, result):
        raise Own

    model = networks.small()
    handle = model[4].register_forward_hook(fail)
    with pytest.raises(Own):
        run(model, images())
    handle.remove()
    assert all(not module._forward_hooks for module in model.modules()) and model.training


def test_the_mode_is_eval_and_without_gradients(networks):
    model, seen = networks.small(), []
    model.register_forward_pre_hook(lambda module, inputs: seen.append((module.training, torch.is_grad_enabled())))
    run(model, images())
    assert set(seen) == {(False, False)}


def test_steerable_networks_are_left_as_they_were():
    compat.import_e2cnn()
    from e2cnn import gspaces
    from e2cnn import nn as enn

    class Steerable(nn.Module):
        def __init__(self):
            super().__init__()
            space = gspaces.Rot2dOnR2(4)
            self.inputs = enn.FieldType(space, [space.trivial_repr])
            self.convolution = enn.R2Conv(self.inputs, enn.FieldType(space, [space.regular_repr]), 3)

        def forward(self, x):
            return self.convolution(enn.GeometricTensor(x, self.inputs)).tensor.mean((-2, -1))

    model = Steerable().train()
    keys = set(model.state_dict())
    run(model, images(channels=1), ["field_eed"])
    assert model.training and model.convolution.training
    assert set(model.state_dict()) == keys  # e2cnn keeps its expanded filters in the state only in eval mode


def test_eed_with_an_action_of_ones_own_is_eq_4(networks):
    model, x, group = networks.small().double().eval(), images(4, dtype=torch.float64), groups.dihedral(4)

    def sign(k, y):  # kernel: the four rotations
        return y if k < 4 else -y

    def pixels(k, y):  # faithful
        return group.act(k, y)

    actions = {"": sign, "0": pixels, "6": lambda k, y: y}
    table = run(model, x, ["eed/l2", "eed/cosine"], group, actions=actions, layers=[], batch_size=16).set_index(
        ["distance", "layer"]
    )
    logits = torch.stack([model(group.act(k, x)).detach() for k in range(8)])
    hat = logits[:4].mean(0)
    expected = torch.stack([(logits[k] - sign(k, hat)).norm(dim=-1) for k in range(8)]).mean()
    assert table.value["l2", ""] == pytest.approx(float(expected))
    expected = torch.stack([-torch.cosine_similarity(logits[k], sign(k, hat)) for k in range(8)]).mean()
    assert table.value["cosine", ""] == pytest.approx(float(expected))
    convolution = [model[0](group.act(k, x)).detach() for k in range(8)]
    expected = torch.stack([(convolution[k] - pixels(k, convolution[0])).flatten(1).norm(dim=1) for k in range(8)]).mean()
    assert table.value["l2", "0"] == pytest.approx(float(expected))
    invariance = run(model, x, ["latent_eed/l2", "latent_eed/cosine"], group, layers=["6"])
    assert [table.value["l2", "6"], table.value["cosine", "6"]] == pytest.approx(invariance.value.tolist())


def test_actions_that_are_none_are_refused(networks):
    for action, message in [
        (lambda k, y: y + k, "not one of rotations:4"),
        (lambda k, y: y[:, :1], "must keep the shape"),
        (lambda k, y: y @ torch.zeros(2, 2, dtype=torch.float64), "fails on an output of shape"),
    ]:
        with pytest.raises(GeedError, match=message):
            run(networks.small(), images(), ["eed/l2"], actions={"": action})
    with pytest.raises(GeedError, match="needs `actions`"):
        run(networks.small(), images(), ["eed/l2"])
    with pytest.raises(GeedError, match="no module '77'"):
        run(networks.small(), images(), ["eed/l2"], actions={"77": lambda k, y: y})


class Spoiled(nn.Module):
    """Puts one number into the output of its layer for the images that are marked by a large corner."""

    def __init__(self, number):
        super().__init__()
        self.layer, self.number = nn.Conv2d(2, 3, 1), number
        self.layer.register_forward_hook(self.spoil)

    def spoil(self, module, inputs, result):
        marked = inputs[0][:, 0].amax((-2, -1)) > 5
        result[marked, 0, 1, 1] = self.number
        return result

    def forward(self, x):
        return self.layer(x).nan_to_num(0, 0, 0).mean((-2, -1))


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", ["channel_eed", "feature_correlation", "field_eed"])
@pytest.mark.parametrize("side", [3, 8])
def test_nan_and_infinity_in_a_layer_are_an_error_that_names_it(number, metric, side):
    x = images(6, side=side)
    x[4, 0, 0, 0] = 6.0
    with pytest.raises(GeedError, match=r"layer 'layer' holds NaN, infinity, .*first at image 4"):
        run(Spoiled(number), x, [metric], batch_size=8)


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("metric", [name for name in GRADIENT_FREE if parse(name).reads in ("logits", "vector")])
def test_nan_and_infinity_in_vectors_and_logits_are_errors(networks, number, metric):
    model, where = networks.small(), "the model's output" if parse(metric).reads == "logits" else "layer '7'"
    with torch.no_grad():
        model[7].bias[1] = number
    with pytest.raises(GeedError, match=f"{where} holds NaN"):
        run(model, images(), [metric], layers=["7"], labels=torch.zeros(6, dtype=torch.long))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(2, 8, 8), r"expected shape \(N, C, H, W\); found \(2, 8, 8\)"),
        (torch.zeros(2, 2, 8, 8, dtype=torch.uint8), "floating point in .*found uint8"),
        (torch.rand(2, 2, 8, 8) * 255, "expected values in .*found"),
        (torch.full((2, 2, 8, 8), math.nan), "found NaN or infinity"),
        (torch.zeros(0, 2, 8, 8), "found none to measure"),
        (torch.zeros(2, 2, 0, 8), "at least one channel, row and column"),
        ([], "found none to measure"),
        (torch.rand(2, 2, 8, 6), "must be square; found 8×6"),
        ([np.zeros((2, 2, 8, 8))], "found a ndarray"),
        ([(1, 2, 3)], r"expected batches \(images, labels\); found a tuple of 3"),
        ("folder", "found a str"),
        (None, "found a NoneType"),
        (torch.rand(2, 3, 8, 8), "forward pass fails on images of shape"),
    ],
)
def test_bad_images(networks, x, message):
    with pytest.raises(GeedError, match=message):
        run(networks.small(), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["chanel_eed"]}, "did you mean 'channel_eed/cosine'"),
        ({"metrics": ["latent_eed"]}, "unknown metric 'latent_eed'.*latent_eed/l2"),
        ({"metrics": ["output_eed/kll"]}, "did you mean 'output_eed/kl'"),
        ({"metrics": ["accuracy/"]}, "unknown metric 'accuracy/'"),
        ({"metrics": []}, "no metrics given"),
        ({"layers": ["00"]}, "no module '00'; did you mean '0'"),
        ({"layers": [""]}, "no module ''"),
        ({"metrics": ["accuracy"]}, "needs labels"),
        ({"metrics": ["accuracy"], "labels": torch.zeros(5, dtype=torch.long)}, "one per image, found 5 for more"),
        ({"metrics": ["accuracy"], "labels": torch.zeros(7, dtype=torch.long)}, "found 7 for 6 images"),
        ({"metrics": ["accuracy"], "labels": torch.zeros(6)}, r"integers \(N,\); found float32 of shape \(6,\)"),
        ({"batch_size": 0}, "batch_size: expected a positive integer; found 0"),
        ({"device": "tpu9"}, "device 'tpu9' cannot be used"),
        ({"group": "rotations:4"}, "expected a group such as"),
        ({"null": "untrained"}, "expected None or 'shuffled'"),
        ({"null": "shuffled", "metrics": ["saliency_similarity"]}, "no shuffled null"),
    ],
)
def test_bad_arguments(networks, options, message):
    with pytest.raises(GeedError, match=message):
        run(networks.small(), images(), **options)


def test_bad_labels_in_batches_and_shuffled_batches(networks):
    with pytest.raises(GeedError, match="batch of 6 images came with 5 labels"):
        run(networks.small(), [(images(), torch.zeros(5, dtype=torch.long))], ["accuracy"])
    with pytest.raises(GeedError, match="as one tensor, of at least two"):
        run(networks.small(), [images()], null="shuffled")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Identity(), r"expected logits \(N, K\) for N images; found shape \(24, 2, 8, 8\)"),
        (nn.Flatten(0), r"found shape \(3072,\)"),
        (nn.Sequential(nn.Flatten(), nn.LSTM(128, 2)), "found a tuple"),
        ("resnet18", "expected a torch.nn.Module; found a str"),
    ],
)
def test_models_that_do_not_return_logits(model, message):
    with pytest.raises(GeedError, match=message):
        run(model, images(), ["output_eed/kl"])


def test_feature_extractors_are_fine_where_no_metric_reads_logits():
    table = run(nn.Sequential(nn.Conv2d(2, 3, 3)), images())
    assert table.value[0] < 0


def test_images_are_given_in_the_models_own_type(networks):
    assert run(networks.small().double(), images()).value.notna().any()
    assert run(networks.small().bfloat16(), images(), layers=["0"]).value[0] < 0


def test_peak_memory_does_not_hold_outputs(networks):
    """What a hook has seen can be freed: no reference to a layer's output is left after the pass."""
    import gc
    import weakref

    model, alive = networks.small(), []
    model[0].register_forward_hook(lambda module, inputs, result: alive.append(weakref.ref(result)))
    run(model, iter(images(12).split(2)), GRADIENT_FREE, labels=torch.zeros(12, dtype=torch.long), batch_size=8)
    gc.collect()
    assert len(alive) == 6 and all(reference() is None for reference in alive)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(networks):
    model, x, labels = networks.small(), images(9, side=17), torch.zeros(9, dtype=torch.long)
    tables = [run(model, x, GRADIENT_FREE, labels=labels, device=device) for device in ("cpu", "cuda")]
    assert np.allclose(tables[0].value, tables[1].value, atol=1e-5, equal_nan=True)
    assert next(model.parameters()).device.type == "cpu"


class Crowded(nn.Sequential):
    """A network on a GPU that holds so many images at once."""

    holds = 12

    def forward(self, x):
        if len(x) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(x)


def test_out_of_gpu_memory_it_starts_over_with_half_the_batch_and_says_so(networks):
    model, x, labels = networks.small(), images(9), torch.zeros(9, dtype=torch.long)
    crowded = Crowded(*model)
    with pytest.warns(UserWarning, match="out of GPU memory: starting over with batch_size=") as warned:
        found = run(crowded, x, GRADIENT_FREE, labels=labels, batch_size=32)
    assert [str(entry.message)[-2:] for entry in warned] == ["16", "=8"]
    expected = run(model, x, GRADIENT_FREE, labels=labels, batch_size=8)
    assert np.allclose(found.value, expected.value, rtol=1e-6, atol=1e-9, equal_nan=True)
    crowded.holds = 4
    with pytest.warns(UserWarning, match="out of GPU memory"):
        lie = geed.lie_derivative(crowded.double(), x.double(), transforms=["translation_x"], batch_size=64, device="cpu")
    whole = geed.lie_derivative(model.double(), x.double(), transforms=["translation_x"], batch_size=8, device="cpu")
    assert np.allclose(lie.value, whole.value, rtol=1e-9)


def test_out_of_gpu_memory_for_good_is_a_sentence(networks):
    crowded = Crowded(*networks.small())
    with pytest.raises(GeedError, match="the GPU's memory does not hold batch_size=32; give half of it"):
        run(crowded, iter(images(9).split(9)), batch_size=32)
    crowded.holds = 0
    with pytest.raises(GeedError, match="the GPU's memory does not hold the network and one image"):
        run(crowded, images(9), batch_size=1)
