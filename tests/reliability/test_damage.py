"""Every reader, given its file damaged in a hundred ways: refused in one sentence that names it, or read; never a crash.

Formats without checksums let some flipped bits pass. Those are found by the frame of the next job, which compares its inputs with
their records (tests/provenance/test_job.py), and by `geed audit`.
"""

import argparse
import gzip
import io
import os
import pickle
import random
import shutil
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from geed import files
from geed.claims.evidence import Evidence
from geed.commands import claims as claims_command
from geed.data import readers, store
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.figures import overview, tables
from geed.models import published, weights, zoo
from geed.models.build import build
from geed.provenance import records
from geed.training import checkpoints

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference/demo"
SPEC = {
    "architecture": {"kind": "plain_cnn", "widths": [3, 4]},
    "channels": 1,
    "size": 9,
    "classes": 3,
    "mean": [0.1],
    "std": [0.3],
}
FLIPS, CUTS = 60, 30


def images(count: int = 12) -> ImageSet:
    pixels = torch.randint(0, 256, (count, 1, 9, 9), generator=torch.Generator().manual_seed(0)) / 255
    return ImageSet(pixels, torch.arange(count) % 3, torch.arange(count), ("a", "b", "c"), "digits", "test")


def prepared(file: Path) -> None:
    store.write(file, {"train": images(), "test": images(6)})


def corrupted(file: Path) -> None:
    store.write_corrupted(file, images(), lambda name, severity: images().images, ["contrast"], [1, 3])


def network(file: Path) -> None:
    weights.save(build(SPEC, "test", 0), file)


def snapshots(file: Path) -> None:
    model = build(SPEC, "test", 0)
    weights.save_snapshots(model, {1: weights.copy_state(model), 3: weights.copy_state(model)}, file)


def state() -> dict[str, torch.Tensor]:
    return torch.nn.Linear(8, 3).state_dict()


def zoo_model(file: Path) -> None:
    zoo.load_weights(torch.nn.Linear(8, 3), file)


def measured(file: Path) -> None:
    rows = [
        {
            "run": "plain",
            "seed": 0,
            "epoch": 1,
            "evaluation": "clean",
            "data": "digits",
            "corruption": "none",
            "severity": 0,
            "group": "rotations:4",
            "layer": "",
            "depth": 1.0,
            "metric": metric,
            "distance": "kl",
            "values": np.arange(20, dtype=np.float32),
        }
        for metric in ("output_eed", "output_dispersion")
    ]
    files.write_table(file, pd.DataFrame(rows))


def evidence(file: Path) -> None:
    folder = file.parents[2]
    Evidence(folder, [0]).array("plain", "output_eed", "kl", group="rotations:4")


