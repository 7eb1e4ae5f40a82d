"""Every metric against a plain double loop in float64, against closed forms, and against other libraries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine as scipy_cosine
from scipy.special import rel_entr, softmax
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score
from torch import nn

from geed import groups
from geed.metrics import channelwise, latent, output
from geed.metrics.controls import floor, untrained
from geed.metrics.engine import measure
from geed.metrics.registry import NAMES, parse

NAMES_WITHOUT_ACTION = [name for name in NAMES if not name.startswith("eed/")]


def table(model, images, group, metrics=NAMES_WITHOUT_ACTION, **options):
    """(metric, layer) -> value."""
    group = groups.parse(group) if isinstance(group, str) else group
    options = {"labels": torch.zeros(len(images), dtype=torch.long), "device": "cpu"} | options
    rows = measure(model, images, group=group, metrics=metrics, **options)
    return {(f"{row.metric}/{row.distance}" if row.distance else row.metric, row.layer): row for row in rows.itertuples()}


def outputs_of(model, images, layer):
    """A layer's output, detached from whatever comes after."""
    kept = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, inputs, result: kept.append(result.clone()))
    with torch.no_grad():
        model.eval()(images)
    handle.remove()
    return kept[0]


def cos(a, b):
    a, b = a.flatten(), b.flatten()
    if a.norm() == 0 or b.norm() == 0:
        return float(a.norm() == b.norm())
    return float(a @ b / (a.norm() * b.norm()))


def reference(metric, model, images, group, layer, labels):
    """The definition, one image and one element at a time."""
    elements = range(group.order)
    read = lambda x: outputs_of(model, x[None], layer)[0] if layer else model.eval()(x[None])[0].detach()  # noqa: E731
    per_image = []
    orbits = [[read(group.act(g, x)) for g in elements] for x in images]
    for i, orbit in enumerate(orbits):
        probabilities = [torch.softmax(y, 0) for y in orbit] if orbit[0].ndim == 1 else None
        mean = sum(orbit) / len(orbit)
        scores = []
        for g in elements:
            y, moved = orbit[g], group.act(g, orbit[0]) if orbit[0].ndim == 3 else None
            if metric in ("channel_eed/cosine", "field_eed/cosine"):
                scores.append(-sum(cos(y[c], moved[c]) for c in range(len(y))) / len(y))
            elif metric == "feature_correlation":
                scores.append(sum(cos(y[c] - y[c].mean(), moved[c] - moved[c].mean()) for c in range(len(y))) / len(y))
            elif metric == "latent_eed/cosine":
                scores.append(-cos(y, mean))
            elif metric == "latent_eed/one_minus_cosine":
                scores.append(1 - cos(y, mean))
            elif metric == "latent_eed/normalized_cosine":
                pairs = [cos(a[0], b[0]) for n, a in enumerate(orbits) for m, b in enumerate(orbits) if n != m]
                scores.append(-cos(y, mean) / (sum(pairs) / len(pairs)))
            elif metric == "latent_eed/l2":
                scores.append(float((y - mean).norm()))
            elif metric.startswith("relative_invariance"):
                if g == 0:
                    continue
                d = (lambda a, b: 1 - cos(a, b)) if metric.endswith("cosine") else (lambda a, b: float((a - b).square().sum()))
                others = [
                    d(a[0], b[h])
                    for n, a in enumerate(orbits)
                    for m, b in enumerate(orbits)
                    for h in elements
                    if n != m and h != 0
                ]
                null = sum(others) / len(others)
                scores.append((null - d(orbit[0], y)) / null)
            elif metric.startswith("output_eed"):
                p, centre = probabilities[g], sum(probabilities) / len(probabilities)
                scores.append(
                    {
                        "kl": float((p * (p.log() - centre.log())).sum()),
                        "cosine": -cos(p, centre),
                        "one_minus_cosine": 1 - cos(p, centre),
                        "l2": float((p - centre).norm()),
                    }[metric.partition("/")[2]]
                )
            elif metric == "predictive_invariance":
                p, q = probabilities[0], probabilities[g]
                scores.append(float((p * (p.log() - q.log())).sum()))
            elif metric == "logit_invariance":
                scores.append(float((orbit[0] - y).square().sum()) / 2)
            elif metric == "effective_invariance":
                p, q, best = probabilities[0], probabilities[g], int(orbit[0].argmax())
                scores.append(float((p[best] * q[best]).sqrt()) if int(y.argmax()) == best else 0.0)
            elif metric == "consistency":
                scores.append(float(y.argmax() == orbit[0].argmax()))
            elif metric == "accuracy":
                scores = [float(orbit[0].argmax() == labels[i])]
        per_image.append(sum(scores) / len(scores))
    return per_image


