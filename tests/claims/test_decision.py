import re
from pathlib import Path

import pytest
import yaml
from synthetic import C4, settings

from geed.claims import parts as claim_parts
from geed.claims import table
from geed.claims.decision import CLAIMS, decide, evaluate
from geed.claims.moskalev import arms as networks
from geed.claims.settings import evaluations, metrics
from geed.errors import GeedError
from geed.files import read_json, sha256
from geed.metrics.registry import CONTROLS
from geed.stats.bootstrap import Interval
from geed.study.config import load_schema, references

ROOT = Path(__file__).parents[2]
CONTRACT = {
    *("id", "paper", "statement", "test", "estimate", "ci_low", "ci_high", "n_seeds"),
    *("floor", "null", "reported", "verdict", "evidence", "scale"),
}
COMPARISON = {"group": C4, "supervised": "plain", "contrastive": "contrastive", "others": ["crops"]}


@pytest.fixture
def measurements(world):
    for run, deviation in (("plain", 0.5), ("contrastive", 0.2), ("crops", 0.6)):
        for metric in ("latent_eed/normalized_cosine", "latent_eed/l2"):
            world.add(run, metric, deviation, layer="features")
        world.add(run, "accuracy", 0.9)
    return world.write()


def _decide(measurements, tmp_path, claim="K5", **given):
    given = given or {"comparisons": {"rotation": COMPARISON}, "shown_metrics": ["latent_eed/l2"]}
    paths = {"result": tmp_path / f"{claim}.json", "parts": tmp_path / f"{claim}.csv"}
    measured = decide(claim, settings(claim, **given), study="simulated", measurements=measurements, seeds=[0, 1, 2], **paths)
    return measured, read_json(paths["result"]), claim_parts.read(paths["parts"])


def test_what_is_written(measurements, tmp_path):
    measured, result, parts = _decide(measurements, tmp_path)
    assert set(result) >= CONTRACT
    assert measured["verdict"] == result["verdict"] == "reproduced"
    assert result["scale"] == "simulated" and result["reported"] == {"value": None, "where": "page 2, in words"}
    assert {Path(entry["path"]).parts[-3] for entry in result["evidence"]} == {"plain", "contrastive", "crops"}
    assert all(sha256(entry["path"]) == entry["sha256"] for entry in result["evidence"])
    assert sha256(result["parts"]["path"]) == result["parts"]["sha256"]
    assert parts["layer"].tolist() == [""] * len(parts) if "layer" in parts else True
    assert parts["estimate"].dtype == float and set(parts["part"]) == {"deviation", "accuracy", "difference"}


def test_equal_measurements_give_equal_bytes(measurements, tmp_path):
    _decide(measurements, tmp_path)
    first = [(tmp_path / name).read_bytes() for name in ("K5.json", "K5.csv")]
    _decide(measurements, tmp_path)
    assert [(tmp_path / name).read_bytes() for name in ("K5.json", "K5.csv")] == first


def test_propositions_are_their_own_evidence(tmp_path):
    _, result, _ = _decide(tmp_path, tmp_path, "P32", groups=["reflections"])
    assert result["evidence"] == [result["parts"]] and sha256(tmp_path / "P32.csv") == result["evidence"][0]["sha256"]


def test_a_missing_run_is_named(measurements, tmp_path):
    with pytest.raises(GeedError, match=r"expected the measurements of run crop,.*did you mean 'crops'"):
        _decide(measurements, tmp_path, comparisons={"rotation": COMPARISON | {"others": ["crop"]}})


def test_an_unknown_claim_is_refused():
    with pytest.raises(GeedError, match=r"claims\.K9: unknown claim.*known: K1"):
        evaluate("K9", {}, None, "simulated")


def test_every_claim_of_the_schema_can_be_decided_and_the_other_way_round():
    schema = yaml.safe_load((ROOT / "workflow/schemas/claims.schema.yaml").read_text(encoding="utf-8"))
    assert set(schema["properties"]) == set(CLAIMS)


