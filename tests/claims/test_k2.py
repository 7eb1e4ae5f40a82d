import pytest
from synthetic import C4

from geed.errors import GeedError

COMPARISON = {"group": C4, "plain": "plain", "augmented": "augmented", "untrained": "untrained", "far": ["photographs"]}


def fill(world, ratio, *, far_deviation=0.1, far_dispersion=0.3, advantage=0.6, sd=0.01):
    """`ratio(severity)`: the share of the clean advantage that is left; the augmented network scores 0.1 on clean images."""
    for run, deviation in (("plain", 0.1 + advantage), ("augmented", 0.1), ("untrained", 0.3)):
        world.add(run, "output_eed/kl", deviation, sd=sd)
        world.add(run, "output_dispersion/kl", 1.5, sd=sd)
        world.add(run, "relative_invariance/cosine", 0.5, sd=sd)
        world.add(run, "accuracy", 0.9)
        where = {"evaluation": "photographs", "data": "photographs"}
        world.add(run, "output_eed/kl", far_deviation, sd=sd, **where)
        world.add(run, "output_dispersion/kl", far_dispersion, sd=sd, **where)
        for corruption in ("blur", "noise"):
            for severity in (1, 3, 5):
                left = advantage * ratio(severity) if run == "plain" else 0
                at = {"evaluation": "corrupted", "corruption": corruption, "severity": severity}
                world.add(run, "output_eed/kl", 0.2 + left, sd=sd, **at)


def falling(severity):
    return 0.7 - 0.1 * severity


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (falling, "reproduced"),
        (lambda severity: 0.5, "partly"),  # it generalises, but does not fall with severity
        (lambda severity: 0.2 + 0.1 * severity, "partly"),
        (lambda severity: -0.2, "contradicted"),
        (lambda severity: 1.4, "contradicted"),
        (lambda severity: 0.0, "inconclusive"),
    ],
)
def test_verdict_on_corruptions(world, ratio, expected):
    fill(world, ratio)
    result, parts = world.decide("K2", comparisons={"rotation": COMPARISON})
    assert result["part_verdicts"]["K2a"] == expected
    assert result["estimate"] == pytest.approx(ratio(3), abs=0.03)
    slope = parts[(parts["part"] == "trend") & (parts["comparison"] == "all")]["estimate"].item()
    assert slope == pytest.approx((ratio(5) - ratio(1)) / 4, abs=0.02)


@pytest.mark.parametrize(
    ("deviation", "dispersion", "expected"),
    [
        (0.05, 0.3, "reproduced"),
        (0.05, 2.5, "contradicted"),  # invariant and as sensitive as ever: the invariance is real
        (0.05, 1.5, "inconclusive"),
        (0.5, 0.3, "inconclusive"),  # there is no apparent invariance to explain
    ],
)
def test_verdict_on_far_images(world, deviation, dispersion, expected):
    fill(world, falling, far_deviation=deviation, far_dispersion=dispersion)
    result, _ = world.decide("K2", comparisons={"rotation": COMPARISON})
    assert result["part_verdicts"]["K2b"] == expected
    assert any("no apparent invariance" in note for note in result["notes"]) == (deviation == 0.5)


@pytest.mark.parametrize(
    ("ratio", "dispersion", "expected"),
    [
        (falling, 0.3, "reproduced"),
        (falling, 2.5, "partly"),
        (lambda severity: -0.2, 0.3, "partly"),
        (lambda severity: -0.2, 2.5, "contradicted"),
        (lambda severity: 0.0, 1.5, "inconclusive"),
    ],
)
def test_verdict_on_the_whole_claim(world, ratio, dispersion, expected):
    fill(world, ratio, far_deviation=0.05, far_dispersion=dispersion)
    assert world.decide("K2", comparisons={"rotation": COMPARISON}).result["verdict"] == expected


def test_parts_by_corruption_and_severity(world):
    fill(world, falling)
    parts = world.decide("K2", comparisons={"rotation": COMPARISON}).parts
    ratio = parts[(parts["part"] == "ratio") & (parts["comparison"] == "rotation")]
    assert len(ratio) == 6 + 2 + 3 + 1
    assert ratio[(ratio["corruption"] == "all") & (ratio["severity"] == 5)]["estimate"].item() == pytest.approx(0.2, abs=0.03)
    assert ratio["severity"].isna().sum() == 3
    deviation = parts[(parts["part"] == "deviation") & (parts["role"] == "augmented")]
    assert deviation.groupby("domain").size().to_dict() == {"clean": 1, "corrupted": 6 + 3 + 1, "photographs": 1}  # and means
    assert set(parts[parts["part"] == "shown"]["metric"]) == {"relative_invariance", "accuracy"}


def test_no_ratio_is_given_where_augmentation_has_no_clean_advantage(world):
    fill(world, falling, advantage=0.03)
    result, parts = world.decide("K2", comparisons={"rotation": COMPARISON})
    assert result["estimate"] is None and result["part_verdicts"]["K2a"] == "inconclusive"
    assert "not reliably above 0.05" in result["notes"][0]
    assert not (parts["part"] == "ratio").any()


@pytest.mark.parametrize("metric", ["effective_invariance", "output_eed/cosine"])
def test_ratios_need_a_deviation_that_can_be_zero(world, metric):
    with pytest.raises(GeedError, match=r"claims\.K2\.metric: expected a deviation that is 0"):
        world.decide("K2", comparisons={"rotation": COMPARISON}, metric=metric)


def test_a_near_domain_is_shown_and_has_no_say(world):
    fill(world, falling)
    for run, deviation in (("plain", 0.9), ("augmented", 0.4), ("untrained", 0.3)):
        where = {"evaluation": "letters", "data": "letters"}
        world.add(run, "output_eed/kl", deviation, sd=0.01, **where)
        world.add(run, "output_dispersion/kl", 1.2, sd=0.01, **where)
    with_near, parts = world.decide("K2", comparisons={"rotation": COMPARISON | {"near": ["letters"]}})
    without = world.decide("K2", comparisons={"rotation": COMPARISON}).result
    assert with_near["verdict"] == without["verdict"] and with_near["part_verdicts"] == without["part_verdicts"]
    ratios = parts[parts["part"] == "deviation_ratio"].set_index(["comparison", "domain"])["estimate"]
    assert ratios["rotation", "letters"] == pytest.approx(4, abs=0.2)
    assert ratios["all"].item() == ratios["rotation", "photographs"]