MAP = ["channel_eed/cosine", "field_eed/cosine", "feature_correlation"]
VECTOR = [name for name in NAMES if name.startswith(("latent_eed", "relative"))]
LOGITS = [n for n in NAMES if parse(n).reads == "logits"]
CASES = [(m, layer) for m in MAP for layer in ("0", "1", "2", "4")] + [(m, "6") for m in VECTOR] + [(m, "") for m in LOGITS]


@pytest.mark.parametrize("spec", ["rotations:4", "dihedral:4", "translations:x=3,y=2", "reflections"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_metric_is_its_definition(networks, spec, dtype):
    model, group = networks.small().to(dtype), groups.parse(spec)
    images, labels = torch.rand(5, 2, 12, 12, generator=torch.Generator().manual_seed(1)).to(dtype), torch.tensor([0, 1, 2, 3, 0])
    metrics = [name for name in NAMES_WITHOUT_ACTION if parse(name).reads != "images"]
    found = table(model, images, group, metrics, labels=labels, batch_size=2 * group.order, per_image=True)
    exact = model.double()
    for metric, layer in CASES:
        expected = torch.tensor(reference(metric, exact, images.double(), group, layer, labels), dtype=torch.float64)
        row, tolerance = found[metric, layer], 1e-9 if dtype == torch.float64 else 2e-6
        where = f"{metric} of layer '{layer}'"
        assert row.value == pytest.approx(float(expected.mean()), abs=tolerance, rel=tolerance), where
        assert row.se == pytest.approx(float(expected.std() / math.sqrt(5)), abs=max(tolerance, 1e-8), rel=1e-4), where
        assert row.values == pytest.approx(expected.numpy(), abs=5e-6, rel=1e-5), where
        assert (row.n_images, row.n_elements) == (5, group.order - metric.startswith("relative")), where


@settings(max_examples=40, deadline=None)
@given(
    spec=st.sampled_from(["trivial", "rotations:2", "rotations:4", "reflections", "dihedral:4", "translations:x=2,y=2"]),
    n=st.integers(1, 5),
    channels=st.integers(1, 9),
    half=st.integers(1, 9),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    offset=st.sampled_from([0.0, 1.0, -30.0]),
    last=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_channelwise_matches_a_loop_for_any_shape_type_and_layout(spec, n, channels, half, dtype, offset, last, seed):
    group = groups.parse(spec)
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(group.order, n, channels, 2 * half, 2 * half, generator=generator, dtype=torch.float64) + offset
    maps = maps.to(dtype)
    maps[:, :, 0] *= seed % 2  # a dead channel
    if last:
        maps = maps.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    found = channelwise.measure(maps, group, MAP_NAMES)
    exact = maps.double()
    for i in range(n):
        cosines, correlations = [], []
        for g in range(group.order):
            for c in range(channels):
                a, b = exact[g, i, c], group.act(g, exact[0, i, c])
                cosines.append(cos(a, b))
                correlations.append(cos(a - a.mean(), b - b.mean()))
        tolerance = 1e-9 if dtype == torch.float64 else 2e-4 if offset == -30 else 5e-6
        assert float(found["channel_eed"][i]) == pytest.approx(-sum(cosines) / len(cosines), abs=5e-6)
        assert float(found["feature_correlation"][i]) == pytest.approx(sum(correlations) / len(correlations), abs=tolerance)
        assert -1 <= float(found["channel_eed"][i]) <= 1


MAP_NAMES = ["channel_eed", "field_eed", "feature_correlation"]


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 9),
    k=st.integers(1, 6),
    images=st.integers(1, 4),
    scale=st.sampled_from([0.1, 3.0, 300.0]),
    seed=st.integers(0, 99),
)
def test_kl_is_the_jensen_shannon_divergence_and_at_most_log_n(n, k, images, scale, seed):
    orbit = torch.randn(n, images, k, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * scale
    divergence = output.eed_kl(orbit[0], orbit)
    p = orbit.softmax(-1)
    entropy = lambda q: -torch.special.xlogy(q, q).sum(-1)  # noqa: E731
    assert torch.allclose(divergence, entropy(p.mean(0)) - entropy(p).mean(0), atol=1e-9)
    assert (divergence >= -1e-12).all() and (divergence <= math.log(n) + 1e-12).all()


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 6), dim=st.integers(1, 7), seed=st.integers(0, 99))
def test_mean_cosine_to_the_mean_direction_is_the_length_of_the_mean(n, dim, seed):
    units = torch.nn.functional.normalize(
        torch.randn(n, 3, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)), dim=-1
    )
    lengths = units.mean(dim=0).norm(dim=-1)
    if (lengths > 1e-9).all():
        assert torch.allclose(-latent.eed_cosine(units), lengths, atol=1e-12)