@pytest.mark.parametrize(("study", "decided"), [("demo", "KLMP"), ("genuine", "MP"), ("lie", "LP")])
def test_a_study_decides_its_claims_and_measures_what_they_need(study, decided):
    from geed.study import plan

    files = [ROOT / "config.yaml", *([ROOT / f"workflow/studies/{study}.yaml"] if study != "demo" else [])]
    study, schema = plan.load(files, ROOT / "workflow/schemas", {}), load_schema(ROOT / "workflow/schemas")
    assert set(study.claims) == {claim for claim in CLAIMS if claim[0] in decided}
    for claim, given in study.claims.items():
        measured = {metric for name in evaluations(given) for metric in study.evaluations[name]["metrics"]}
        controls = {f"{name}/{distance}" for name, known in CONTROLS.items() for distance in known}
        wanted = set(networks.METRICS) if claim[0] == "M" else {"accuracy"} if claim[0] == "L" else metrics(given)
        assert wanted is None or wanted <= measured | controls
        for entry in list(given["comparisons"].values()) if claim[0] == "L" else ():
            evaluation = study.evaluations[entry["evaluation"]]
            named = {
                name
                for _, kind, name in references({"claims": {claim: {"comparisons": {"one": entry}}}}, schema)
                if kind == "runs"
            }
            assert named and named <= set(evaluation["runs"] or study.runs)
            assert set(entry["transforms"]) <= set(evaluation["lie"]["transforms"])
            assert evaluation["lie"]["layerwise"] or claim != "L1"


def test_table_lists_every_claim_and_those_that_are_missing(measurements, tmp_path):
    _decide(measurements, tmp_path)
    suffixes = {"csv": "csv", "markdown": "md", "json": "json"}
    paths = {kind: tmp_path / f"claims.{suffix}" for kind, suffix in suffixes.items()}
    table.write_tables([tmp_path / "K4.json", tmp_path / "K5.json"], **paths)
    rows = [line.split(",")[:2] for line in paths["csv"].read_text().splitlines()]
    assert rows == [["claim", "verdict"], ["K4", "missing"], ["K5", "reproduced"]]
    lines = paths["markdown"].read_text().splitlines()
    assert lines[2] == "| K4 | **missing** | – | – | `snakemake --cores 2 claim_K4` |"
    assert re.search(r"\*\*reproduced\*\* \| 0\.\d+ \[0\.\d+, 0\.\d+\] \(d, latent_eed", lines[3])
    assert "--configfile workflow/studies/simulated.yaml claim_K5`" in lines[3]
    assert [result["id"] for result in read_json(paths["json"])] == ["K5"]


def test_table_for_a_terminal_is_aligned():
    results = [
        {"id": "K1", "verdict": "reproduced", "estimate": 0.25, "ci_low": 0.125, "ci_high": 0.5, "n_seeds": 3, "scale": "demo"},
        {
            "id": "P31",
            "verdict": "inconclusive",
            "estimate": None,
            "ci_low": None,
            "ci_high": None,
            "n_seeds": None,
            "scale": "demo",
        },
    ]
    assert table.text(table.collect(results)).splitlines() == [
        "claim  verdict       estimate           seeds  figure",
        "K1     reproduced    0.25 [0.125, 0.5]  3      figures/demo/layers.png",
        "P31    inconclusive  –                  –      figures/demo/factors.png",
    ]


def test_parts_keep_types_through_csv_and_refuse_unknown_columns(tmp_path):
    from geed.files import write_table

    parts = claim_parts.Parts()
    parts.add("deviation", Interval(0.5, 0.4, 0.6, 0.01), metric="output_eed/kl", corruption="none", severity=None, n_seeds=3)
    parts.add("ratio", 0.25, metric="accuracy", severity=2)
    write_table(tmp_path / "parts.csv", parts.frame())
    again = claim_parts.read(tmp_path / "parts.csv")
    assert again.equals(parts.frame())
    assert again["distance"].tolist() == ["kl", ""] and again["corruption"].tolist() == ["none", ""]
    assert again["severity"].isna().tolist() == [True, False] and again["ci_low"].isna().tolist() == [False, True]
    with pytest.raises(GeedError, match="unknown column severty; did you mean 'severity'"):
        parts.add("ratio", 0.25, severty=2)
