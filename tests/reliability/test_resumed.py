"""Training killed outright in the midst of an epoch: the next start goes on, to the bytes of one that was never killed."""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from geed.data import store
from geed.data.imageset import ImageSet

EPOCHS = 8
TRAIN = """
import functools, json, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from geed.study import train as step
run, folder, data = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
fit = step.fit
def told(*args, progress, **options):
    def tell(epoch):
        print(epoch, flush=True)
        progress(epoch)
    return fit(*args, progress=tell, seconds_between_checkpoints=0, **options)
step.fit = told
numbers = step.train_run(
    run, study="test", seed=0, data=data, checkpoints=folder / "side", device="cpu",
    weights=folder / "weights.safetensors", history=folder / "history.csv", snapshots=folder / "snapshots.safetensors",
)
print(json.dumps(numbers), flush=True)
"""
RUNS = {
    "supervised": {"augmentation": ["crop", "rotations:4"]},
    "contrastive": {"objective": "contrastive", "augmentation": ["crop", "noise"]},
    "vicreg": {"objective": "vicreg", "augmentation": ["crop", "rotations:4"]},
    "best_validation": {"training": {"keep": "best_validation", "optimiser": "adam", "schedule": "constant"}},
    "steerable": {"architecture": {"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [2, 3]}},
}


def settings(changes: dict) -> dict:
    training = {"epochs": EPOCHS, "batch_size": 16, "learning_rate": 0.02, "weight_decay": 1e-4, "snapshots": [2, 5]}
    run = {
        "name": "tiny",
        "data": "shapes",
        "architecture": {"kind": "plain_cnn", "widths": [6, 8]},
        "initialisation": {"scale": 1.0, "from": None},
        "augmentation": [],
        "objective": "supervised",
    }
    return run | changes | {"training": training | changes.get("training", {})}


def images(split: str, count: int) -> ImageSet:
    generator = torch.Generator().manual_seed(count)
    pixels = torch.randint(0, 256, (count, 1, 11, 11), generator=generator) / 255
    labels = torch.arange(count) % 3
    pixels[labels == 1, :, :5] *= 0.3
    pixels[labels == 2, :, :, :5] *= 0.3
    return ImageSet(pixels, labels, torch.arange(count), ("a", "b", "c"), "shapes", split)


def start(run: dict, folder: Path, data: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", TRAIN, json.dumps(run), str(folder), str(data)], stdout=-1, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_killed_in_an_epoch_it_resumes_to_the_same_bytes(name, tmp_path):
    run, data, rng = settings(RUNS[name]), tmp_path / "shapes.safetensors", random.Random(name)
    store.write(data, {"train": images("train", 1500), "validation": images("validation", 60)})
    whole = start(run, tmp_path / "whole", data)
    lines, times = [], []
    for line in whole.stdout:
        lines.append(line)
        times.append(time.perf_counter())
    assert whole.wait() == 0 and len(lines) == EPOCHS + 1
    an_epoch = (times[EPOCHS - 2] - times[0]) / (EPOCHS - 2)
    for last in (2, 4, 6):
        process = start(run, tmp_path / "killed", data)
        for line in process.stdout:
            if int(line) == last:
                time.sleep(rng.uniform(0.2, 0.8) * an_epoch)
                process.kill()
        assert process.wait() == -9
        assert not (tmp_path / "killed/weights.safetensors").exists()
        assert len(list((tmp_path / "killed/side").glob("*.pt"))) == 1
    process = start(run, tmp_path / "killed", data)
    *_, numbers = process.stdout
    assert process.wait() == 0
    assert json.loads(numbers)["resumed_from_epoch"] >= 6
    for file in ("weights.safetensors", "history.csv", "snapshots.safetensors"):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    assert not list((tmp_path / "killed/side").iterdir())