def test_against_other_libraries():
    rng = torch.Generator().manual_seed(3)
    orbit = torch.randn(4, 6, 5, dtype=torch.float64, generator=rng)
    p = softmax(orbit.numpy(), axis=-1)
    assert output.eed_kl(orbit[0], orbit).numpy() == pytest.approx(rel_entr(p, p.mean(0)).sum(-1).mean(0))
    assert output.predictive_invariance(orbit[0], orbit).numpy() == pytest.approx(rel_entr(p[0], p).sum(-1).mean(0))
    assert float(latent.eed_one_minus_cosine(orbit)[2]) == pytest.approx(
        sum(scipy_cosine(orbit[g, 2], orbit[:, 2].mean(0)) for g in range(4)) / 4
    )
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    assert float(output.accuracy(orbit[0], labels).mean()) == pytest.approx(accuracy_score(labels, p[0].argmax(-1)))
    maps, group = torch.randn(2, 1, 1, 6, 6, dtype=torch.float64, generator=rng), groups.reflections()
    expected = pearsonr(maps[1].flatten(), maps[0].flip(-1).flatten()).statistic
    found = channelwise.measure(maps, group, ["feature_correlation"])["feature_correlation"]
    assert float(found) == pytest.approx((1 + expected) / 2)


PERFECT = {
    "channel_eed/cosine": -1,
    "field_eed/cosine": -1,
    "feature_correlation": 1,
    "latent_eed/cosine": -1,
    "latent_eed/one_minus_cosine": 0,
    "latent_eed/l2": 0,
    "relative_invariance/cosine": 1,
    "relative_invariance/l2": 1,
    "output_eed/kl": 0,
    "output_eed/cosine": -1,
    "output_eed/one_minus_cosine": 0,
    "output_eed/l2": 0,
    "predictive_invariance": 0,
    "logit_invariance": 0,
    "consistency": 1,
}


@pytest.mark.parametrize("spec", ["rotations:4", "dihedral:4", "reflections", "translations:x=3"])
def test_an_equivariant_network_scores_perfectly(networks, spec):
    images = torch.rand(3, 2, 9, 9, dtype=torch.float64)
    found = table(networks.equivariant().double(), images, spec)
    for (metric, layer), row in found.items():
        if not math.isnan(row.value) and metric in PERFECT:
            assert row.value == pytest.approx(PERFECT[metric], abs=1e-7), (metric, layer)
    measured = {layer for (metric, layer), row in found.items() if metric == "channel_eed/cosine" and not math.isnan(row.value)}
    assert measured == {"0", "1", "2", "3"}
    assert found["saliency_similarity", ""].value > 0.999