def photograph(file: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def cifar(file: Path) -> None:
    with tarfile.open(file, "w:gz") as archive:
        content = pickle.dumps({"data": np.zeros((5, 3072), np.uint8), "labels": [0, 1, 2, 3, 4]}, protocol=4)
        entry = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


def idx(file: Path) -> None:
    values = np.arange(5 * 28 * 28, dtype=np.uint8).reshape(5, 28, 28)
    file.write_bytes(gzip.compress(struct.pack(">BBBB3i", 0, 0, 8, 3, *values.shape) + values.tobytes()))


def orbit(file: Path) -> None:
    about = {"group": "rotations:4", "elements": [], "runs": [], "data": "digits", "class": "3", "n_images": 5}
    save_file({"images": torch.zeros(4, 1, 9, 9)}, file, metadata={"geed": files.canonical_json(about)})


def copied(name: str) -> Any:
    return lambda file: shutil.copy(REFERENCE / name, file)


def claims(file: Path) -> None:
    claims_command.run(argparse.Namespace(folder=file.parent, markdown=False))


def record(file: Path) -> None:
    parts = {key: {} for key in ("wildcards", "params", "measured", "code", "packages")}
    parts |= {"machine": {"threads": 1}, "cost": {"started": "2026-01-01T00:00:00+00:00", "wall_seconds": 1.0}}
    files.write_json(file, {"rule": "train", "inputs": {"a": "0" * 64}, "outputs": {"b": "1" * 64}} | parts)


# name of the file: how it is made, how it is read
FILES = {
    "prepared.safetensors": (prepared, lambda file: store.read(file, "train")),
    "corrupted.safetensors": (corrupted, lambda file: store.read_corrupted(file, "contrast", 3)),
    "weights.safetensors": (network, weights.load),
    "snapshots.safetensors": (snapshots, lambda file: weights.load(file, epoch=weights.epochs(file)[0])),
    "mine.safetensors": (lambda file: save_file(state(), file), zoo_model),
    "mine.pth": (lambda file: torch.save(state(), file), zoo_model),
    "published.th": (lambda file: torch.save({"state_dict": state()}, file), published.read),
    "old.th": (lambda file: torch.save(state(), file, _use_new_zipfile_serialization=False), published.read),
    "side.pt": (lambda file: checkpoints.save(file, {"epoch": 1, "model": state()}), checkpoints.load),
    "plain/seed-0/per_image.parquet": (measured, evidence),
    "table.parquet": (lambda file: files.write_table(file, pd.DataFrame({"a": [1.5, 2]})), files.read_table),
    "K4.csv": (copied("claims/K4.csv"), lambda file: tables.read(REFERENCE / "claims/K4.json", file)),
    "K4.json": (copied("claims/K4.json"), lambda file: tables.read(file, REFERENCE / "claims/K4.csv")),
    "claims.json": (copied("claims.json"), claims),
    "train.record.json": (record, records.read),
    "overview.safetensors": (orbit, overview.read),
    "photograph.png": (photograph, lambda file: readers.photograph(file, 32)),
    "photograph.jpg": (photograph, lambda file: readers.photograph(file, 32)),
    "cifar.tar.gz": (cifar, lambda file: readers.cifar10([file], "test", None).pixels(np.arange(2))),
    "images.gz": (idx, lambda file: readers._idx(file)),
}


# JSON, but not what is expected
SOMETHING_ELSE = (
    "null",
    "3",
    '"text"',
    "{}",
    "[3]",
    "[[]]",
    "[{}]",
    '{"id": 3}',
    '[{"id": 3}]',
    '[{"id": "K1", "estimate": "x"}]',
    "NaN",
)


class Bomb:
    """Pickled, it asks for a folder to be made."""

    def __init__(self, crater: Path) -> None:
        self.crater = str(crater)

    def __reduce__(self):
        return os.mkdir, (self.crater,)


def damages(whole: bytes, crater: Path) -> dict[str, bytes]:
    """The same file, damaged: by a word for how."""
    rng = random.Random(len(whole))
    found = {"empty": b"", "words": b"not what you expect\n", "zeros": bytes(len(whole)), "twice": whole + whole}
    for _ in range(FLIPS):
        # half of them near the start, where headers are
        place = rng.randrange(len(whole) if rng.random() < 0.5 else min(len(whole), 400))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.randrange(8)
        found[f"bit flipped in byte {place}"] = bytes(flipped)
    for _ in range(CUTS):
        end = rng.randrange(len(whole))
        found[f"cut after {end} bytes"] = whole[:end]
    for protocol in (0, 2, 5):
        found[f"pickle bomb {protocol}"] = pickle.dumps(Bomb(crater), protocol=protocol)
    stream = io.BytesIO()
    torch.save({"weight": Bomb(crater)}, stream)
    found["bomb of torch.save"] = stream.getvalue()
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(crater)))
        archive.writestr("archive/version", "3")
    found["bomb in an archive"] = stream.getvalue()
    stream = io.BytesIO()
    np.save(stream, np.array([Bomb(crater)], dtype=object), allow_pickle=True)
    found["bomb of numpy"] = stream.getvalue()
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w:gz") as archive:
        entry = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        bomb = pickle.dumps(Bomb(crater), protocol=2)
        entry.size = len(bomb)
        archive.addfile(entry, io.BytesIO(bomb))
    found["bomb among CIFAR-10's batches"] = stream.getvalue()
    return found


@pytest.mark.parametrize("name", FILES)
def test_damage_is_one_sentence_or_nothing(name, tmp_path, capsys):
    make, read = FILES[name]
    file, crater = tmp_path / name, tmp_path / "crater"
    file.parent.mkdir(parents=True, exist_ok=True)
    make(file)
    read(file)  # it is right before it is damaged
    refused, problems = 0, []
    damaged = damages(file.read_bytes(), crater)
    if file.suffix == ".json":
        damaged |= {f"something else: {text}": text.encode() for text in SOMETHING_ELSE}
    for how, content in damaged.items():
        file.write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(file)
        except GeedError as error:
            refused += 1
            if not str(error).startswith(str(file)) or "\n" in str(error) or len(str(error)) > 1000:
                problems.append(f"{how}: {error}")
        except Exception as error:
            problems.append(f"{how}: {type(error).__name__}: {error}")
        else:
            if (
                "bomb" in how or how in ("empty", "words")
            ) and name != "side.pt":  # a side checkpoint is not used, and that is said
                problems.append(f"{how}: accepted")
    refused += capsys.readouterr().out.count("is not used: training starts over")
    assert not problems, f"{len(problems)}:\n" + "\n".join(problems)
    assert refused >= CUTS // 2
    assert not crater.exists(), "something was executed"


def test_the_bombs_work_where_they_are_not_refused(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "crater")))
    assert (tmp_path / "crater").is_dir()
