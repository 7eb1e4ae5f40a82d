"""L1 to L3 on networks whose numbers are known."""

import numpy as np
import pytest

from geed.claims.gruver.l1 import TYPES
from geed.claims.gruver.zoo import slope
from geed.errors import GeedError

X, R = "translation_x", "rotation"


def network(world, run, accuracy, transforms=(X,), *, deviation=1.0, steps=(), parameters=1000.0, types=None):
    """`deviation`: a number, or one per transformation; `types`: type of layer -> its part of the layerwise deviation."""
    world.add(run, "accuracy", accuracy, sd=0.001, group="trivial", evaluation="lie")
    world.add(run, "parameters", parameters, sd=0, group="", evaluation="lie", final=False)
    for index, transform in enumerate(transforms):
        value = deviation if isinstance(deviation, float) else deviation[index]
        where = {"group": f"lie:{transform}", "evaluation": "lie"}
        world.add(run, "lie_derivative/mean_abs", value, sd=0.02 * value, **where)
        for step in steps:
            world.add(run, f"difference_quotient/{step}", value / (1 + float(step)), sd=0.02 * value, **where)
        for kind in TYPES if types else ():
            part = types.get(kind, 0.0)
            world.add(run, f"lie_layerwise/{kind}", part, sd=0.02 * part, **where)


STRIDED = {"activation": 0.3, "strided_convolution": 0.4, "convolution": 0.3}
L1 = [
    ({}, {"activation": 0.2, "pooling": 0.05, "convolution": 0.2}, "reproduced"),
    ({}, {"activation": 0.8, "pooling": 0.4, "convolution": 0.3}, "partly"),  # anti-aliasing makes it worse
    ({"convolution": 3.0}, {"activation": 0.2, "convolution": 0.2}, "partly"),  # most of it arises elsewhere
    ({"convolution": 3.0}, {"activation": 0.4, "convolution": 5.0}, "contradicted"),
    ({"convolution": 0.7}, {"activation": 0.7, "convolution": 0.7}, "inconclusive"),  # on both thresholds
]


@pytest.mark.parametrize(("strided", "blurred", "expected"), L1)
def test_l1(world, strided, blurred, expected):
    network(world, "strided", 0.9, types=STRIDED | strided)
    network(world, "blurred", 0.9, types=blurred)
    entry = {"transforms": [X], "networks": ["strided"], "strided": "strided", "anti_aliased": "blurred"}
    result, parts = world.decide("L1", comparisons={"digits": entry})
    assert result["verdict"] == expected
    share = 0.7 / sum((STRIDED | strided).values())
    assert result["estimate"] == pytest.approx(share, rel=0.03)
    change = parts[(parts["part"] == "change") & (parts["arm"] == "blurred")]["estimate"].item()
    assert change == pytest.approx(np.log(sum(blurred.values()) / sum((STRIDED | strided).values())), abs=0.03)
    layers = parts[(parts["part"] == "layerwise") & (parts["arm"] == "strided")]
    assert list(layers["layer"]) == list(TYPES) and layers["estimate"].sum() == pytest.approx(0.7 / share, rel=0.03)


def test_l1_counts_patches_as_strides_and_shows_the_share_without_them(world):
    """Published networks have no anti-aliased twin: there only the share is stated. Untrained ones give the null."""
    network(world, "vit", 0.9, types={"patch_embedding": 0.5, "activation": 0.1, "attention": 0.2})
    network(world, "strided", 0.9, types=STRIDED)
    network(world, "blurred", 0.9, types={"activation": 0.2, "convolution": 0.1})
    network(world, "random", 0.1, types={"activation": 0.01, "convolution": 0.03})
    twins = {"transforms": [X], "networks": ["strided"], "strided": "strided", "anti_aliased": "blurred", "untrained": ["random"]}
    published = {"transforms": [X], "networks": ["vit"]}
    result, parts = world.decide("L1", comparisons={"digits": twins, "published": published})
    assert result["verdict"] == "reproduced" and result["part_verdicts"][f"published, {X}"] == "reproduced"
    assert f"published, {X}: anti-aliasing" not in result["part_verdicts"]
    own = parts[parts["comparison"] == "published"].set_index("part")["estimate"]
    assert own["share_without_patches"] == pytest.approx(1 / 8, rel=0.05)
    assert result["estimate"] == pytest.approx((0.7 + 0.75) / 2, rel=0.03)
    assert result["floor"] == {"lie_layerwise": 0.0}
    assert result["null"] == {"lie_layerwise": pytest.approx(0.04, rel=0.05), "share": pytest.approx(0.25, rel=0.05)}
    result, _ = world.decide("L1", comparisons={"published": published})
    assert result["part_verdicts"][f"published, {X}: anti-aliasing"] == "inconclusive" and result["verdict"] == "partly"


FAMILIES = {"cnn": ["cnn_a", "cnn_b", "cnn_c", "cnn_d"], "vit": ["vit_a", "vit_b", "vit_c"], "mlp": ["mlp_a", "mlp_b", "mlp_c"]}


