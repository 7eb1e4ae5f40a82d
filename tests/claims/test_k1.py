import pytest
from synthetic import C4, World, settings

from geed.claims.decision import evaluate
from geed.claims.evidence import Evidence
from geed.errors import GeedError

ROTATION = {"group": C4, "plain": "plain", "augmented": "augmented", "equivariant": "steerable", "untrained": "untrained"}


def fill(
    world, share, output, *, gap=0.5, output_gap=0.6, group=C4, names=("plain", "augmented", "steerable", "untrained"), sd=0.02
):
    """Augmentation gives `share` of the layers' equivariance (the last layer has all of it) and `output` of the output's."""
    for run, layers, whole in zip(names, (0, share, 1, 0.1), (0, output, 1, 0.5), strict=True):
        for index in range(4):
            where = {"layer": f"blocks.{index}", "depth": (index + 1) / 4, "group": group}
            inner = 1.0 if index == 3 and run == names[1] else layers
            world.add(run, "channel_eed/cosine", -1 + gap * (1 - inner) if run != names[2] else -0.4, sd=sd, **where)
            if run == names[2]:
                world.add(run, "field_eed/cosine", -1.0, sd=1e-7, **where)
        world.add(run, "output_eed/kl", output_gap * (1 - whole), sd=sd, group=group)
        world.add(run, "accuracy", 0.9, group=group)


@pytest.mark.parametrize(
    ("share", "output", "expected"),
    [
        (0.1, 0.9, "reproduced"),
        (0.9, 0.9, "contradicted"),
        (0.5, 0.9, "inconclusive"),
        (0.1, 0.5, "partly"),  # the layers did not become equivariant; whether the output became invariant is open
        (0.1, 0.1, "inconclusive"),  # nothing was learned, so there is no mechanism to ask about
        (0.9, 0.1, "inconclusive"),
    ],
)
def test_verdict(world, share, output, expected):
    fill(world, share, output)
    result = world.decide("K1", comparisons={"rotation": ROTATION}).result
    assert result["verdict"] == expected
    assert result["part_verdicts"] == {"rotation": expected}
    assert result["estimate"] == pytest.approx(share, abs=0.03)
    assert result["ci_low"] < result["estimate"] < result["ci_high"]
    assert result["n_seeds"] == 3 and result["n_images"] == 60
    assert result["floor"]["channel_eed/cosine"] == pytest.approx(-1, abs=1e-6)
    assert result["null"]["channel_eed/cosine"] == pytest.approx(-0.55, abs=0.02)
    assert set(result["accuracies"]) == {"plain", "augmented", "steerable", "untrained"}
    assert len(result["evidence"]) == 12


def test_parts_hold_every_layer_of_every_arm(world):
    fill(world, 0.1, 0.9)
    parts = world.decide("K1", comparisons={"rotation": ROTATION}).parts
    deviation = parts[parts["part"] == "deviation"]
    assert deviation.groupby("role").size().to_dict() == dict.fromkeys(
        ("plain", "augmented", "equivariant", "equivariant_raw", "untrained"), 4
    )
    assert sorted(deviation["depth"].unique()) == [0.25, 0.5, 0.75, 1]
    assert (deviation["ci_low"] <= deviation["estimate"]).all() and (deviation["estimate"] <= deviation["ci_high"]).all()
    raw, aware = (deviation[deviation["role"] == role]["estimate"].mean() for role in ("equivariant_raw", "equivariant"))
    assert raw == pytest.approx(-0.4, abs=0.01) and aware == pytest.approx(-1, abs=1e-6)
    shares = parts[parts["part"] == "layer_share"].set_index("layer")["estimate"]
    assert shares["blocks.3"] == pytest.approx(1, abs=0.05)  # the last layer is shown, but s leaves it out
    assert parts[parts["part"] == "share"]["estimate"].tolist() == pytest.approx([shares[:3].mean()] * 2)
    assert (parts[parts["part"] == "output_share"]["estimate"] > 0.8).all()


def test_no_share_is_given_where_the_denominator_is_near_zero(world):
    fill(world, 0.1, 0.9, gap=0.04)
    result, parts = world.decide("K1", comparisons={"rotation": ROTATION})
    assert result["verdict"] == "inconclusive" and result["estimate"] is None
    assert result["notes"] == ["rotation: no share of the layers, because plain − equivariant is not reliably above 0.05."]
    assert not (parts["part"] == "layer_share").any()


def test_a_layer_without_gap_is_left_out_of_the_share(world):
    fill(world, 0.1, 0.9)
    for row in world.rows:
        if row["layer"] == "blocks.0" and row["run"] == "plain":
            row["values"] = row["values"] * 0 - 1.0
    result, parts = world.decide("K1", comparisons={"rotation": ROTATION})
    assert result["verdict"] == "reproduced"
    assert "blocks.0" not in set(parts[parts["part"] == "layer_share"]["layer"])


