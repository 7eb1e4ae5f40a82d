"""The frame of every job script: its log, its one-sentence errors, and its record."""

import contextlib
import gc
import io
import os
import platform
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from geed.allocator import keep_freed_memory
from geed.errors import GeedError
from geed.files import read_json, sha256, write_json
from geed.provenance.running import end_with_run

_PACKAGES = (
    "torch",
    "numpy",
    "numba",
    "pandas",
    "scipy",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "e2cnn",
    "timm",
    "matplotlib",
    "snakemake",
)
LOCK = Path("envs/requirements.lock")
LIMIT = "GEED_LIMIT_MEMORY"  # set, a job holds itself to its mem_mb
ENDED = "geed: the job ended well"  # begins the last line of its log; without it, the job failed or was killed
if hasattr(sys.modules["__main__"], "snakemake"):
    # A job's script: what it imports stays, and to look for garbage in it takes a fifth of its start-up. On again in `job`.
    gc.disable()
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[dict[str, Any]]:
    """Run the body of a Snakemake script as a geed job.

    Standard output and error go to the job's log; a `GeedError` ends the job with its sentence, anything else with a traceback in
    the log. When the body succeeds, its record is written to the output named `record`: hashes of inputs and outputs, parameters,
    commit, packages, device, time and memory. The body may add numbers to the yielded mapping. The process ends with the block.

    Args:
        snakemake: the object that Snakemake puts into a script.

    Yields:
        A mapping for what the body measured about itself (accuracy, images per second, device, …).
    """
    started, starting = time.time(), _seconds_since_process_start()
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    label = f"{snakemake.rule} {' '.join(str(value) for value in snakemake.wildcards)}".strip()
    threads = snakemake.threads
    _limit_threads(threads)
    keep_freed_memory()
    end_with_run()
    measured: dict[str, Any] = {}
    with _logged(snakemake.log[0]) as screen:
        try:
            _limit_memory(getattr(getattr(snakemake, "resources", None), "mem_mb", None))
            inputs = _inputs(snakemake.input)
            clock = time.perf_counter()
            yield measured
            wall = time.perf_counter() - clock
            # Parameters keep their order: the rows of a table may follow it.
            write_json(snakemake.output.record, _record(snakemake, inputs, measured, started, starting, wall), sort_keys=False)
        except GeedError as error:
            print(f"geed: {error}", flush=True)
            screen(f"geed: {label}: {error}")
            raise SystemExit(1) from None
        except BaseException as error:
            traceback.print_exc()
            screen(f"geed: {label}: {type(error).__name__}: {error} (traceback in {snakemake.log[0]})")
            raise SystemExit(1) from None
        summary = "".join(
            f", {key} {value:.3g}" for key, value in measured.items() if isinstance(value, float) and key.endswith("accuracy")
        )
        print(f"{ENDED}: {wall:.1f} s{summary}", flush=True)
        screen(f"{label}: {wall:.1f} s{summary}")
    if type(snakemake).__module__.startswith("snakemake."):
        # Taking down a process that has imported torch and pandas costs half a second, a tenth of the demo study in all; the
        # outputs are whole and the log is closed, so nothing is lost by leaving at once. (Not where a test plays Snakemake.)
        os._exit(0)


def _inputs(paths: Iterable[str]) -> dict[str, str]:
    """The hashes of a job's inputs, compared with those in the records of the jobs that made them.

    Formats without checksums (safetensors, CSV) would let a flipped bit pass into a result.

    Raises:
        GeedError: an input is not there, or is not what its job wrote.
    """
    hashes = {}
    for path in sorted(set(paths)):
        if not os.path.exists(path):
            raise GeedError(f"{path}: expected this input, found no such file; if it vanished during the run, run again")
        if os.path.isfile(path):
            hashes[path] = sha256(path)
    for folder in sorted({os.path.dirname(path) for path in hashes}):
        for record in sorted(Path(folder).glob("*.record.json")):
            written = read_json(record)
            written = written.get("outputs") if isinstance(written, dict) else None
            if not isinstance(written, dict):
                raise GeedError(f"{record}: expected the record of a job, found something else; delete it, and run again")
            for path, expected in written.items():
                if hashes.get(path, expected) != expected:
                    raise GeedError(
                        f"{path}: expected sha256 {expected}, as its job recorded, found {hashes[path]}: "
                        "it was damaged or edited; delete it, and run again"
                    )
    return hashes


