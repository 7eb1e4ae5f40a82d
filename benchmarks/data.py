"""How long preparing and corrupting data takes, and how much memory.

    OMP_NUM_THREADS=1 python benchmarks/data.py [--mirror FOLDER]

Each step runs in a process of its own, whose peak memory is what is printed; imports are counted in memory, not in time. With a
mirror: MNIST and 1,000 test images of CIFAR-10. Without: the photograph patches of scikit-learn, twice over.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path


def prepare(folder: Path, source: str, mirror: str | None) -> None:
    from geed.study import prepare as step

    step.prepare(source, {"source": source}, folder / source, mirror)


def corrupt(folder: Path, source: str, mirror: str | None) -> None:
    import torch

    from geed.data import corruptions, loading
    from geed.data.imageset import ImageSet
    from geed.data.store import write_corrupted

    loaded = loading.load(source, "test", mirror=mirror)
    rows = torch.arange(1000) % len(loaded)
    clean = ImageSet(loaded.images[rows], loaded.labels[rows], torch.arange(1000), loaded.classes, source, "test")
    write_corrupted(
        folder / "corrupted",
        clean,
        lambda name, severity: corruptions.corrupt(clean.images, name, severity, ids=clean.ids),
        corruptions.NAMES,
        corruptions.SEVERITIES,
    )


def measured(step, *arguments) -> tuple[float, float]:
    """Seconds and peak MiB of a step in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_timed, (step, *arguments))


def _timed(step, *arguments) -> tuple[float, float]:
    import torch  # noqa: F401  (its import is not what is timed)

    from geed.data import corruptions, loading, store  # noqa: F401

    start = time.perf_counter()
    step(*arguments)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", default=os.environ.get("GEED_DATA_MIRROR"))
    mirror = parser.parse_args().mirror
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [("prepare digits", measured(prepare, folder, "digits", mirror))]
        if mirror:
            rows.append(("prepare mnist (aim: 10 s)", measured(prepare, folder, "mnist", mirror)))
        source = "cifar10_subset" if mirror else "photo_patches"
        rows.append(
            (f"19 corruptions x 5 severities of 1,000 {source} (aim: 60 s, 1 GiB)", measured(corrupt, folder, source, mirror))
        )
    for title, (seconds, mebibytes) in rows:
        print(f"{title}: {seconds:.1f} s, peak {mebibytes:.0f} MiB")


if __name__ == "__main__":
    main()