def test_a_constant_network_is_perfectly_invariant_and_says_so_where_there_is_nothing_to_compare(networks):
    found = table(
        networks.Constant(),
        torch.rand(4, 1, 6, 6),
        "rotations:4",
        ["output_eed/kl", "logit_invariance", "consistency", "accuracy"],
    )
    assert [row.value for row in found.values()] == pytest.approx([0, 0, 1, 0], abs=1e-12)
    features = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    with torch.no_grad():
        features[1].weight.zero_()
    found = table(
        features, torch.rand(4, 1, 6, 6), "rotations:4", ["relative_invariance/l2", "latent_eed/normalized_cosine"], layers=["1"]
    )
    assert math.isnan(found["relative_invariance/l2", "1"].value)
    assert "same features" in found["relative_invariance/l2", "1"].note
    assert found["latent_eed/normalized_cosine", "1"].value == pytest.approx(-1)


def test_the_identity_is_equivariant_and_its_pixels_are_not_invariant(networks):
    images = torch.rand(3, 1, 4, 4, dtype=torch.float64)
    found = table(networks.Pixels(), images, "rotations:4", ["channel_eed", "logit_invariance"])
    assert found["channel_eed/cosine", "identity"].value == pytest.approx(-1, abs=1e-12)
    moved = [torch.rot90(images, k, (-2, -1)) for k in range(4)]
    expected = sum(float((images - x).square().sum()) for x in moved) / 2 / 4 / 3
    assert found["logit_invariance", ""].value == pytest.approx(expected)


def test_field_eed_respects_declared_fields_and_channel_eed_charges_them():
    from geed import compat

    compat.import_e2cnn()
    from e2cnn import gspaces
    from e2cnn import nn as enn

    class Steerable(nn.Module):
        def __init__(self):
            super().__init__()
            space = gspaces.Rot2dOnR2(4)
            self.inputs = enn.FieldType(space, [space.trivial_repr])
            fields = enn.FieldType(space, [space.regular_repr] * 2)
            self.convolution = enn.R2Conv(self.inputs, fields, 3, padding=1)
            self.pool = enn.GroupPooling(fields)

        def forward(self, images):
            y = self.pool(self.convolution(enn.GeometricTensor(images, self.inputs)))
            return y.tensor.mean(dim=(-2, -1))

    torch.manual_seed(0)
    images, layers = torch.rand(3, 1, 9, 9), ["convolution", "pool"]
    found = table(
        Steerable(), images, "rotations:4", ["channel_eed", "field_eed", "feature_correlation", "output_eed/kl"], layers=layers
    )
    assert found["field_eed/cosine", "convolution"].value == pytest.approx(-1, abs=1e-5)
    assert found["channel_eed/cosine", "convolution"].value > -0.9
    for metric in ("field_eed/cosine", "channel_eed/cosine"):
        assert found[metric, "pool"].value == pytest.approx(-1, abs=1e-5)
    assert found["output_eed/kl", ""].value < 1e-10
    refused = table(Steerable(), images, "reflections", ["field_eed", "channel_eed"], layers=["convolution"])
    assert math.isnan(refused["field_eed/cosine", "convolution"].value)
    assert "do not contain the group reflections" in refused["field_eed/cosine", "convolution"].note
    assert refused["channel_eed/cosine", "convolution"].value < 0


def test_field_eed_with_fibres_that_are_not_permutations_matches_a_loop():
    from geed.groups.fields import Fibre

    group, generator = groups.rotations(4), torch.Generator().manual_seed(0)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    fibres = [Fibre(None, torch.linalg.matrix_power(turn, k)) for k in range(4)]
    maps = torch.randn(4, 3, 2, 6, 6, dtype=torch.float64, generator=generator) + 0.5
    for metrics in (["field_eed"], ["field_eed", "feature_correlation", "channel_eed"]):
        found = channelwise.measure(maps, group, metrics, fibres)["field_eed"]
        for i in range(3):
            expected = [
                cos(maps[k, i, c], fibres[k].act(group.act(k, maps[0, i])[None])[0, c]) for k in range(4) for c in range(2)
            ]
            assert float(found[i]) == pytest.approx(-sum(expected) / 8, abs=1e-12)


