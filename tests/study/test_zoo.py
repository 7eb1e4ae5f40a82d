"""Runs from a table of published networks."""

import csv
from collections import Counter
from pathlib import Path

import pytest
import yaml

from geed import compat
from geed.errors import GeedError
from geed.study import plan, zoo

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "workflow/studies/gruver_models.csv"


def study(folder, table="timm,size,family\nresnet18.a1_in1k,224,cnn\nvit_a.b,384,vit\n,,\nvit_c,224,vit\n", **changes):
    (folder / "table.csv").write_text(table)
    config = {
        "study": "zoo",
        "data": {"sets": {}},
        "architectures": {},
        "runs": {},
        "zoo": {"table": str(folder / "table.csv"), "set": {"source": "imagenet_samples", "limit": 10}},
        "evaluations": {
            "lie": {"groups": ["trivial"], "metrics": ["accuracy"], "lie": {"transforms": ["rotation"]}, "runs": ["zoo:vit"]}
        },
        **changes,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    return plan.load([folder / "study.yaml"], ROOT / "workflow/schemas")


def test_every_row_with_a_name_is_a_run_at_its_own_size(tmp_path):
    found = study(tmp_path)
    assert list(found.runs) == ["timm_resnet18_a1_in1k", "timm_vit_a_b", "timm_vit_c"]
    run = found.runs["timm_vit_a_b"]
    assert run["architecture"] == {"kind": "pretrained", "name": "timm:vit_a.b"}
    assert run["initialisation"]["pretrained"] and run["objective"] == "none"
    assert {name: entry["size"] for name, entry in found.sets.items()} == {"zoo_224": 224, "zoo_384": 384}
    assert found.sets[run["data"]]["size"] == 384 and found.sets[run["data"]]["limit"] == 10
    assert found.measured == ["timm_vit_a_b", "timm_vit_c"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"table": "timm,size\na,224\n"}, "table.csv: expected a column 'family', found timm, size"),
        ({"table": "timm,size,family\na,big,cnn\n"}, "expected a size in pixels and a family for a, found 'big' and 'cnn'"),
        ({"table": "timm,size,family\na,224,cnn\na,224,cnn\n"}, "expected every network once, found one twice"),
        ({"zoo": {"table": "nowhere.csv", "set": {"source": "imagenet_samples"}}}, "nowhere.csv: cannot be read"),
        ({"zoo": {"tables": "nowhere.csv"}}, "zoo.tables: unknown key; did you mean 'table'"),
        (
            {"evaluations": {"lie": {"groups": ["trivial"], "metrics": ["accuracy"], "runs": ["zoo:vits"]}}},
            "evaluations.lie.runs: the zoo's table has no family 'vits'; did you mean 'vit'",
        ),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, changes, words):
    with pytest.raises(GeedError) as caught:
        study(tmp_path, **changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_the_papers_list_is_whole_and_what_timm_has():
    """483 names; each leads to weights of ImageNet-1k's classes in the locked timm, at the size given, or has a reason."""
    get_pretrained_cfg = compat.import_timm().models.get_pretrained_cfg
    with open(TABLE, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["paper"] for row in rows}) == len(rows) == 483
    assert all(row["timm"] or row["note"] for row in rows) and sum(not row["timm"] for row in rows) == 5
    named = zoo.read(TABLE)
    assert len({row["timm"] for row in named}) == 478
    assert set(Counter(row["family"] for row in named)) == {"cnn", "transformer", "mixer", "hybrid"}
    faults = []
    for row in named:
        config = get_pretrained_cfg(row["timm"], allow_unregistered=False)
        if config is None or config.num_classes != 1000 or config.input_size[-1] != int(row["size"]) or not config.has_weights:
            faults.append((row["timm"], row["size"], config and (config.num_classes, config.input_size, config.has_weights)))
    assert not faults
