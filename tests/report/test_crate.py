"""The RO-Crate, read back with the library for it."""

from pathlib import Path

import pytest

from geed.files import read_json, sha256
from geed.report import crate, page

ROOT = Path(__file__).parents[2]
RESULTS = Path("results/small")


def written(study):
    from rocrate.rocrate import ROCrate

    page.write(study, ROOT / "workflow/report", RESULTS / page.NAME)
    crate.write(study, ROOT / "CITATION.cff")
    return ROCrate(RESULTS)


def check(read, folder):
    """What must hold of any study's crate."""
    files = [entity for entity in read.data_entities if "File" in entity.type]
    for file in files:
        assert not Path(file.id).is_absolute() and ".." not in Path(file.id).parts and "://" not in file.id
        assert (folder / file.id).is_file(), file.id
        assert "sha256" not in file.properties() or sha256(folder / file.id) == file["sha256"], file.id
    known = {entity.id for entity in read.get_entities()}
    actions = read.get_by_type("CreateAction")
    for action in actions:
        assert action["startTime"] <= action["endTime"]
        for key in ("instrument", "object", "result", "subjectOf"):
            held = action.properties().get(key, [])
            for entry in held if isinstance(held, list) else [held]:
                assert entry["@id"] in known
    return files, actions


def test_it_reads_back_whole(world, study):
    read = written(study)
    files, actions = check(read, RESULTS)
    assert {"claims/K1.json", "models/plain/seed-1/weights.safetensors", "claims.csv"} <= {file.id for file in files}
    assert len(actions) == 11
    train = read.dereference("#job/results/small/models/plain/seed-1/train.record.json")
    assert train["name"] == "train plain 1"
    assert [file.id for file in train["result"]] == ["models/plain/seed-1/weights.safetensors"]
    assert [file.id for file in train["object"]] == ["data/digits.safetensors"]
    assert train["instrument"]["softwareVersion"].endswith("(c0ffee)")
    assert {package["name"] for package in train["instrument"]["softwareRequirements"]} == {"torch", "numpy"}
    # 10 s from 03:04:02
    assert (train["startTime"], train["endTime"]) == ("2026-01-02T03:04:04+00:00", "2026-01-02T03:04:14+00:00")


def test_figures_lie_outside_and_are_named_with_their_hash(world, study):
    figure = written(study).dereference("#outside/figures/small/layers.png")
    assert figure["name"] == "figures/small/layers.png" and figure["sha256"] == sha256("figures/small/layers.png")


def test_root_names_licence_authors_papers_and_data(world, study):
    root = written(study).root_dataset
    assert root["license"].id == "https://spdx.org/licenses/MIT"
    assert root["conformsTo"].id.startswith("https://w3id.org/ro/wfrun/process/")
    assert [author["name"] for author in root["author"]] == ["The geed authors"]
    assert {paper.id.rsplit("/", 1)[1] for paper in root["citation"]} == {"2210.03773", "2308.03904", "2210.02984"}
    paper = next(paper for paper in root["citation"] if paper.id == "https://arxiv.org/abs/2210.03773")
    assert paper["author"][0]["name"] == "Henry Kvinge"
    assert [source.id for source in root["isBasedOn"]] == ["#data/digits"] and root["isBasedOn"][0]["usageInfo"]
    assert root["datePublished"] == "2026-01-02T03:04:14+00:00"


def test_equal_records_give_equal_bytes_and_no_dead_reference(world, study):
    written(study)
    before = (RESULTS / crate.NAME).read_bytes()
    written(study)
    assert (RESULTS / crate.NAME).read_bytes() == before
    graph = read_json(RESULTS / crate.NAME)["@graph"]
    known = {entity["@id"] for entity in graph}
    assert len(known) == len(graph)


def test_a_study_with_nothing_done_has_a_crate_too(tmp_path, monkeypatch, study):
    monkeypatch.chdir(tmp_path)
    RESULTS.mkdir(parents=True)
    assert check(written(study), RESULTS)[1] == []


@pytest.mark.demo
def test_the_demos_crate_is_whole():
    from rocrate.rocrate import ROCrate

    folder = ROOT / "results/demo"
    files, actions = check(ROCrate(folder), folder)
    assert len(files) > 200 and len(actions) > 100
