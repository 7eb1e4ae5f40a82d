"""A fresh copy of the checkout, and a Snakemake run in it that a test may kill."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import yaml

from geed.files import sha256

ROOT = Path(__file__).parents[2]

# Seconds of work, but every kind of job: two trainings, a network that starts from another, corruptions, a claim, figures.
SMALL = {
    "study": "small",
    "seeds": [0],
    "data": {"sets": {"digits": {"source": "digits", "size": 15, "limit": 300}}},
    "corruptions": {"names": ["contrast"], "severities": [3]},
    "training": {"epochs": 3, "batch_size": 32},
    "runs": {
        "plain": {"data": "digits", "architecture": "cnn"},
        "augmented": {"data": "digits", "architecture": "cnn", "augmentation": ["rotations:4"]},
        "random": {"data": "digits", "architecture": "cnn", "objective": "none"},
        "tuned": {"data": "digits", "architecture": "cnn", "initialisation": {"from": "plain"}},
    },
    "evaluations": {
        "clean": {
            "groups": ["rotations:4"],
            "limit": 64,
            "metrics": ["latent_eed/cosine", "latent_eed/l2", "output_eed/kl", "output_eed/cosine", "accuracy"],
        },
        "corrupted": {"corrupted": True, "groups": ["rotations:4"], "limit": 64, "metrics": ["output_eed/kl"], "runs": ["plain"]},
    },
    "claims": {
        "K4": {
            "comparisons": {"rotation": {"group": "rotations:4", "pretrained": "tuned", "random": "random"}},
            "metrics": ["latent_eed/cosine", "latent_eed/l2", "output_eed/kl", "output_eed/cosine"],
            "resamples": 2000,
        },
        "P31": {},
    },
    "overview": {"runs": ["plain"], "group": "rotations:4"},
    "explained": None,
}


class Checkout:
    """A copy of the checkout's files, with nothing built.

    Attributes:
        folder: where it lies.
        arguments: what every Snakemake run gets: the study's file and the cores.
        study: its name.
    """

    def __init__(self, folder: Path, *arguments: str, study: str = "demo") -> None:
        self.folder, self.arguments, self.study = folder, arguments, study
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
        )
        for name in listed.stdout.decode().strip("\0").split("\0"):
            if not name.startswith(("tests/", "docs/", ".ci/")) and (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)

    def start(self, *arguments: str) -> subprocess.Popen:
        """Snakemake as the leader of a process group of its own, its words in `words`."""
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        with open(self.folder / "words.txt", "a") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", "snakemake", *arguments, *self.arguments],
                cwd=self.folder,
                env=environment,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def run(self, *arguments: str, seconds: float = 600) -> tuple[int, str]:
        """Snakemake to its end: exit status and what it said."""
        before = len(self.words)
        process = self.start(*arguments)
        try:
            code = process.wait(seconds)
        finally:
            kill_group(process)
        return code, self.words[before:]

    def geed(self, *arguments: str) -> tuple[int, str]:
        """A `geed` command: exit status and what it said."""
        command = [sys.executable, "-c", "import sys; from geed.cli import main; sys.exit(main())", *arguments]
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src")}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    @property
    def words(self) -> str:
        """All that the runs have said so far."""
        path = self.folder / "words.txt"
        return path.read_text() if path.exists() else ""

    def outputs(self) -> dict[str, str]:
        """SHA-256 of everything that the study built, but for records and what quotes them, which hold timings."""
        found = [
            path for name in ("results", "figures") for path in (self.folder / name / self.study).rglob("*") if path.is_file()
        ]
        return {
            str(path.relative_to(self.folder)): sha256(path)
            for path in sorted(found)
            if not path.name.endswith(".record.json") and path.name not in ("README.md", "report.html", "ro-crate-metadata.json")
        }


def kill_group(process: subprocess.Popen) -> None:
    """Kill what is left of a run, jobs included."""
    for one in children(process):
        one.kill()
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def children(process: subprocess.Popen) -> list[psutil.Process]:
    """The job processes of a run."""
    try:
        found = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [one for one in found if is_job(one)]


def is_job(process: psutil.Process) -> bool:
    """Whether a process is a job's Python, rather than the shell around it."""
    try:
        words = process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    return len(words) > 1 and "python" in Path(words[0]).name and ".snakemake/scripts/" in words[-1]


def small(folder: Path) -> Checkout:
    """A checkout whose study takes seconds."""
    checkout = Checkout(folder, "--cores", "2", "--configfile", "small.yaml", study="small")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
    return checkout
