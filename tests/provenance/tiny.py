"""A small study in a checkout of its own, run by the workflow's own scripts in this process.

Three runs, two seeds, one epoch, two claims, a figure.
"""

import contextlib
import runpy
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from geed.provenance.replay import Named
from geed.provenance.sources import sources
from geed.study import plan as study_plan

ROOT = Path(__file__).parents[2]
GROUP = "rotations:4"
METRICS = [
    "channel_eed/cosine",
    "latent_eed/cosine",
    "latent_eed/normalized_cosine",
    "latent_eed/l2",
    "output_eed/kl",
    "accuracy",
]
CONFIG = {
    "study": "tiny",
    "overview": {"runs": ["plain"], "group": GROUP},
    "explained": None,
    "seeds": [0, 1],
    "device": "cpu",
    "data": {"sets": {"digits": {"source": "digits", "size": 9, "limit": 60}}},
    "corruptions": {"names": ["gaussian_noise", "contrast"], "severities": [1, 3]},
    "architectures": {"cnn": {"kind": "plain_cnn", "widths": [4, 6]}},
    "training": {"epochs": 1, "batch_size": 16},
    "runs": {
        "plain": {"data": "digits", "architecture": "cnn"},
        "finetuned": {"data": "digits", "architecture": "cnn", "initialisation": {"from": "plain"}},
        "untrained": {"data": "digits", "architecture": "cnn", "objective": "none"},
    },
    "evaluations": {
        "clean": {
            "groups": [GROUP, "reflections"],
            "metrics": METRICS,
        },
        "corrupted": {"corrupted": True, "groups": [GROUP], "metrics": ["output_eed/kl"], "runs": ["plain"]},
    },
    "claims": {
        "K4": {
            "metrics": METRICS[1:5],
            "comparisons": {
                "turn": {"group": GROUP, "pretrained": "finetuned", "random": "plain", "untrained": "untrained"},
                "flip": {"group": "reflections", "pretrained": "finetuned", "random": "plain", "untrained": "untrained"},
            },
        },
        "P31": {"groups": ["reflections"]},
    },
}


def git(root, *words):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


def play(root, rule, *, wildcards=(), inputs=(), outputs=(), record, params=(), script=None):
    """Run a job as Snakemake would: its script, with the sources that it imports among the inputs."""
    script = f"workflow/scripts/{script or rule}.py"
    code = [script, *(path.relative_to(ROOT).as_posix() for path in sources(ROOT / script)[1:])]
    played = SimpleNamespace(
        rule=rule,
        wildcards=Named(dict(wildcards)),
        input=Named({**dict(inputs), "code": code}),
        output=Named({**dict(outputs), "record": record}),
        params=Named(dict(params)),
        log=["logs/job.log"],
        threads=1,
    )
    for path in played.output:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(root):
        try:
            runpy.run_path(script, init_globals={"snakemake": played})
        except SystemExit:
            pytest.fail(f"{rule}: {Path('logs/job.log').read_text()}")


def build(root):
    """The jobs of the study, in order, wired as in workflow/rules/."""
    plan = study_plan.load([root / "config.yaml", root / STUDY], ROOT / "workflow/schemas")
    results = "results/tiny"
    data = f"{results}/data/digits.safetensors"
    corrupted = f"{results}/data/digits.corrupted.safetensors"
    play(
        root,
        "prepare",
        wildcards={"set": "digits"},
        inputs={"sources": []},
        outputs={"data": data},
        record=f"{results}/data/digits.record.json",
        params={"settings": plan.sets["digits"]},
    )
    play(
        root,
        "corrupt",
        wildcards={"set": "digits"},
        inputs={"data": data},
        outputs={"data": corrupted},
        record=f"{results}/data/digits.corrupted.record.json",
        params=plan.corruptions,
    )
    tables = []
    for run in ("plain", "finetuned", "untrained"):
        for seed in plan.seeds:
            models, measured = f"{results}/models/{run}/seed-{seed}", f"{results}/measurements/{run}/seed-{seed}"
            start = plan.runs[run]["initialisation"]["from"]
            where = {"run": run, "seed": str(seed)}
            play(
                root,
                "train",
                wildcards=where,
                inputs={"data": data}
                | ({"source": f"{results}/models/{start}/seed-{seed}/weights.safetensors"} if start else {}),
                outputs={
                    "weights": f"{models}/weights.safetensors",
                    "snapshots": f"{models}/snapshots.safetensors",
                    "history": f"{models}/history.csv",
                },
                record=f"{models}/train.record.json",
                params={"run": plan.runs[run], "study": "tiny", "device": "cpu", "checkpoints": f"{results}/checkpoints"},
            )
            wanted = plan.evaluations_of(run)
            outputs = {"table": f"{measured}/table.parquet", "per_image": f"{measured}/per_image.parquet"}
            play(
                root,
                "measure",
                wildcards=where,
                inputs={
                    "weights": f"{models}/weights.safetensors",
                    "snapshots": f"{models}/snapshots.safetensors",
                    "data": [data, *([corrupted] if "corrupted" in wanted else [])],
                },
                outputs=outputs,
                record=f"{measured}/measure.record.json",
                params={
                    "run": plan.runs[run],
                    "evaluations": wanted,
                    "corruptions": plan.corruptions,
                    "device": "cpu",
                    "folder": f"{results}/data",
                },
            )
            tables += outputs.values()
    for claim in CONFIG["claims"]:
        play(
            root,
            "claim",
            wildcards={"claim": claim},
            inputs={"tables": tables if claim == "K4" else []},
            outputs={"result": f"{results}/claims/{claim}.json", "parts": f"{results}/claims/{claim}.csv"},
            record=f"{results}/claims/{claim}.record.json",
            params={
                "settings": plan.claims[claim],
                "study": "tiny",
                "seeds": {run: plan.run_seeds[run] for run in plan.claim_runs[claim]},
                "folder": f"{results}/measurements",
            },
        )
    play(
        root,
        "claims_table",
        inputs={
            "results": [f"{results}/claims/{claim}.json" for claim in CONFIG["claims"]],
            "look": ["workflow/report/page.html"],  # as the rule `report` has it: a file of the project that is no module
        },
        outputs={name: f"{results}/claims.{suffix}" for name, suffix in SUFFIXES.items()},
        record=f"{results}/claims.record.json",
    )
    play(
        root,
        "figure",
        wildcards={"figure": "distances"},
        inputs={"result": f"{results}/claims/K4.json", "parts": f"{results}/claims/K4.csv"},
        outputs={"pdf": "figures/tiny/distances.pdf", "png": "figures/tiny/distances.png"},
        record="figures/tiny/distances.record.json",
    )


STUDY = "workflow/studies/tiny.yaml"
SUFFIXES = {"csv": "csv", "markdown": "md", "json": "json"}


def make(root):
    """A checkout of the project with the finished study in it."""
    root.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "workflow"):
        shutil.copytree(ROOT / name, root / name, ignore=ignore)
    shutil.copy(ROOT / "config.yaml", root)
    (root / STUDY).parent.mkdir(exist_ok=True)
    (root / STUDY).write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    git(root, "init", "--quiet")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "sources")
    build(root)
    return root
