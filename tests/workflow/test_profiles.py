"""Profiles: each entry says why it is there, and rules know standard resources only."""

import re
from pathlib import Path

import pytest
import yaml

from geed.study import resources

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "workflow/profiles"
RULES = [
    (match[1], match[2])
    for path in sorted((ROOT / "workflow/rules").glob("*.smk"))
    for match in re.finditer(r"(?ms)^rule (\w+):\n(.*?)(?=^\S|\Z)", path.read_text())
]


def profile(name):
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text())


@pytest.mark.parametrize("name", ["default", "gpu", "slurm"])
def test_every_entry_has_its_reason(name):
    lines = (PROFILES / name / "config.yaml").read_text().splitlines()
    for place, line in enumerate(lines):
        if not re.match(r"[a-z-]+:", line):
            continue
        entries = [line]
        for following in lines[place + 1 :]:
            if not following.startswith(" "):
                break
            entries.append(following)
        assert lines[place - 1].startswith("#") or any("#" in entry for entry in entries), line


def test_the_two_for_slurm_differ_in_how_a_gpu_is_asked_for_only():
    plain, gres = profile("slurm"), profile("slurm-gres")
    others = gres.pop("set-resources")
    assert gres.pop("config") == ["device=cuda"]
    assert gres == plain
    asking = {name for name, block in RULES if "device" in block}
    assert others == {name: {"gpu": 0, "gres": "'gpu:1'"} for name in asking}


def test_groups_and_partitions_are_of_rules_and_limits_that_there_are():
    found = profile("slurm")
    names = {name for name, _ in RULES}
    groups = dict(entry.split("=") for entry in found["groups"])
    assert groups.keys() <= names
    assert {entry.split("=")[0] for entry in found["group-components"]} == set(groups.values())
    partitions = yaml.safe_load((ROOT / found["slurm-partition-config"]).read_text())["partitions"]
    assert all(limits["max_runtime"] >= 30 for limits in partitions.values())


def test_every_rule_that_a_cluster_runs_asks_for_standard_resources_and_nothing_else():
    assert {name for name, _ in RULES} > {"train", "measure", "claim", "figure", "report"}
    for name, block in RULES:
        if "localrule: True" not in block:
            assert re.search(rf"resources:\n +\*\*asks\((\"{name}\")?\),\n", block), name
    for path in [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]:
        assert not re.search(r"slurm|partition|\bqos|account|\bgres\b|sbatch", path.read_text()), path
    assert set(resources.directives(dict)) == {"mem_mb", "runtime", "gpu"}


def test_containers_hold_the_locked_environment():
    for recipe in ("envs/Dockerfile", "envs/geed.def"):
        text = (ROOT / recipe).read_text()
        assert "pip install --no-cache-dir -r /tmp/requirements.lock" in text and "python:3.11-slim" in text
    assert 'container: "envs/geed.sif"' in (ROOT / "Snakefile").read_text()
