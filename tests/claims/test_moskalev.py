"""M1 to M3 on networks whose numbers are known."""

import numpy as np
import pytest
from synthetic import C4

from geed import printed
from geed.claims.moskalev.published import FIGURE_4, FIGURE_5, FIGURE_5_ACCURACY, TABLE_1
from geed.errors import GeedError

T3 = "translations:x=3"
ROLES = ("augmented", "tied", "regularised", "regularised_kl", "regularised_normalized_l2")
SHARES = (0, 250, 500)
# Role -> accuracy, LI, DI, SI, DI at each share, sigma_max: what the paper says of rotations, roughly.
TRUTH = {
    "augmented": (0.94, 98.0, 0.3, 0.17, (0.3, 2.0, 4.5), 10.0),
    "tied": (0.946, 0.0, 0.0, 1.0, (0.0, 0.0, 0.0), 9.0),
    "regularised": (0.88, 0.02, 0.001, 0.95, (0.001, 0.005, 0.02), 3.0),
    "regularised_kl": (0.83, 0.2, 0.001, 0.9, (0.001, 0.01, 0.03), 5.0),
    "regularised_normalized_l2": (0.73, 0.3, 0.002, 0.9, (0.002, 0.01, 0.03), 5.0),
}
NAMES = ("accuracy", "logit", "output", "saliency", "shift", "norm")


def fill(world, group=C4, suffix="", **changes):
    """`changes`: role -> {name: value}; a number that varies by 2 % of it over images, and over seeds as `World` has it."""
    for role in ROLES:
        values = dict(zip(NAMES, TRUTH[role], strict=True)) | changes.get(role, {})
        run, where = role + suffix, {"group": group}
        for metric, name in (("accuracy", "accuracy"), ("logit_invariance", "logit"), ("predictive_invariance", "output")):
            world.add(run, metric, values[name], sd=0.02 * values[name], **where)
        world.add(run, "saliency_similarity", values["saliency"], sd=0.02, evaluation="saliency", **where)
        world.add(run, "jacobian_norm", values["norm"], sd=values.get("norm_sd", 0.3), evaluation="spectrum", **where)
        for share, deviation in zip(SHARES, values["shift"], strict=True):
            blended = where | {"evaluation": "shift", "corruption": "blend", "severity": share}
            world.add(run, "predictive_invariance", deviation, sd=0.02 * deviation, **blended)
            world.add(run, "accuracy", values["accuracy"] * (1 - share / 1000), sd=0.01, **blended)


def comparison(group=C4, suffix=""):
    return {"group": group, **{role: role + suffix for role in ROLES}}


def decide(world, claim, **more):
    comparisons = {"rotation": comparison()} | more.pop("comparisons", {})
    return world.decide(claim, comparisons=comparisons, **more)


M1 = [
    ({}, "reproduced"),
    ({"saliency": 0.98}, "partly"),
    ({"saliency": 0.98, "logit": 0.02, "shift": (4.5, 2.0, 0.3)}, "contradicted"),
    ({"accuracy": 0.7}, "inconclusive"),  # it does not classify: nothing is tested
]


@pytest.mark.parametrize(("augmented", "expected"), M1)
def test_m1(world, augmented, expected):
    fill(world, augmented=augmented)
    result, _ = decide(world, "M1")
    assert result["verdict"] == expected
    assert any("nothing is tested" in note for note in result["notes"]) == (expected == "inconclusive")


M2 = [
    ({}, "reproduced"),
    ({"saliency": 0.5}, "partly"),
    ({"shift": (0.001, 0.005, 0.5)}, "partly"),  # invariant on its own domain, but not under shift
    ({"saliency": 0.5, "logit": 50.0, "shift": (0.3, 2.0, 4.5)}, "contradicted"),
    ({"saliency": 0.9, "logit": 0.98, "shift": (0.001, 0.005, 0.225)}, "inconclusive"),  # all at their thresholds
]


@pytest.mark.parametrize(("regularised", "expected"), M2)
def test_m2(world, regularised, expected):
    fill(world, regularised=regularised)
    assert decide(world, "M2").result["verdict"] == expected


M3 = [
    ((3.0, 5.0, 5.0), "reproduced"),
    ((3.0, 5.0, 12.0), "partly"),
    ((12.0, 13.0, 14.0), "contradicted"),
    ((10.0, 10.0, 10.0), "inconclusive"),
]


@pytest.mark.parametrize(("norms", "expected"), M3)
def test_m3(world, norms, expected):
    fill(world, **{role: {"norm": norm, "norm_sd": 2.0} for role, norm in zip(ROLES[2:], norms, strict=True)})
    result, parts = decide(world, "M3")
    assert result["verdict"] == expected
    ratios = parts[(parts["part"] == "norm_ratio") & (parts["comparison"] == "rotation")].set_index("role")
    assert ratios["estimate"].to_numpy() == pytest.approx(np.array(norms) / 10, abs=0.07)
    assert result["estimate"] == ratios["estimate"]["regularised"]