def test_interpolated_groups_compare_only_what_the_disc_keeps():
    group, generator = groups.rotations(8), torch.Generator().manual_seed(0)
    maps = torch.randn(8, 2, 3, 7, 7, dtype=torch.float64, generator=generator) + 1
    found = channelwise.measure(maps, group, MAP_NAMES)
    inside = group.act(0, torch.ones(7, 7)).bool()
    for i in range(2):
        cosines, correlations = [], []
        for g in range(8):
            for c in range(3):
                a, b = maps[g, i, c][inside], group.act(g, maps[0, i, c])[inside]
                cosines.append(cos(a, b))
                correlations.append(cos(a - a.mean(), b - b.mean()))
        assert float(found["channel_eed"][i]) == pytest.approx(-sum(cosines) / 24, abs=1e-12)
        assert float(found["feature_correlation"][i]) == pytest.approx(sum(correlations) / 24, abs=1e-12)


def test_sampled_groups_average_over_the_draws_only(networks):
    model, images, group = networks.small().double(), torch.rand(3, 2, 9, 9, dtype=torch.float64), groups.sampled_rotations(3)
    found = table(model, images, group, ["logit_invariance", "channel_eed"], layers=["0"])
    original = model.eval()(group.act(0, images)).detach()
    moved = [model(group.act(k, images)).detach() for k in (1, 2, 3)]
    expected = sum(float((original - y).square().sum()) for y in moved) / 2 / 3 / 3
    assert found["logit_invariance", ""].value == pytest.approx(expected)
    assert found["logit_invariance", ""].n_elements == 3
    assert found["channel_eed/cosine", "0"].value > -0.999


def test_empty_and_constant_channels():
    group = groups.rotations(2)
    empty, other = torch.zeros(4, 4), torch.rand(4, 4) + 0.1
    pairs = {"both": (empty, empty, -1.0), "one": (empty, other, 0.0), "other": (other, empty, 0.0)}
    for first, second, expected in pairs.values():
        maps = torch.stack([first, second])[:, None, None]
        found = float(channelwise.measure(maps, group, ["channel_eed"])["channel_eed"])
        # the identity's own cosine is 1
        assert found == pytest.approx((-1 + expected) / 2, abs=1e-6)
    maps = torch.stack([torch.full((4, 4), 0.3), torch.full((4, 4), 0.7)])[:, None, None]
    assert float(channelwise.measure(maps, group, ["feature_correlation"])["feature_correlation"]) == 1
    maps = torch.stack([torch.full((4, 4), 0.3), other])[:, None, None]
    assert float(channelwise.measure(maps, group, ["feature_correlation"])["feature_correlation"]) == pytest.approx(0.5)


def test_zero_vectors_agree_with_each_other_only():
    zero, one = torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    assert float(latent.eed_cosine(torch.stack([zero, zero]))) == -1
    assert float(latent.eed_cosine(torch.stack([one, -one]))) == 0  # the mean is the zero vector
    relative = latent.Relative("cosine")
    assert relative.add(torch.cat([zero, one]), torch.cat([zero, zero])[None]).tolist() == [0, 1]


def test_one_class():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    found = table(model, torch.rand(3, 1, 4, 4), "rotations:4", LOGITS)
    assert found["output_eed/kl", ""].value == 0
    assert found["consistency", ""].value == found["effective_invariance", ""].value == found["accuracy", ""].value == 1


def test_one_image(networks):
    found = table(networks.small(), torch.rand(1, 2, 8, 8), "rotations:4")
    assert found["channel_eed/cosine", "0"].value < 0 and math.isnan(found["channel_eed/cosine", "0"].se)
    for metric in ("relative_invariance/l2", "latent_eed/normalized_cosine"):
        assert math.isnan(found[metric, "6"].value) and "at least two images" in found[metric, "6"].note


