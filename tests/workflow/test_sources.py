"""Real data and pretrained weights in the DAG: fetched by jobs of their own, with checksums."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from geed.files import read_json, sha256
from geed.models.published import PRETRAINED
from geed.study.fetch import FILES

ROOT = Path(__file__).parents[2]
MIRROR = os.environ.get("GEED_DATA_MIRROR")
STUDY = {
    "study": "published",
    "seeds": [0],
    "data": {"sets": {"mnist": {"source": "mnist", "limit": 200}, "photos": {"source": "cifar10_subset", "limit": 50}}},
    "architectures": {"resnet": {"kind": "pretrained", "name": "cifar10_resnet20"}},
    "runs": {
        "published": {"data": "photos", "architecture": "resnet", "objective": "none"},
        "random": {
            "data": "photos",
            "architecture": "resnet",
            "objective": "none",
            "initialisation": {"pretrained": False},
        },
    },
    "evaluations": {"clean": {"groups": ["reflections"], "metrics": ["latent_eed/cosine", "output_eed/kl"]}},
    "corruptions": {},
    "claims": {},
    "overview": {"runs": ["published"], "group": "reflections"},
    "explained": None,
}
TABLES = [f"results/published/measurements/{run}/seed-0/table.parquet" for run in ("published", "random")]
MNIST = "results/published/data/mnist.safetensors"


@pytest.fixture
def workspace(tmp_path):
    for name in ("Snakefile", "config.yaml", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("workflow", "src", "envs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    return tmp_path


def snakemake(folder, *arguments, mirror=None):
    environment = {key: value for key, value in os.environ.items() if key != "GEED_DATA_MIRROR"}
    environment |= {"GEED_CACHE": str(folder / "cache")} | ({"GEED_DATA_MIRROR": str(mirror)} if mirror else {})
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", "1", "--configfile", "study.yaml"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def jobs(output):
    table = output.split("Job stats:")[1].split("total")[0]
    rows = [line.split() for line in table.splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}


def test_every_source_file_is_a_job(workspace):
    code, output = snakemake(workspace, *TABLES, MNIST, "-n")
    assert code == 0, output
    # Four files of MNIST, CIFAR-10 and one file of weights, which the untrained network does not need.
    assert jobs(output) == {"fetch": 6, "weights": 1, "prepare": 2, "train": 2, "measure": 2}
    code, output = snakemake(workspace, TABLES[1], "-n")
    assert code == 0 and jobs(output) == {"fetch": 1, "prepare": 1, "train": 1, "measure": 1}, output


def test_networks_as_published_and_weights_of_timm_are_jobs(workspace):
    """On a data set that has test images only; the weights of timm are a file of their own, one job a network."""
    runs = {name: {"data": "photos", "architecture": name, "objective": "none"} for name in ("mobilenet", "vit")}
    study = STUDY | {
        "data": {"sets": {"photos": {"source": "imagenet_samples", "size": 224}}},
        "architectures": {
            "mobilenet": {"kind": "pretrained", "name": "mobilenet_v2_int8"},
            "vit": {"kind": "pretrained", "name": "timm:deit_tiny_patch16_224.fb_in1k"},
        },
        "runs": runs,
        "overview": None,
    }
    (workspace / "study.yaml").write_text(yaml.safe_dump(study))
    tables = [f"results/published/measurements/{run}/seed-0/table.parquet" for run in runs]
    code, output = snakemake(workspace, *tables, "-n")
    wanted = {"fetch": 1, "weights": 1, "timm_weights": 1, "prepare": 1, "train": 2, "measure": 2}
    assert code == 0 and jobs(output) == wanted, output
    assert "results/weights/timm/deit_tiny_patch16_224.fb_in1k.safetensors" in output
    study["runs"] = {"mobilenet": runs["mobilenet"] | {"objective": "supervised"}}
    (workspace / "study.yaml").write_text(yaml.safe_dump(study))
    code, output = snakemake(workspace, tables[0], "-n")
    assert code == 1 and "runs.mobilenet.data: expected a data set with a training split, found photos" in output


def test_a_wrong_file_in_the_mirror_ends_the_run_in_a_sentence(workspace):
    path = "cifar10/cifar10_lossless_subset.npz"
    (workspace / "mirror/cifar10").mkdir(parents=True)
    (workspace / "mirror" / path).write_bytes(b"wrong")
    code, output = snakemake(workspace, f"results/sources/{path}", "--retries", "0", mirror=workspace / "mirror")
    assert code == 1 and not (workspace / "results/sources" / path).exists()
    assert f"{path} (sha256 {FILES[path].sha256}) cannot be had: the mirror {workspace}/mirror has a wrong one" in output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.skipif(not MIRROR, reason="GEED_DATA_MIRROR is not set")
def test_real_data_and_weights_run_to_the_table(workspace):
    code, output = snakemake(workspace, *TABLES, MNIST, mirror=MIRROR)
    assert code == 0, output
    weights = workspace / "results/weights/cifar10_resnet20.safetensors"
    assert sha256(weights) == PRETRAINED["cifar10_resnet20"].safetensors
    published, untrained = (pd.read_parquet(workspace / path) for path in TABLES)
    assert (published["n_images"] == 50).all() and set(published["metric"]) >= {"latent_eed", "output_eed"}
    error = published.set_index("metric")["value"]
    assert error["latent_eed"] != untrained.set_index("metric")["value"]["latent_eed"]
    record = read_json(workspace / "results/published/models/published/seed-0/train.record.json")
    assert record["measured"]["validation_accuracy"] > 0.85  # it has seen these images in training
    record = read_json(workspace / "results/published/data/mnist.record.json")
    fetched = {path: digest for path, digest in record["inputs"].items() if path.startswith("results/sources/mnist/")}
    assert fetched == {f"results/sources/{path}": file.sha256 for path, file in FILES.items() if path.startswith("mnist/")}
    code, output = snakemake(workspace, *TABLES, MNIST, "-n")  # without the mirror: what was fetched stays
    assert "Nothing to be done" in output, output