def test_a_group_that_contradicts_makes_it_partly(world):
    fill(world, 0.1, 0.9)
    fill(world, 0.7, 0.9, group="reflections", names=("plain", "flipped", "flipcnn", "untrained"))
    reflection = ROTATION | {"group": "reflections", "augmented": "flipped", "equivariant": "flipcnn"}
    result, parts = world.decide("K1", comparisons={"rotation": ROTATION, "reflection": reflection})
    assert result["part_verdicts"] == {"rotation": "reproduced", "reflection": "contradicted"}
    assert result["verdict"] == "partly"
    assert result["estimate"] == pytest.approx(0.4, abs=0.03)
    assert set(parts[parts["part"] == "share"]["comparison"]) == {"rotation", "reflection", "all"}


def test_one_comparison_without_share_does_not_take_the_others_along(world):
    fill(world, 0.1, 0.9)
    fill(world, 0.1, 0.9, group="reflections", names=("plain", "flipped", "flipcnn", "untrained"), gap=0.01)
    reflection = ROTATION | {"group": "reflections", "augmented": "flipped", "equivariant": "flipcnn"}
    result, _ = world.decide("K1", comparisons={"rotation": ROTATION, "reflection": reflection})
    assert result["verdict"] == "reproduced"
    assert result["part_verdicts"]["reflection"] == "inconclusive"


def test_sensitivity_shows_how_the_verdict_depends_on_its_choices(world):
    fill(world, 0.45, 0.9, sd=0.01)
    result, _ = world.decide("K1", comparisons={"rotation": ROTATION})
    assert result["verdict"] == "reproduced"
    assert result["sensitivity"]["threshold"]["max_layer_share = 0.4"] == "contradicted"
    assert result["sensitivity"]["threshold"]["max_layer_share = 0.6"] == "reproduced"
    assert set(result["sensitivity"]["without_seed"]) == {"0", "1", "2"}
    assert set(result["sensitivity"]["confidence"]) == {"0.9", "0.99"}
    assert result["sensitivity"]["intervals"]["percentile"] == "reproduced"


def test_one_seed_gives_no_verdict(tmp_path):
    from synthetic import World

    world = World(tmp_path, seeds=(4,))
    fill(world, 0.1, 0.9)
    result, _ = world.decide("K1", comparisons={"rotation": ROTATION})
    assert result["verdict"] == "inconclusive" and "One training seed" in result["notes"][0]


def test_another_network_is_refused_as_the_augmented_one(world):
    fill(world, 0.1, 0.9)
    world.rows = [row for row in world.rows if not (row["run"] == "augmented" and row["layer"] == "blocks.2")]
    with pytest.raises(GeedError, match=r"claims\.K1\.comparisons\.rotation\.augmented: expected a run with the layers of plain"):
        world.decide("K1", comparisons={"rotation": ROTATION})


def test_shares_are_the_same_by_a_metric_of_which_more_is_more_invariant(world):
    fill(world, 0.1, 0.9)
    for row in world.rows:
        if row["metric"] == "output_eed":
            row |= {"metric": "effective_invariance", "distance": "", "values": 1 - row["values"]}
    result, parts = world.decide("K1", comparisons={"rotation": ROTATION}, output_metric="effective_invariance")
    assert result["verdict"] == "reproduced"
    assert parts[parts["part"] == "output_share"]["estimate"].tolist() == pytest.approx([0.9] * 2, abs=0.03)


def test_comparisons_may_rest_on_different_seeds(tmp_path):
    world = World(tmp_path)
    fill(world, 0.1, 0.9)
    fill(world, 0.3, 0.9, names=("p", "a", "s", "u"))
    few = dict(zip(ROTATION, (C4, "p", "a", "s", "u"), strict=True))
    seeds = dict.fromkeys(("plain", "augmented", "steerable", "untrained"), world.seeds)
    seeds |= {"p": (0, 1, 2), "a": (1, 0), "s": (0, 1, 2), "u": (2, 1, 0)}
    chosen = settings("K1", comparisons={"rotation": ROTATION, "few": few})
    result, parts = evaluate("K1", chosen, Evidence(world.write(), seeds), "simulated")
    assert result["n_seeds"] == 2 and result["sensitivity"]["without_seed"] == {}
    shares = parts[parts["part"] == "share"].set_index("comparison")
    assert shares["n_seeds"].to_dict() == {"rotation": 3, "few": 2, "all": 2}
    assert shares["estimate"].tolist() == pytest.approx([0.1, 0.3, 0.2], abs=0.02)
    assert parts[(parts["part"] == "accuracy") & (parts["arm"] == "p")]["n_seeds"].item() == 2


def test_runs_without_a_common_seed_are_refused(tmp_path):
    world = World(tmp_path)
    fill(world, 0.1, 0.9)
    seeds = {"plain": [0, 1], "augmented": [2], "steerable": [0, 1, 2], "untrained": [0]}
    with pytest.raises(GeedError, match=r"claims\.K1\.comparisons\.rotation: expected runs with seeds in common"):
        evaluate("K1", settings("K1", comparisons={"rotation": ROTATION}), Evidence(world.write(), seeds), "simulated")