def test_the_trivial_group(networks):
    found = table(networks.small(), torch.rand(3, 2, 8, 8), "trivial")
    for metric, best in PERFECT.items():
        row = found[metric, "0" if metric in MAP else "6" if metric in VECTOR else ""]
        if metric.startswith("relative"):
            assert math.isnan(row.value) and "other than the identity" in row.note
        else:
            assert row.value == pytest.approx(best, abs=1e-6)


def test_relative_invariance_of_unrelated_features_is_near_zero():
    generator = torch.Generator().manual_seed(0)
    for distance in ("cosine", "l2"):
        relative = latent.Relative(distance)
        own = relative.add(*(torch.randn(*shape, 32, dtype=torch.float64, generator=generator) for shape in ((400,), (3, 400))))
        assert abs(1 - float(own.mean()) / relative.null()) < 0.02


def test_shuffled_null_forgets_which_image_is_which(networks):
    images = torch.rand(12, 2, 9, 9, dtype=torch.float64)
    metrics = ["channel_eed", "relative_invariance/l2", "consistency"]
    own = table(networks.equivariant().double(), images, "rotations:4", metrics)
    model = networks.equivariant().double()
    shuffled = [table(model, images, "rotations:4", metrics, null="shuffled", batch_size=size) for size in (4, 13, 256)]
    assert own["relative_invariance/l2", "6"].value == pytest.approx(1)
    assert abs(shuffled[0]["relative_invariance/l2", "6"].value) < 0.5
    assert shuffled[0]["channel_eed/cosine", "0"].value > own["channel_eed/cosine", "0"].value + 0.01
    for key, row in shuffled[0].items():
        assert all(other[key].value == pytest.approx(row.value, rel=1e-9, nan_ok=True) for other in shuffled)


def test_floor_is_perfect_for_exact_groups_and_not_for_interpolated_ones():
    images = torch.rand(4, 1, 16, 16, dtype=torch.float64)
    metrics = ["channel_eed", "latent_eed/one_minus_cosine"]
    value = lambda spec, size: floor(images, groups.parse(spec), metrics, size).value.dropna().tolist()  # noqa: E731
    assert value("rotations:4", 8) == pytest.approx([-1, 0], abs=1e-9)
    assert value("translations:x=4", 8) == pytest.approx([-1, 0], abs=1e-9)
    interpolated = value("rotations:8", 8)
    assert -1 + 1e-6 < interpolated[0] < -0.98
    assert -1 + 1e-9 < value("translations:x=3", 8)[0] < -0.98


def test_untrained_copies_have_new_weights_and_leave_the_model_alone(networks):
    model = networks.small().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second, other = untrained(model), untrained(model), untrained(model, seed=1)
    assert not first.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(first[0].weight, second[0].weight) and not torch.equal(first[0].weight, other[0].weight)
    assert not torch.equal(first[0].weight, model[0].weight)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.arange(8.0))

    shuffled = untrained(Own()).scale
    assert not torch.equal(shuffled, torch.arange(8.0)) and torch.equal(shuffled.sort().values, torch.arange(8.0))


def test_untrained_steerable_networks_stay_equivariant():
    from geed import compat

    compat.import_e2cnn()
    from e2cnn import gspaces
    from e2cnn import nn as enn

    space = gspaces.Rot2dOnR2(4)
    inputs, fields = enn.FieldType(space, [space.trivial_repr]), enn.FieldType(space, [space.regular_repr])
    layer = enn.R2Conv(inputs, fields, 3, padding=1, bias=False).eval()
    copy, x = untrained(layer), torch.rand(1, 1, 5, 5)
    y, z = (network(enn.GeometricTensor(x, inputs)).tensor for network in (layer, copy))
    assert not torch.allclose(y, z)
    turned = copy(enn.GeometricTensor(torch.rot90(x, 1, (-2, -1)), inputs)).tensor
    assert torch.allclose(turned, torch.rot90(z, 1, (-2, -1)).roll(1, dims=1), atol=1e-5)
