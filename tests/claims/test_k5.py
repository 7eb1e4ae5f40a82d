import pytest
from synthetic import C4

from geed.errors import GeedError

COMPARISON = {
    "group": C4,
    "supervised": "plain",
    "contrastive": "contrastive",
    "others": ["crops", "vicreg"],
    "shown": ["augmented"],
}
METRICS = ["latent_eed/normalized_cosine", "latent_eed/l2"]


def fill(world, contrastive, crops, vicreg):
    """How much less than the supervised network each self-supervised one deviates."""
    for run, gain in {"plain": 0, "contrastive": contrastive, "crops": crops, "vicreg": vicreg, "augmented": 0.4}.items():
        for metric in METRICS:
            world.add(run, metric, 0.5 - gain, layer="features")
        world.add(run, "accuracy", 0.8)


def decide(world, **given):
    return world.decide("K5", comparisons={"rotation": COMPARISON}, shown_metrics=["latent_eed/l2"], **given)


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ((0.2, -0.1, -0.1), "reproduced"),
        ((0.2, 0.0, -0.1), "reproduced"),
        ((0.2, 0.1, -0.1), "partly"),
        ((0.2, -0.1, 0.1), "partly"),
        ((-0.2, -0.1, -0.1), "contradicted"),
        ((-0.2, 0.1, -0.1), "contradicted"),
        ((0.0, -0.1, -0.1), "inconclusive"),
        ((0.0, 0.1, 0.1), "inconclusive"),
    ],
)
def test_verdict(world, gains, expected):
    fill(world, *gains)
    result, parts = decide(world)
    assert result["verdict"] == expected
    assert result["estimate"] == pytest.approx(gains[0], abs=0.02)
    difference = parts[(parts["part"] == "difference") & (parts["distance"] == "normalized_cosine")].set_index("arm")["estimate"]
    assert difference[["contrastive", "crops", "vicreg"]].tolist() == pytest.approx(list(gains), abs=0.02)
    assert result["accuracies"]["contrastive"] == pytest.approx(0.8, abs=0.02)


def test_only_the_deciding_metric_and_arms_are_tested(world):
    fill(world, 0.2, -0.1, -0.1)
    parts = decide(world).parts
    tested = parts[parts["p_holm"].notna()]
    assert set(tested["arm"]) == {"contrastive", "crops", "vicreg"} and set(tested["distance"]) == {"normalized_cosine"}
    assert set(parts[parts["part"] == "accuracy"]["role"]) == {"supervised", "contrastive", "other", "shown"}


def test_a_difference_must_exceed_the_smallest_that_counts(world):
    fill(world, 0.2, -0.1, -0.1)
    assert decide(world, min_difference=0.3).result["verdict"] == "contradicted"
    same = decide(world).result["estimate"]  # reliably above 0, but neither above nor below itself
    assert decide(world, min_difference=same).result["verdict"] == "inconclusive"


def test_features_of_another_layer_are_refused(world):
    fill(world, 0.2, -0.1, -0.1)
    for row in world.rows:
        if row["run"] == "vicreg" and row["layer"]:
            row["layer"] = "projector"
    with pytest.raises(GeedError, match="other: expected features at layer features, as of plain, found projector of vicreg"):
        decide(world)


def test_the_verdict_by_every_other_metric_stands_beside(world):
    fill(world, 0.2, -0.1, -0.1)
    for row in world.rows:  # by the shown metric, vicreg is more invariant than the supervised network too
        if row["run"] == "vicreg" and row["distance"] == "l2":
            row["values"] = row["values"] - 0.3
    result = decide(world).result
    assert result["verdict"] == "reproduced" and result["sensitivity"]["metric"] == {"latent_eed/l2": "partly"}


def test_a_threshold_of_zero_is_shifted_too(world):
    fill(world, 0.15, -0.3, -0.3)
    shifted = decide(world, neighbours=[0.9, 1.2]).result["sensitivity"]["threshold"]
    assert shifted == {"min_difference = -0.1": "reproduced", "min_difference = 0.2": "contradicted"}
