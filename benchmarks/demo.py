"""What the demo study costs: two runs from nothing in fresh copies of this checkout, compared byte by byte.

    python benchmarks/demo.py [--cores 2] [--runs 2]

Prints wall time, the share of start-up, imports and scheduling in it, peak memory of the whole process tree, the time of a dry
run and of a second run, and whether every table of the two runs has the same bytes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from geed.files import sha256

ROOT = Path(__file__).resolve().parents[1]


def copy(target: Path) -> None:
    """The files of the checkout, tracked or not ignored, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def timed(folder: Path, *arguments: str) -> tuple[float, float]:
    """Wall seconds and peak memory (MB, summed over the process tree) of a Snakemake call."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "workflow/profiles/default", *arguments]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    started, peak = time.perf_counter(), 0.0
    process = psutil.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.extend(process.stdout))
    reader.start()
    while process.poll() is None:
        total = 0.0
        try:
            for member in [process, *process.children(recursive=True)]:
                total += member.memory_info().rss / 2**20
        except psutil.Error:
            pass
        peak = max(peak, total)
        time.sleep(0.1)
    reader.join()
    if process.returncode:
        sys.exit(f"the run in {folder} failed:\n{''.join(output[-40:])}")
    return time.perf_counter() - started, peak


def tables(folder: Path) -> dict[str, str]:
    """Hashes of every table and claim, by path."""
    found = [path for pattern in ("*.parquet", "*.csv", "*.json") for path in (folder / "results").rglob(pattern)]
    return {str(path.relative_to(folder)): sha256(path) for path in found if not path.name.endswith(".record.json")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    seen = []
    with tempfile.TemporaryDirectory() as temporary:
        for run in range(arguments.runs):
            folder = Path(temporary) / f"run-{run}"
            folder.mkdir()
            copy(folder)
            dry, _ = timed(folder, "-n", "--quiet", "all")
            wall, memory = timed(folder, "--cores", str(arguments.cores))
            again, _ = timed(folder, "--cores", str(arguments.cores))
            costs = [json.loads(path.read_text())["cost"] for path in folder.rglob("*.record.json")]
            work = sum(cost["wall_seconds"] for cost in costs)
            starting = sum(cost["startup_seconds"] for cost in costs)
            seen.append(tables(folder))
            print(f"run {run + 1}: {len(costs)} jobs on {arguments.cores} cores")
            print(f"  wall time                                {wall:7.1f} s   (must be <= 300)")
            overhead = 1 - work / (arguments.cores * wall)
            print(f"  work inside the jobs                     {work:7.1f} core-s; their start-up and imports {starting:.1f}")
            print(f"  start-up, imports and scheduling         {overhead:7.1%}    of the wall time (must be <= 40 %)")
            print(f"  peak memory of the process tree          {memory:7.0f} MB  (must be <= 4096)")
            print(f"  dry run                                  {dry:7.1f} s   (must be <= 5)")
            print(f"  second run, nothing to do                {again:7.1f} s   (must be <= 15)")
    for other in seen[1:]:
        different = sorted(name for name in seen[0].keys() | other.keys() if seen[0].get(name) != other.get(name))
        print(f"tables compared: {len(seen[0])}; with other bytes: {', '.join(different) or 'none'}")


if __name__ == "__main__":
    main()
