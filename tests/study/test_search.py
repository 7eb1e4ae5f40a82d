"""The search for a regulariser's weight: bisection, validation images only, candidates that are the run's networks, resumable."""

import pandas as pd
import pytest
import torch

from geed import files
from geed.data import store
from geed.data.imageset import ImageSet
from geed.study import search as step
from geed.study.train import train_run, with_weight

GRID = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0]


@pytest.mark.parametrize("length", range(2, 12))
def test_bisection_finds_the_smallest_with_few_trainings(length):
    grid = list(range(length))
    for threshold in range(length + 1):
        asked = []

        def reaches(weight, asked=asked, threshold=threshold):
            asked.append(weight)
            return weight >= threshold

        found = step.smallest(grid, reaches)
        assert found == (threshold if threshold < length else None)
        assert (found is None or found in asked) and len(asked) == len(set(asked)) <= length.bit_length()


@pytest.fixture
def data(tmp_path):
    """Prepared images without a test split: nothing could be looked at there."""
    generator = torch.Generator().manual_seed(0)
    sets = {}
    for split, count in (("train", 48), ("validation", 30)):
        labels = torch.arange(count) % 2
        images = 0.3 * torch.rand(count, 1, 9, 9, generator=generator)
        images[labels == 1, :, 1:4, 2:7] += 0.7
        sets[split] = ImageSet(images, labels, torch.arange(count), ("noise", "bar"), "bars", split)
    path = tmp_path / "bars.safetensors"
    store.write(path, sets)
    return path


def settings(at_least=0.5, metric="logit_invariance"):
    weight = {"grid": GRID, "metric": metric, "at_least": at_least, "images": 20}
    training = {"epochs": 3, "batch_size": 16, "learning_rate": 0.02, "weight_decay": 0, "snapshots": [1]}
    return {
        "name": "ir",
        "architecture": {"kind": "perceptron", "hidden": 8, "layers": 2},
        "initialisation": {"scale": 1.0, "from": None},
        "augmentation": ["rotations:4"],
        "objective": {"kind": "invariance", "group": "rotations:4", "distance": "logit", "weight": weight},
        "training": training | {"keep": "best_validation"},
    }


def search(run, data, folder):
    found = folder / "search/ir"
    outputs = {name: found / f"{name}.safetensors" for name in ("weights", "snapshots")} | {"history": found / "history.csv"}
    common = {"study": "test", "seed": 3, "data": data, "device": "cpu", "checkpoints": folder / "side"}
    return step.search_weight(run, **common, **outputs, result=folder / "search/ir.json", table=folder / "search/ir.csv")


def trained(run, data, folder, seed, **options):
    outputs = {name: folder / f"{name}.safetensors" for name in ("weights", "snapshots")} | {"history": folder / "history.csv"}
    common = {"study": "test", "seed": seed, "data": data, "device": "cpu", "checkpoints": folder / "side"}
    return train_run(run, **common, **outputs, **options), {name: files.sha256(path) for name, path in outputs.items()}


def test_result_table_and_the_run_itself(data, tmp_path):
    run = settings(at_least=0.9, metric="saliency_similarity")
    record = search(run, data, tmp_path)
    result, table = files.read_json(tmp_path / "search/ir.json"), pd.read_csv(tmp_path / "search/ir.csv")
    assert list(table) == list(step.COLUMNS)
    assert len(table) == record["tried"] == 3 and table.weight.is_monotonic_increasing
    assert table.taken.sum() == 1 and table.weight[table.taken].item() == result["weight"] == record["weight"]
    reaching = table.weight[table.value >= 0.9]
    assert result["reached"] == (len(reaching) > 0)
    assert result["weight"] == (reaching.min() if len(reaching) else table.weight[table.value.idxmax()])
    assert set(table.n_images) == {20} and result["seed"] == 3
    # the network of the search's seed is the run's, byte for byte, and another seed trains with the weight found
    alone = with_weight(run, result["weight"])
    for seed in (3, 4):
        expected = trained(alone, data, tmp_path / f"alone{seed}", seed)[1]
        record, found = trained(run, data, tmp_path / f"run{seed}", seed, search=tmp_path / "search/ir.json")
        assert found == expected
        assert ("trained_by" in record) == (seed == 3)


def test_where_no_weight_reaches_the_nearest_is_taken_and_said_so(data, tmp_path, capsys):
    search(settings(at_least=2.0, metric="saliency_similarity"), data, tmp_path)
    result, table = files.read_json(tmp_path / "search/ir.json"), pd.read_csv(tmp_path / "search/ir.csv")
    assert result["weight"] == table.weight[table.value.idxmax()] and result["reached"] is False
    assert set(table.weight) == {10, 1000, 10000}
    expected = f"no weight reaches saliency_similarity >= 2.0; the nearest, {result['weight']:g}, is taken"
    assert expected in capsys.readouterr().out


def test_a_killed_search_goes_on_with_the_candidates_it_has(data, tmp_path, monkeypatch):
    run, trainings = settings(at_least=2.0), []

    class Killed(Exception):
        pass

    def counting(candidate, **options):
        if len(trainings) == 2:
            raise Killed
        trainings.append(candidate["objective"]["weight"])
        return train_run(candidate, **options)

    monkeypatch.setattr(step, "train_run", counting)
    with pytest.raises(Killed):
        search(run, data, tmp_path)
    assert not (tmp_path / "search/ir.json").exists()
    first = list(trainings)
    trainings.clear()
    search(run, data, tmp_path)
    assert len(first) == 2 and len(trainings) == 1 and trainings[0] not in first
    again = tmp_path / "whole"
    trainings.clear()
    monkeypatch.setattr(step, "train_run", train_run)
    search(run, data, again)
    for name in ("ir.json", "ir.csv", "ir/weights.safetensors", "ir/history.csv"):
        assert files.sha256(again / "search" / name) == files.sha256(tmp_path / "search" / name)
