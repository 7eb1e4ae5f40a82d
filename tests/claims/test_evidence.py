import numpy as np
import pytest
from synthetic import C4, World

from geed.claims.evidence import Evidence
from geed.errors import GeedError


@pytest.fixture
def evidence(world):
    world.add("plain", "latent_eed/l2", 0.5, layer="blocks.0", depth=0.5)
    world.add("plain", "latent_eed/l2", 0.6, layer="features")
    world.add("plain", "latent_eed/l2", 0.9, layer="features", epoch=1, final=False)
    world.add("plain", "accuracy", 0.9)
    world.add("plain", "accuracy", 0.5, epoch=1, final=False)
    world.add("plain", "accuracy", 0.7, evaluation="corrupted", corruption="blur", severity=2)
    return Evidence(world.write(), world.seeds)


def test_arrays_are_seeds_by_images_in_order(evidence, world):
    values = evidence.array("plain", "latent_eed", "l2", group=C4, layer="features")
    assert values.shape == (3, 60) and values.dtype == np.float64
    row = next(row for row in world.rows if row["layer"] == "features" and row["seed"] == 1 and row["final"])
    np.testing.assert_array_equal(values[1], row["values"].astype(np.float64))
    blurred = evidence.array("plain", "accuracy", group=C4, evaluation="corrupted", corruption="blur", severity=2)
    assert blurred.mean() == pytest.approx(0.7, abs=0.02)


def test_layers_conditions_and_values(evidence):
    assert evidence.layers("plain", "latent_eed", "l2", group=C4) == [("blocks.0", 0.5), ("features", 1.0)]
    assert evidence.conditions("plain", "corrupted") == [("blur", 2)]
    assert evidence.images("plain", "clean") == "digits"
    assert evidence.has("plain", "accuracy", group=C4) and not evidence.has("plain", "accuracy", group="reflections")
    table = evidence.values("plain")
    assert len(table[(table["metric"] == "accuracy") & (table["corruption"] == "none")]) == 3 * 2  # seeds × epochs
    assert [path.name for path in evidence.sources] == ["per_image.parquet", "table.parquet"] * 3


def test_only_files_that_were_read_are_sources(evidence):
    assert evidence.sources == []
    evidence.array("plain", "accuracy", group=C4)
    assert len(evidence.sources) == 3


def test_each_file_is_read_once(evidence, monkeypatch):
    from geed.claims import evidence as module

    reads = []
    read = module._read
    monkeypatch.setattr(module, "_read", lambda path, *rest: reads.append(path) or read(path, *rest))
    for _ in range(3):
        evidence.array("plain", "accuracy", group=C4)
        evidence.array("plain", "latent_eed", "l2", group=C4, layer="features")
        evidence.values("plain")
    assert len(reads) == len(set(reads)) == 6


def test_rows_that_no_claim_asked_for_are_not_read(world, evidence):
    chosen = Evidence(world.folder, world.seeds, metrics={"accuracy"}, evaluations={"corrupted"})
    assert chosen.conditions("plain", "corrupted") == [("blur", 2)] and chosen.conditions("plain", "clean") == []
    with pytest.raises(GeedError, match="to be measured in evaluation clean"):
        chosen.array("plain", "accuracy", group=C4)


@pytest.mark.parametrize(
    ("arguments", "where", "sentence"),
    [
        (
            ("plane", "accuracy"),
            {},
            r"plane/seed-0/per_image\.parquet: expected the measurements of run.*did you mean 'plain'",
        ),
        (
            ("plain", "acuracy"),
            {},
            r"parquet: .*acuracy under rotations:4 in clean for run plain.*did you mean 'accuracy'",
        ),
        (("plain", "accuracy"), {"group": "rotations:8"}, "no metric was measured under rotations:8"),
        (("plain", "accuracy"), {"evaluation": "clear"}, "to be measured in evaluation clear.*did you mean 'clean'"),
        (("plain", "latent_eed", "l2"), {"layer": "head"}, "latent_eed/l2 at layer head.*none at that layer"),
    ],
)
def test_a_missing_arm_is_named(evidence, arguments, where, sentence):
    with pytest.raises(GeedError, match=sentence):
        evidence.array(*arguments, **({"group": C4} | where))


def test_a_seed_that_was_not_trained_is_named(world, evidence):
    with pytest.raises(GeedError, match=r"plain/seed-7/per_image\.parquet: expected a table of measurements, found no such file"):
        Evidence(world.folder, [0, 7]).array("plain", "accuracy", group=C4)


def test_damaged_tables_and_numbers_are_refused(world, evidence):
    path = world.folder / "plain/seed-1/per_image.parquet"
    path.write_bytes(b"PAR1 not a table PAR1")
    with pytest.raises(GeedError, match=r"seed-1/per_image\.parquet: expected a table .*, found something unreadable"):
        Evidence(world.folder, world.seeds).array("plain", "accuracy", group=C4)
    path.unlink()
    for row in world.rows:
        row["values"] = row["values"] * np.nan
    world.write()
    with pytest.raises(GeedError, match="expected finite values of accuracy under rotations:4 in clean, found NaN"):
        Evidence(world.folder, world.seeds).array("plain", "accuracy", group=C4)


def test_seeds_must_have_seen_the_same_images(tmp_path):
    World(tmp_path, seeds=(0,), images=5).add("plain", "accuracy", 0.9)
    for seed, images in ((0, 5), (1, 6)):
        world = World(tmp_path, seeds=(seed,), images=images)
        world.add("plain", "accuracy", 0.9)
        world.write()
    with pytest.raises(GeedError, match="same images for every seed in clean, found 5, 6"):
        Evidence(tmp_path, [0, 1]).array("plain", "accuracy", group=C4)