def _record(
    snakemake: Any, inputs: dict[str, str], measured: dict[str, Any], started: float, starting: float, wall: float
) -> dict[str, Any]:
    outputs = [path for path in snakemake.output if path != snakemake.output.record]
    gpu, gpu_memory = _gpu()
    return {
        "rule": snakemake.rule,
        "wildcards": {key: str(value) for key, value in snakemake.wildcards.items()},
        "params": _plain(dict(snakemake.params.items())),
        "inputs": inputs,
        "outputs": {path: sha256(path) for path in sorted(outputs)},
        # What the script calls its files: with the parameters, all that it takes to run the job again.
        "names": {
            "inputs": {name: _plain(path) for name, path in snakemake.input.items() if name != "code"},
            "outputs": {name: _plain(path) for name, path in snakemake.output.items() if name != "record"},
        },
        "measured": _plain(measured),
        "code": {**commit(), "lock_sha256": sha256(LOCK) if LOCK.exists() else None},
        "packages": versions(),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cpu": cpu(),
            "device": measured.get("device", "cpu"),
            "gpu": gpu,
            "threads": snakemake.threads,
        },
        "cost": {
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "startup_seconds": round(starting, 3),
            "wall_seconds": round(wall, 3),
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "peak_gpu_memory_mb": gpu_memory,
        },
    }


def commit() -> dict[str, Any]:
    """The git commit of the working folder and whether it has uncommitted changes; both None outside a checkout."""

    def git(*words: str) -> str | None:
        try:
            return subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=20).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            return None

    head = git("rev-parse", "HEAD")
    return {"commit": head, "dirty": bool(git("status", "--porcelain", "--untracked-files=no")) if head else None}


def versions() -> dict[str, str]:
    """Versions of the packages that decide numbers, as far as they are installed."""
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def cpu() -> str | None:
    """The processor's model: another one may round sums of float32 products otherwise. None where the kernel does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _limit_threads(threads: int) -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def _limit_memory(megabytes: int | None) -> None:
    """Hold this process to what its job asked for, where the environment wants that: for schedulers that confine nothing.

    The kernel can limit what a process has reserved (RLIMIT_DATA), not what it has touched; imports reserve far more than they
    touch. So the limit is what is reserved now, and beyond it as much as the process has not yet touched of its memory.
    """
    if not megabytes or not os.environ.get(LIMIT):
        return
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    reserved, touched = (1024 * int(status[key].split()[0]) for key in ("VmData", "VmRSS"))
    limit = reserved + max(0, megabytes * 10**6 - touched)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _gpu() -> tuple[str, float] | tuple[None, None]:
    """The GPU that this process used and the most memory that its tensors had, in MB; (None, None) where it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None, None
    return torch.cuda.get_device_name(), round(torch.cuda.max_memory_allocated() / 2**20, 1)


def _seconds_since_process_start() -> float:
    """Start-up and imports so far, in seconds; 0 where the kernel does not tell."""
    try:
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        return max(0.0, float(Path("/proc/uptime").read_text().split()[0]) - ticks / _CLOCK_TICKS)
    except (OSError, ValueError, IndexError):
        return 0.0


class _Log(io.FileIO):
    """A log on a full disk loses words, and does not fail the job, nor hide the sentence that says why it failed."""

    def write(self, data: Any) -> int:
        with contextlib.suppress(OSError):
            return super().write(data)
        return len(data)


@contextlib.contextmanager
def _logged(log: str) -> Iterator[Any]:
    """Send standard output and error to the log; yields a function that prints a line on the real screen."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        file = _Log(log, "w")
    except OSError as error:
        print(f"geed: {log}: the job's log cannot be written: {error.strerror}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    saved_out, saved_err = os.dup(1), os.dup(2)
    # Python's streams and the descriptors below them: warnings of compiled code go to the log too.
    with io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", line_buffering=True) as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
                yield lambda line: os.write(saved_err, f"{line}\n".encode())
        finally:
            os.dup2(saved_out, 1)
            os.dup2(saved_err, 2)
            os.close(saved_out)
            os.close(saved_err)


def _plain(value: Any) -> Any:
    """`value` as JSON types: Snakemake's parameters may be its own list type, numbers may be numpy's."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value
