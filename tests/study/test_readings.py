"""The search over readings: the library's own reading is among them, z is by hand, and the best fit comes first."""

import math

import pandas as pd
import pytest
import torch

from geed import groups, measure
from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.models import weights
from geed.models.build import build
from geed.study.readings import OWN, SETTINGS, search

PLAIN = {"kind": "perceptron", "hidden": 8, "layers": 2}
TIED = PLAIN | {"kind": "tied_perceptron", "symmetry": "rotations:4", "pooling": "max"}
NETWORKS = {"da": PLAIN, "wt": TIED, "wt_mean": TIED | {"pooling": "mean"}}
ROW = {"accuracy": "90.0±1.0", "logit_invariance": "0.10±0.05", "predictive_invariance": "0.0", "saliency_similarity": "0.5"}
PUBLISHED = {"rotations:4": {"augmented": ROW | {"jacobian_norm": "2.0±0.1"}, "tied": ROW}}


def settings(**comparison):
    half = {"group": "rotations:4", "arms": {"augmented": ["da"], "tied": ["wt", "wt_mean"]}} | comparison
    return {"limit": 5, "steps": [2, 16], "comparisons": {"rotation": half}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Prepared noise, networks of two seeds, and the search's table and page."""
    folder = tmp_path_factory.mktemp("readings")
    pixels = torch.rand(12, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    images = ImageSet(pixels, torch.arange(12) % 3, torch.arange(12), tuple("abc"), "noise", "test")
    store.write(folder / "data.safetensors", {"train": images, "test": images})
    spec = {"channels": 1, "size": 6, "classes": 3, "mean": [0.5], "std": [0.3]}
    models, paths = {}, {}
    for run, architecture in NETWORKS.items():
        models[run] = [build(spec | {"architecture": architecture}, run, seed).eval() for seed in range(2)]
        paths[run] = [folder / f"{run}-{seed}.safetensors" for seed in range(2)]
        for model, path in zip(models[run], paths[run], strict=True):
            weights.save(model, path)
    arguments = {"weights": paths, "data": folder / "data.safetensors", "device": "cpu"}
    arguments |= {"table": folder / "readings.csv", "page": folder / "readings.md"}
    record = search(settings(), PUBLISHED, **arguments)
    found = {"table": pd.read_csv(arguments["table"]), "page": arguments["page"].read_text(), "record": record}
    return found | {"images": images, "models": models, "arguments": arguments}


@pytest.mark.parametrize("quantity", OWN)
def test_what_the_metric_measures_is_one_of_the_readings(study, quantity):
    limit = 5 if quantity in ("saliency_similarity", "jacobian_norm") else 12
    images, labels = study["images"].images[:limit], study["images"].labels[:limit]
    found = [
        measure(model, images, group=groups.rotations(4), metrics=quantity, labels=labels)["value"][0]
        for model in study["models"]["da"]
    ]
    rows = study["table"].query("quantity == @quantity and arm == 'augmented'")
    row = rows[rows["reading"].str.startswith(OWN[quantity])].iloc[0]
    factor = 100 if quantity == "accuracy" else 1
    assert row["mean"] == pytest.approx(factor * sum(found) / 2, rel=1e-5)
    assert row["std"] == pytest.approx(factor * abs(found[0] - found[1]) / math.sqrt(2), rel=1e-4, abs=1e-12)
    assert row["n_seeds"] == 2


def test_every_combination_is_there_once_and_the_best_comes_first(study):
    table = study["table"]
    readings = table.drop_duplicates(["quantity", "reading"]).groupby("quantity", sort=False).size()
    expected = {"accuracy": 2 * 2, "logit_invariance": 3 * 2 * 2 * 2, "predictive_invariance": 3 * 2 * 2}
    expected |= {"saliency_similarity": 2 * 3 * 3 * 2 * 2 * 2, "jacobian_norm": 2 * 2}
    assert readings.to_dict() == expected
    assert list(readings.index) == list(SETTINGS)
    for quantity, rows in table.groupby("quantity"):
        assert rows["sum_z2"].is_monotonic_increasing
        best = rows["reading"].iloc[0]
        assert study["record"]["best"][quantity] == best
        assert f"Best of {expected[quantity]}: {best}\n" in study["page"]
        assert f"| 1. **{best}** |" in study["page"] or f"| 1. {best} |" in study["page"]
        assert f". **{OWN[quantity]}" in study["page"]
    assert study["record"]["readings"] == sum(expected.values())


def test_z_is_the_difference_in_units_of_the_combined_deviation(study):
    rows = study["table"].query("quantity == 'logit_invariance' and reading == @OWN['logit_invariance']")
    for row in rows.itertuples():
        combined = math.sqrt(row.std**2 + 0.05**2 + 0.01**2 / 12)
        assert row.z == pytest.approx((row.mean - 0.10) / combined)
    assert rows["sum_z2"].iloc[0] == pytest.approx((rows["z"] ** 2).sum())


def test_accuracy_is_read_with_every_run_that_a_row_may_mean(study):
    tied = study["table"].query("quantity == 'accuracy' and arm == 'tied'")
    assert set(tied["run"]) == {"wt", "wt_mean"}
    assert all(row.reading.endswith(f"; runs: {row.run}") for row in tied.itertuples())
    assert set(study["table"].query("quantity != 'accuracy'")["run"]) == {"da", "wt"}
    invariant = study["table"].query("quantity == 'logit_invariance' and arm == 'tied'")
    assert (invariant["mean"] < 1e-10).all()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"group": "reflections"}, "nothing is published for the group 'reflections'"),
        ({"arms": {"augmentd": ["da"]}}, "no arm 'augmentd' is published for the group 'rotations:4'.*'augmented'"),
    ],
)
def test_what_is_not_published_is_refused(study, change, sentence):
    with pytest.raises(GeedError, match=sentence):
        search(settings(**change), PUBLISHED, **study["arguments"])
