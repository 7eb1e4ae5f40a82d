"""A full disk, a folder that cannot be written, an input that vanishes: a sentence that names the file, and nothing half-written.

The disks are small file systems in memory, which need the right to mount; a user who is root could write to a read-only folder.
"""

import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from checkouts import children, kill_group, small

from geed import files
from geed.data import store
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.figures import style
from geed.models import weights
from geed.models.build import build
from geed.training import checkpoints


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no right to mount a file system here ({done.stderr.strip()})")


@pytest.fixture
def disk(tmp_path):
    """disk(folder, size) makes `folder` a disk of its own, or changes its size; `disk(folder, "ro")` makes it read-only."""
    mounted = []

    def change(folder: Path, what: str) -> Path:
        option = what if what in ("ro", "rw") else f"size={what}"
        if folder in mounted:
            mount("-o", f"remount,{option}", str(folder))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            mount("-t", "tmpfs", "-o", option, "tmpfs", str(folder))
            mounted.append(folder)
        return folder

    yield change
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def network(width: int = 200):
    spec = {"architecture": {"kind": "plain_cnn", "widths": [width, width]}, "channels": 1, "size": 9, "classes": 3}
    return build(spec | {"mean": [0.1], "std": [0.3]}, "test", 0)


def images(count: int):
    return ImageSet(torch.rand(count, 1, 9, 9), torch.zeros(count, dtype=torch.long), torch.arange(count), ("a",), "x", "test")


def drawing():
    figure = style.new(style.PAGE, 3)
    figure.subplots().plot(np.random.default_rng(0).normal(size=20_000))
    return figure


# Each writes some hundred kB.
WRITERS = {
    "data.safetensors": lambda file: store.write(file, {"test": images(3000)}),
    "corrupted.safetensors": lambda file: store.write_corrupted(
        file, images(300), lambda name, severity: torch.rand(300, 1, 9, 9), ["contrast"], [1, 2, 3, 4, 5]
    ),
    "weights.safetensors": lambda file: weights.save(network(), file),
    "side.pt": lambda file: checkpoints.save(file, {"model": weights.copy_state(network())}),
    "table.parquet": lambda file: files.write_table(file, pd.DataFrame({"a": np.random.default_rng(0).normal(size=50_000)})),
    "table.csv": lambda file: files.write_table(file, pd.DataFrame({"a": np.random.default_rng(0).normal(size=20_000)})),
    "record.json": lambda file: files.write_json(file, list(range(100_000))),
    "figure.pdf": lambda file: style.save(drawing(), file, file.with_suffix(".png")),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(("what", "reason"), [("100k", "No space left on device"), ("ro", "Read-only file system")])
def test_what_cannot_be_written_is_named_and_the_old_file_stays(name, what, reason, tmp_path, disk):
    folder = disk(tmp_path / "disk", "10m")
    with style.context():
        (folder / name).write_text("old")
        disk(folder, what)
        with pytest.raises(GeedError) as raised:
            WRITERS[name](folder / name)
        assert str(raised.value) == f"{folder / name}: cannot be written: {reason}"
        assert [path.name for path in folder.iterdir()] == [name] and (folder / name).read_text() == "old"
        disk(folder, "rw" if what == "ro" else "20m")
        WRITERS[name](folder / name)
    assert (folder / name).stat().st_size > 100_000


@pytest.mark.slow
@pytest.mark.parametrize(("what", "reason"), [("250k", "No space left on device"), ("ro", "Read-only file system")])
def test_a_study_on_such_a_disk_says_so_and_completes_once_there_is_space(what, reason, whole, tmp_path, disk):
    tight = small(tmp_path / "tight")
    results = disk(tight.folder / "results/small", "10m")
    if what == "ro":
        code, words = tight.run("results/small/data/digits.safetensors")
        assert code == 0, words
    disk(results, what)
    code, words = tight.run()
    assert code == 1, words
    if what == "ro":  # Snakemake itself cannot touch its outputs there
        assert reason in words, words
    else:
        said = [
            line for line in words.splitlines() if line.startswith("geed: ") and line.endswith(f"cannot be written: {reason}")
        ]
        assert said and all("results/small/" in line for line in said), words
        assert "Traceback" not in words, words
    disk(results, "rw") if what == "ro" else disk(results, "50m")
    code, words = tight.run()
    assert code == 0, words
    assert tight.outputs() == whole.outputs()


@pytest.mark.slow
def test_an_input_that_vanishes_during_the_run_is_named_and_made_again(whole, tmp_path):
    hurt = small(tmp_path / "hurt")
    data = "results/small/data/digits.safetensors"
    process = hurt.start()
    try:
        while not (hurt.folder / data).with_suffix(".record.json").exists() or not children(process):
            assert process.poll() is None, hurt.words
            time.sleep(0.02)
        (hurt.folder / data).unlink()
        assert process.wait(900) == 1, hurt.words
    finally:
        kill_group(process)
    assert data in hurt.words and "Traceback" not in hurt.words, hurt.words
    code, words = hurt.run()
    assert code == 0, words
    assert hurt.outputs() == whole.outputs()