def families(world, slopes, offsets):
    """Families with a slope of log deviation on accuracy each, about an offset."""
    for family, runs in FAMILIES.items():
        for index, run in enumerate(runs):
            accuracy = 0.7 + 0.05 * index
            deviation = float(np.exp(offsets[family] + slopes[family] * (accuracy - 0.75)))
            network(world, run, accuracy, deviation=deviation, parameters=1000.0 * 2**index)
    network(world, "random", 0.1, deviation=0.125)
    return world.decide("L2", comparisons={"cifar": {"transforms": [X], "families": FAMILIES, "untrained": ["random"]}})


L2 = [
    ((-5, -5, -5), "reproduced"),
    ((5, 5, 5), "contradicted"),
    ((5, -5, -5), "partly"),  # in two of three families, but over all networks nothing is sure
]


@pytest.mark.parametrize(("slopes", "expected"), L2)
def test_l2(world, slopes, expected):
    result, parts = families(world, dict(zip(FAMILIES, slopes, strict=True)), dict.fromkeys(FAMILIES, 0.0))
    assert result["verdict"] == expected
    found = parts[parts["part"] == "family_slope"].set_index("role")["estimate"]
    assert [found[family] for family in FAMILIES] == pytest.approx(slopes, rel=0.1, abs=0.3)
    assert result["null"]["lie_derivative/mean_abs"] == pytest.approx(0.125, rel=0.05)
    assert result["floor"] == {"lie_derivative/mean_abs": 0.0}
    points = parts[parts["part"] == "deviation"]
    x, y = points["accuracy"].to_numpy(), np.log(points["estimate"].to_numpy())
    assert result["estimate"] == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-6)
    assert parts[(parts["part"] == "slope_parameters") & (parts["comparison"] == "all")]["estimate"].notna().all()


def test_l2_a_slope_that_few_networks_make_is_open(world):
    offsets = {"cnn": 0.0, "vit": 1.0, "mlp": -1.0}  # families differ more than the slope makes up for
    result, _ = families(world, dict.fromkeys(FAMILIES, -2), offsets)
    assert result["verdict"] == "partly" and result["part_verdicts"][f"cifar, {X}: over all networks"] == "inconclusive"


def test_slope_counts_points_as_often_as_they_were_drawn():
    x, y = np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [5.0]])
    assert slope(x, y)[0] == pytest.approx(np.polyfit(x[:, 0], y[:, 0], 1)[0])
    twice = slope(x, y, np.array([[2.0], [1.0], [0.0]]))
    assert twice[0] == pytest.approx(1.0)


ROLES = {"transformers": ["vit"], "cnns": ["cnn"], "untrained_transformers": ["vit_0"], "untrained_cnns": ["cnn_0"]}
L3 = [  # deviations under both transformations: trained ViT, CNN; untrained ViT, CNN
    ((0.5, 1.2), (1.0, 1.0), (1.0, 1.0), (0.9, 0.9), "reproduced"),  # one transformation is enough
    ((0.5, 0.5), (1.0, 1.0), (0.4, 0.4), (1.0, 1.0), "contradicted"),  # so were they before training
    ((1.5, 1.5), (1.0, 1.0), (1.0, 1.0), (0.9, 0.9), "contradicted"),
    ((1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.9, 0.9), "inconclusive"),
]


@pytest.mark.parametrize(("vit", "cnn", "vit_0", "cnn_0", "expected"), L3)
def test_l3(world, vit, cnn, vit_0, cnn_0, expected):
    for run, accuracy, deviation in (("vit", 0.9, vit), ("cnn", 0.91, cnn), ("vit_0", 0.1, vit_0), ("cnn_0", 0.1, cnn_0)):
        network(world, run, accuracy, (X, R), deviation=deviation, steps=("0.05", "0.2"))
    result, parts = world.decide("L3", comparisons={"cifar": {"transforms": [X, R], **ROLES}})
    assert result["verdict"] == expected
    assert result["estimate"] == pytest.approx(np.mean(np.log(np.array(vit) / cnn)), abs=0.03)
    assert result["null"]["lie_derivative/mean_abs"] == pytest.approx(np.mean([vit_0, cnn_0]), rel=0.05)
    finite = parts[(parts["part"] == "finite") & (parts["role"] == "transformers") & (parts["group"] == f"lie:{X}")]
    assert list(finite["epsilon"]) == [0.05, 0.2]
    assert np.exp(finite["estimate"].to_numpy()) == pytest.approx([vit[0] / 1.05, vit[0] / 1.2], rel=0.05)


def test_l3_compares_networks_of_like_accuracy_only(world):
    for run, accuracy, deviation in (("vit", 0.9, 0.5), ("cnn", 0.95, 1.0), ("vit_0", 0.1, 1.0), ("cnn_0", 0.1, 1.0)):
        network(world, run, accuracy, deviation=deviation)
    result, _ = world.decide("L3", comparisons={"cifar": {"transforms": [X], **ROLES}})
    assert result["verdict"] == "inconclusive" and result["estimate"] is None
    assert "no transformer is within 0.02" in result["notes"][0]


def test_a_transformation_that_was_not_measured_is_named(world):
    network(world, "strided", 0.9, types=STRIDED)
    entry = {"transforms": [R], "networks": ["strided"], "strided": "strided", "anti_aliased": "strided"}
    with pytest.raises(GeedError, match=r"lie_layerwise/activation.*no metric was measured under lie:rotation"):
        world.decide("L1", comparisons={"digits": entry})
