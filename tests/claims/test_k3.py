import numpy as np
import pytest
from synthetic import C4

from geed.errors import GeedError

METRICS = ["latent_eed/cosine", "output_eed/kl", "effective_invariance"]
COMPARISON = {
    "group": C4,
    "untrained": "untrained",
    "learned": ["augmented"],
    "hard_coded": ["steerable"],
    "weight_scaled": ["scaled"],
    "runs": ["plain", "augmented", "steerable", "untrained"],
}


def fill(world, *, learned=(0, 0, 0), hard_coded=(0, 0, 0), slope=0.0):
    """`learned` and `hard_coded`: how much more than the untrained network such networks deviate, by metric.

    Along training the accuracy of each rises from 0.5 to 0.9; `slope` is what the deviation does per unit of accuracy.
    """
    extra = {"untrained": (0, 0, 0), "scaled": (0.1, 0.1, 0.1), "plain": (0, 0, 0), "augmented": learned, "steerable": hard_coded}
    for number, (run, more) in enumerate(extra.items()):
        for epoch in [10] if run in ("untrained", "scaled") else [1, 5, 10]:
            accuracy = 0.1 if run == "untrained" else 0.46 + 0.04 * epoch + 0.005 * number
            where = {"epoch": epoch, "final": epoch == 10, "sd": 1e-3}
            world.add(run, "accuracy", accuracy, **where)
            for metric, shift in zip(METRICS, more, strict=True):
                turned = -1 if metric == "effective_invariance" else 1
                layer = {"layer": "features"} if metric.startswith("latent") else {}
                value = (slope * (accuracy - 0.5) if epoch < 10 else 0.0) + shift
                world.add(run, metric, turned * (0.5 + value), **layer, **where)


def decide(world, **given):
    return world.decide("K3", comparisons={"rotation": COMPARISON}, metrics=METRICS, shown_metrics=[], **given)


UP, SAME, DOWN = (0, 0.2, 0), (0, 0, 0), (-0.2, -0.2, -0.2)


@pytest.mark.parametrize(
    ("learned", "hard_coded", "expected"),
    [
        (UP, UP, {"learned": "reproduced", "hard_coded": "reproduced"}),
        (UP, DOWN, {"learned": "reproduced", "hard_coded": "contradicted"}),
        (DOWN, DOWN, {"learned": "contradicted", "hard_coded": "contradicted"}),
        ((0, 0, 0.2), SAME, {"learned": "reproduced", "hard_coded": "inconclusive"}),
        ((-0.2, 0, -0.2), DOWN, {"learned": "inconclusive", "hard_coded": "contradicted"}),
    ],
)
def test_differences_to_the_untrained_network(world, learned, hard_coded, expected):
    fill(world, learned=learned, hard_coded=hard_coded)
    result, _ = decide(world)
    assert {part: result["part_verdicts"][part] for part in expected} == expected
    assert any("more invariant than augmented (learned)" in note for note in result["notes"]) == (max(learned) > 0)


@pytest.mark.parametrize(("trend", "expected"), [(1, "reproduced"), (-1, "contradicted")])
def test_correlation(world, trend, expected):
    """Deviations that rise (fall) strictly with accuracy, over all networks and epochs."""
    fill(world)
    for row in world.rows:
        if row["metric"] != "accuracy":
            turned = -1 if row["metric"] == "effective_invariance" else 1
            accuracy = next(
                other["value"]
                for other in world.rows
                if other["metric"] == "accuracy"
                and (other["run"], other["seed"], other["epoch"]) == (row["run"], row["seed"], row["epoch"])
            )
            row["value"] = turned * trend * accuracy
    result, parts = decide(world)
    assert result["part_verdicts"]["correlation"] == expected
    assert result["estimate"] == pytest.approx(trend)
    rank = parts[parts["part"].isin(["spearman", "kendall"])]
    assert len(rank) == 6 and np.allclose(rank["estimate"], trend)


def test_a_metric_that_does_not_follow_accuracy_is_enough(world):
    fill(world)
    draw = np.random.default_rng(0)
    for row in world.rows:
        if row["metric"] in ("output_eed", "latent_eed"):
            accuracy = 0.1 if row["run"] == "untrained" else row["epoch"]
            row["value"] = -accuracy if row["metric"] == "output_eed" else draw.normal()
    result, _ = decide(world)
    assert result["part_verdicts"]["correlation"] == "reproduced"


