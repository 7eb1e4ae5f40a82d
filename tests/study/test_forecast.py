"""The cost of a study: rates are recovered, errors are told, and what no record tells is not counted."""

import math
from pathlib import Path

import numpy as np
import pytest
import yaml

from geed.cli import main
from geed.files import write_json
from geed.study import forecast, resources, work
from geed.study import plan as study_plan

ROOT = Path(__file__).parents[2]
RATES = {"each": 1.5, "steps": 0.001, "gmac": 0.05}


@pytest.fixture(scope="module")
def demo():
    return study_plan.load([ROOT / "config.yaml"], ROOT / "workflow/schemas")


def recorded(noise=0.0, runs=8):
    """Jobs of three seeds each, whose seconds follow the rates but for noise."""
    random = np.random.default_rng(0)
    for run in range(runs):
        amounts = {"steps": 100.0 * (run + 1), "images": 3e4 * (run % 3 + 1), "gmac": 10.0 * (run % 4 + 1) ** 2}
        seconds = RATES["each"] + sum(RATES.get(name, 0) * amount for name, amount in amounts.items())
        for _ in range(3):
            yield f"run{run}", amounts, seconds * math.exp(noise * random.standard_normal())


def test_rates_are_recovered_and_never_negative():
    found = forecast.fit(list(recorded()))
    assert {name: pytest.approx(rate) for name, rate in found.rates.items() if rate > 1e-9} == RATES
    assert found.error == pytest.approx(1) and found.jobs == 24
    assert found({"steps": 2000.0, "gmac": 1000.0}) == pytest.approx(1.5 + 2 + 50)
    noisy = forecast.fit(list(recorded(noise=0.3)))
    assert all(rate >= 0 for rate in noisy.rates.values())


def test_the_error_is_that_of_runs_which_were_left_out():
    quiet, loud = (forecast.fit(list(recorded(noise=noise))).error for noise in (0.02, 0.5))
    assert 1 < quiet < 1.1 < loud
    odd = [(run, amounts, 10 * seconds if run == "run7" else seconds) for run, amounts, seconds in recorded(runs=8)]
    assert forecast.fit(odd).error > 2  # the odd one is not known to the fit that predicts it
    assert math.isnan(forecast.fit(list(recorded(runs=2))).error)


def test_stretch_is_by_the_amount_that_costs_most():
    found = forecast.fit(list(recorded()))
    assert found.stretch({"steps": 800.0, "gmac": 1600.0}) == pytest.approx(10)


def record(rule, wildcards, params, measured, seconds, **more):
    return {
        "rule": rule,
        "wildcards": wildcards,
        "params": params,
        "inputs": {},
        "outputs": {f"results/past/{rule}-{'-'.join(wildcards.values())}.txt": "0" * 64},
        "measured": measured,
        "code": {"commit": None, "dirty": False},
        "packages": {},
        "machine": {"threads": 1, "gpu": None},
        "cost": {"started": "", "wall_seconds": seconds, "startup_seconds": 0.5, "peak_memory_mb": 400.0},
        **more,
    }


@pytest.fixture
def past(tmp_path, demo):
    """The records of a study: the demo's, its times made up from its work."""
    folder = tmp_path / "results/past"
    sets = {name: work.images(settings) for name, settings in demo.sets.items()}

    def write(content):
        name = next(iter(content["outputs"]))
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"0" * 2**20)
        write_json(tmp_path / name.replace(".txt", ".record.json"), content)

    for name, images in sets.items():
        splits = {split: {"images": count, "classes": {str(k): 1 for k in range(9)}} for split, count in images.splits.items()}
        measured = {"shape": [images.channels, images.side, images.side], "splits": splits}
        write(record("prepare", {"set": name}, {"settings": demo.sets[name]}, measured, 0.1))
    for name, run in demo.runs.items():
        names, does = {"run": name, "seed": "0"}, work.training(run, sets[run["data"]])
        seconds = 1 + 0.001 * does.amounts["steps"]
        write(record("train", names, {"run": run}, {"resumed_from_epoch": 0}, seconds))
        params = {"run": run, "evaluations": demo.evaluations_of(name), "corruptions": demo.corruptions}
        seconds = 2 + work.measuring(run, params["evaluations"], demo.corruptions, sets).amounts["images"] / 1e5
        write(record("measure", names, params, {}, seconds))
    return folder


def test_a_study_is_forecast_from_another_one_s_records(past, demo):
    from geed.commands.plan import _samples

    found = forecast.forecast(demo, _samples(past), reading=33)
    counts = {name: stage.jobs for name, stage in found.stages.items()}
    # those of the DAG, which tests/workflow/test_dag.py counts
    assert counts == {"prepare": 4, "corrupt": 1, "search": 0, "train": 81, "measure": 78, "look": 2, "read": 33}
    steps = sum(3 * work.training(run, work.images(demo.sets[run["data"]])).amounts["steps"] for run in demo.runs.values())
    assert found.stages["train"].hours == pytest.approx((81 * 1.5 + 0.001 * steps) / 3600, rel=1e-3)
    assert found.stages["train"].stretch == pytest.approx(1) and found.fits["train"].error == pytest.approx(1, abs=0.01)
    assert found.stages["look"].unknown == 2 and found.stages["look"].hours == 0
    assert found.stages["measure"].disk == pytest.approx(78 / 1024, rel=0.3)


def test_the_full_study_is_planned_to_the_last_job(past, monkeypatch):
    monkeypatch.chdir(ROOT)
    full = study_plan.load(["config.yaml", "workflow/studies/full.yaml"], "workflow/schemas")
    claims = yaml.safe_load((ROOT / "workflow/schemas/claims.schema.yaml").read_text())["properties"]
    assert full.claims.keys() == claims.keys()
    assert sum(name.startswith("timm_") for name in full.runs) > 470
    from geed.commands.plan import _samples

    found = forecast.forecast(full, _samples(past), reading=len(full.claims))
    networks = sum(len(full.run_seeds[name]) for name in forecast.trained(full))
    assert found.stages["train"].jobs == found.stages["measure"].jobs == networks
    assert 1400 < sum(stage.jobs for stage in found.stages.values()) < 3000  # Snakemake plans this in seconds
    assert all(0 < found.stages[stage].memory < 100 for stage in ("prepare", "train", "measure"))
    asked = [resources.grown(resources.of_measuring(full, name), 1) for name in full.measured]
    assert max(entry["mem_mb"] for entry in asked) <= 64_000 and max(entry["runtime"] for entry in asked) <= 48 * 60


def test_the_command_says_what_it_rests_on(past, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main(["plan", "--records", str(past)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("study demo: 81 networks, 199 jobs beside downloads\n")
    assert "no record: 2 jobs not counted" in said and "81" in said
    assert "runs left out: within a factor 1.0" in said
    assert "GPU" not in said


def test_gpu_hours_without_a_gpu_s_record_are_called_an_assumption(past, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(ROOT)
    (tmp_path / "mine.yaml").write_text("device: cuda\n")
    assert main(["plan", str(tmp_path / "mine.yaml"), "--records", str(past), "--speedup", "10"]) == 0
    said = capsys.readouterr().out
    assert "GPU-h" in said and "No record is of a GPU: GPU-hours are core-hours divided by 10, an assumption" in said


def test_without_records_it_says_what_to_do(monkeypatch, capsys, tmp_path):
    for name in ("config.yaml", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    assert main(["plan"]) == 2
    said = capsys.readouterr().err
    assert "expected the records of trained and measured networks, found no study in results/; run the demo first" in said
