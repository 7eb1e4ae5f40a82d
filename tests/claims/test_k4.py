import numpy as np
import pytest
from synthetic import C4

from geed.errors import GeedError

METRICS = ["latent_eed/cosine", "latent_eed/l2", "output_eed/kl"]
COMPARISON = {"group": C4, "pretrained": "pretrained", "random": "random"}


def fill(world, effects, *, names=("pretrained", "random"), shifts=(0, 0, 0)):
    """`effects`: pretrained − random by metric, in standard deviations over images; `shifts` of the pretrained, by seed."""
    for run, sign in zip(names, (0.5, -0.5), strict=True):
        world.add(run, "accuracy", 0.9)
        for metric, effect in zip(METRICS, effects, strict=True):
            layer = {"layer": "features"} if metric.startswith("latent") else {}
            own = shifts if run == names[0] else (0, 0, 0)
            world.add(run, metric, 0.5 + sign * effect * 0.02 * 2**0.5, shifts=own, **layer)


def decide(world, **comparisons):
    return world.decide("K4", comparisons=comparisons or {"rotation": COMPARISON}, metrics=METRICS)


@pytest.mark.parametrize(
    ("effects", "shifts", "expected"),
    [
        ((2, -2, 2), (0, 0, 0), "reproduced"),
        ((2, 2, 3), (0, 0, 0), "partly"),
        ((-2, -2, -3), (0, 0, 0), "partly"),
        ((0, 0, 0), (-1, 1, 0), "inconclusive"),  # seeds differ too much to tell, or to call it nothing
    ],
)
def test_verdict(world, effects, shifts, expected):
    fill(world, effects, shifts=shifts)
    result, parts = decide(world)
    assert result["verdict"] == expected
    assert (result["ci_low"] > 0) == (expected == "reproduced")
    scaled = parts[parts["part"] == "standardised"]["estimate"]
    assert scaled.to_numpy() == pytest.approx(np.array(effects), abs=0.35)


def test_differences_inside_the_margin_contradict(world):
    fill(world, (0.03, -0.03, 0))
    for row in world.rows:  # the two networks differ by a hair, the same for every seed
        own = {"pretrained": 1e-3, "random": -1e-3}[row["run"]] * (1 if row["metric"] == "output_eed" else -1)
        row["values"] = np.linspace(0, 1, world.images).astype("float32") + (own if row["metric"] != "accuracy" else 0)
    result, _ = decide(world)
    assert result["verdict"] == "contradicted"


def test_one_task_is_enough_but_one_that_contradicts_makes_it_partly(world):
    fill(world, (2, -2, 2))
    fill(world, (0, 0, 0), names=("p2", "r2"), shifts=(-1, 1, 0))
    two = {"rotation": COMPARISON, "second": COMPARISON | {"pretrained": "p2", "random": "r2"}}
    result, _ = decide(world, **two)
    assert result["part_verdicts"] == {"rotation": "reproduced", "second": "inconclusive"}
    assert result["verdict"] == "reproduced"
    for row in world.rows:
        if row["run"] in ("p2", "r2"):
            row["values"] = np.linspace(0, 1, world.images).astype("float32")
    assert decide(world, **two).result["verdict"] == "partly"


def test_parts_hold_raw_and_standardised_differences_with_corrected_p(world):
    fill(world, (2, -2, 2))
    result, parts = decide(world)
    raw, scaled = (parts[parts["part"] == part].set_index("metric") for part in ("difference", "standardised"))
    assert len(raw) == len(scaled) == 3
    assert raw["p_holm"].tolist() == scaled["p_holm"].tolist()
    assert raw["p_holm"].min() == pytest.approx(3 * 2 / 2001)
    assert result["floor"] == {"latent_eed/cosine": -1.0, "latent_eed/l2": 0.0, "output_eed/kl": 0.0}
    assert parts[parts["part"] == "disagreement"]["estimate"].item() == result["estimate"]


def test_a_comparison_that_is_only_shown_has_no_say(world):
    fill(world, (2, 2, 3))
    fill(world, (2, -2, 2), names=("p2", "r2"))
    shown = COMPARISON | {"pretrained": "p2", "random": "r2", "decides": False}
    result, parts = decide(world, rotation=COMPARISON, imagenet=shown)
    assert result["verdict"] == "partly"
    assert result["part_verdicts"] == {"rotation": "partly", "imagenet": "reproduced"}
    alone = decide(world, rotation=COMPARISON)
    assert result["estimate"] == alone.result["estimate"]
    p_holm = [rows[rows["comparison"] == "rotation"]["p_holm"].dropna().tolist() for rows in (parts, alone.parts)]
    assert p_holm[0] == p_holm[1]
    assert any("imagenet (shown, without a say" in note for note in result["notes"])
    with pytest.raises(GeedError, match="expected at least one that decides"):
        decide(world, imagenet=shown)