@pytest.mark.parametrize(
    ("learned", "hard_coded", "trend", "expected"),
    [
        (UP, UP, 0, "reproduced"),
        (UP, UP, -1, "partly"),
        (UP, DOWN, 0, "partly"),
        (UP, DOWN, -1, "partly"),
        (DOWN, DOWN, 0, "contradicted"),
        (SAME, SAME, -1, "contradicted"),
        (SAME, SAME, 0, "inconclusive"),
    ],
)
def test_verdict_on_the_whole_claim(world, learned, hard_coded, trend, expected):
    fill(world, learned=learned, hard_coded=hard_coded)
    if trend:
        accuracy = {(row["run"], row["seed"], row["epoch"]): row["value"] for row in world.rows if row["metric"] == "accuracy"}
        for row in world.rows:
            if row["metric"] != "accuracy":
                turned = -1 if row["metric"] == "effective_invariance" else 1
                row["value"] = turned * trend * accuracy[row["run"], row["seed"], row["epoch"]]
    assert decide(world).result["verdict"] == expected


def test_parts_hold_one_point_per_network_and_epoch(world):
    fill(world, learned=UP)
    parts = decide(world).parts
    points = parts[parts["part"] == "point"]
    assert len(points) == len(METRICS) * 3 * (3 * 3 + 1)  # by metric and seed: three networks at three epochs, one untrained
    assert dict(zip(points["arm"], points["role"], strict=True)) == {
        "plain": "trained",
        "augmented": "learned",
        "steerable": "hard_coded",
        "untrained": "untrained",
    }
    assert points["accuracy"].between(0, 1).all()
    difference = parts[parts["part"] == "difference"].set_index(["role", "metric"])
    assert difference.loc[("learned", "output_eed"), "estimate"] == pytest.approx(-0.2, abs=0.01)
    assert difference.loc[("learned", "output_eed"), "p_holm"] < 0.05
    assert np.isnan(difference.loc[("weight_scaled", "output_eed"), "p_holm"])  # a control has no say in the verdict


def test_layerwise_metrics_are_averaged_over_layers_with_declared_fields_where_there_are_any(world):
    fill(world)
    for run in ("untrained", "augmented", "plain", "scaled", "steerable"):
        for index in range(2):
            where = {"layer": f"blocks.{index}", "depth": (index + 1) / 2, "sd": 1e-3}
            for epoch in [10] if run in ("untrained", "scaled") else [1, 5, 10]:
                world.add(run, "channel_eed/cosine", -0.2 - 0.2 * index, epoch=epoch, final=epoch == 10, **where)
                if run == "steerable":
                    world.add(run, "field_eed/cosine", -1.0, epoch=epoch, final=epoch == 10, **where)
    metrics = ["field_eed/cosine"]
    result, _ = world.decide("K3", comparisons={"rotation": COMPARISON}, metrics=metrics, shown_metrics=["channel_eed/cosine"])
    assert result["null"] == pytest.approx({"field_eed/cosine": -0.3, "channel_eed/cosine": -0.3}, abs=0.01)
    assert result["floor"] == pytest.approx({"field_eed/cosine": -1, "channel_eed/cosine": -0.3}, abs=0.01)


def test_checkpoints_need_accuracy_too(world):
    fill(world)
    world.rows = [row for row in world.rows if not (row["metric"] == "accuracy" and row["epoch"] == 5 and row["run"] == "plain")]
    with pytest.raises(GeedError, match="plain: expected accuracy and latent_eed/cosine at the same epochs"):
        decide(world)


def test_a_seed_left_out_takes_its_points_along(world):
    fill(world, learned=DOWN, hard_coded=DOWN)
    accuracy = {(row["run"], row["seed"], row["epoch"]): row["value"] for row in world.rows if row["metric"] == "accuracy"}
    for row in world.rows:  # all seeds agree that deviation falls with accuracy, but for seed 2
        if row["metric"] != "accuracy":
            turned = -1 if row["metric"] == "effective_invariance" else 1
            row["value"] = turned * (3 if row["seed"] == 2 else -1) * accuracy[row["run"], row["seed"], row["epoch"]]
    world.rows = [row for row in world.rows if row["metric"] in ("accuracy", "output_eed")]
    comparison = COMPARISON | {"learned": ["plain"], "hard_coded": ["plain"]}
    whole = world.decide("K3", comparisons={"rotation": comparison}, metrics=["output_eed/kl"], shown_metrics=[])
    assert whole.result["estimate"] > -0.5
    assert whole.result["part_verdicts"]["correlation"] == "reproduced"
    assert whole.result["sensitivity"]["without_seed"] == {"0": "inconclusive", "1": "inconclusive", "2": "contradicted"}