@pytest.mark.parametrize("claim", ["M1", "M2", "M3"])
def test_a_comparison_that_contradicts_makes_it_partly(world, claim):
    fill(world)
    opposite = {"saliency": 0.98, "logit": 0.02, "shift": (0.5, 0.4, 0.3)}  # of the augmented network
    changes = {"augmented": opposite | {"norm": 1.0}}
    if claim == "M2":
        changes = {"regularised": {"saliency": 0.5, "logit": 90.0, "shift": (0.3, 2.0, 4.5)}}
    fill(world, T3, "_t3", **changes)
    result, _ = decide(world, claim, comparisons={"translation": comparison(T3, "_t3")})
    assert result["part_verdicts"]["rotation"] == "reproduced"
    assert result["part_verdicts"]["translation"] == "contradicted"
    assert result["verdict"] == "partly"


def test_m1_holds_the_curves_by_share(world):
    fill(world)
    result, parts = decide(world, "M1")
    deviation = parts[(parts["part"] == "shift") & (parts["metric"] == "predictive_invariance") & (parts["role"] == "augmented")]
    assert deviation["severity"].tolist() == list(SHARES)
    assert deviation["estimate"].to_numpy() == pytest.approx([0.3, 2.0, 4.5], rel=0.05)
    relative = parts[(parts["part"] == "relative_accuracy") & (parts["role"] == "regularised")]
    assert relative["estimate"].to_numpy() == pytest.approx([1, 0.75, 0.5], rel=0.05)
    assert relative["ci_low"].iloc[0] == relative["ci_high"].iloc[0] == 1
    similarity = parts[(parts["part"] == "similarity") & (parts["comparison"] == "all")]
    assert result["estimate"] == similarity["estimate"].item() == pytest.approx(0.17, abs=0.02)


def test_m2_is_table_1_beside_the_papers_numbers(world):
    fill(world)
    assert "published" not in decide(world, "M2").parts
    result, parts = decide(world, "M2", published=True)
    cells = parts[parts["part"] == "level"].set_index(["role", "metric"])
    ours = cells.loc[("augmented", "logit_invariance")]
    assert ours[["published", "published_std"]].tolist() == [98.6, 5.4]
    combined = (ours["std"] ** 2 + 5.4**2 + 0.1**2 / 12) ** 0.5
    assert ours["z"] == pytest.approx((ours["estimate"] - 98.6) / combined)
    accuracy = cells.loc[("tied", "accuracy")]
    assert accuracy[["published", "published_std"]].tolist() == pytest.approx([0.946, 0.001])
    assert np.isnan(cells.loc[("tied", "logit_invariance"), "published_std"])
    assert cells.loc[("tied", "logit_invariance"), "z"] == 0  # rounding alone is left to divide by
    assert np.isnan(cells.loc[("regularised_kl", "logit_invariance"), "published"])
    assert result["floor"]["saliency_similarity"] == pytest.approx(1, abs=0.02)


def test_the_standard_deviation_is_over_seeds(world):
    fill(world)
    _, parts = decide(world, "M2")
    rows = [row for row in world.rows if row["run"] == "augmented" and row["metric"] == "saliency_similarity"]
    found = parts[(parts["part"] == "level") & (parts["role"] == "augmented") & (parts["metric"] == "saliency_similarity")]
    assert found["std"].item() == pytest.approx(np.std([row["values"].mean() for row in rows], ddof=1), rel=1e-4)


def test_without_a_deviation_to_divide_by_there_is_no_ratio(world):
    fill(world, regularised={"logit": 0.0})
    result, parts = decide(world, "M1")
    assert "rotation: no ratio of LI" in result["notes"][0] and "logit_ratio" not in set(parts["part"])
    assert result["verdict"] == "partly"


def test_an_evaluation_without_blends_is_refused(world):
    fill(world)
    with pytest.raises(GeedError, match=r"claims.M1.comparisons.rotation.shift: expected an evaluation on blends"):
        decide(world, "M1", comparisons={"rotation": comparison() | {"shift": "clean"}})


def test_every_published_cell_is_a_number():
    cells = [
        text
        for table in (TABLE_1, FIGURE_4, FIGURE_5, FIGURE_5_ACCURACY)
        for arms in table.values()
        for cell in arms.values()
        for text in (cell.values() if isinstance(cell, dict) else [cell])
    ]
    assert len(cells) == 24 + 6 + 8 + 4
    assert all(np.isfinite(printed.parse(text)).all() for text in cells)
