"""Run a recorded job again, from its record, in a folder of its own: nothing of the study is touched."""

import contextlib
import os
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

from geed.errors import GeedError
from geed.provenance.records import Record, Study, by_name
from geed.provenance.sources import PACKAGE

# The scripts of this checkout; those of another are never run.
SCRIPTS = PACKAGE.parents[1] / "workflow/scripts"
_ENTRY = "workflow/scripts/"


class Named(list):
    """A list whose entries have names, as Snakemake hands them to a script: `.name`, `.get(name)`, `.items()`, and flat."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        flat = (entry if isinstance(entry, list) else [entry] for entry in named.values())
        super().__init__(value for entries in flat for value in entries)
        self.__dict__.update(named)
        self._named = dict(named)

    def items(self) -> Any:
        """Name and value."""
        return self._named.items()

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a name."""
        return self._named.get(name, default)


def replay(record: Record, study: Study, workspace: Path, params: Mapping[str, Any] | None = None) -> None:
    """Run a job again. It sees the files that its record names as inputs, and no others; its outputs lie in `workspace`.

    Args:
        record: of the job.
        study: where the inputs lie.
        workspace: an empty folder; the outputs have their recorded paths in it.
        params: other parameters than the recorded ones.

    Raises:
        GeedError: the job fails, its record does not say enough, or this installation has no such script.
    """
    script = script_of(record)
    names = record.content.get("names")
    if not isinstance(names, dict):
        raise GeedError(f"{record.path}: the record does not name its files, so the job {record.job} cannot be run again")
    params = dict(record.content["params"] if params is None else params)
    for value in params.values():
        if isinstance(value, str) and (PurePosixPath(value).is_absolute() or ".." in PurePosixPath(value).parts):
            raise GeedError(f"{record.path}: expected paths inside the project among the parameters, found {value}")
    for path in by_name(names["inputs"]):
        if path not in record.inputs and path not in record.sources:
            raise GeedError(f"{record.path}: expected a hash for every input, found none for {path}")
        link = workspace / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(study.place(path) if path in record.inputs else SCRIPTS.parents[1] / path)
    for path in record.outputs:
        (workspace / path).parent.mkdir(parents=True, exist_ok=True)
    log = workspace / "replay.log"
    played = SimpleNamespace(
        rule=record.rule,
        wildcards=Named(record.wildcards),
        params=Named(params),
        input=Named(names["inputs"]),
        output=Named({**names["outputs"], "record": "replay.record.json"}),
        log=[str(log)],
        threads=record.content.get("machine", {}).get("threads", 1),
    )
    with contextlib.chdir(workspace), _quiet():
        try:
            runpy.run_path(str(script), init_globals={"snakemake": played})
        except SystemExit:
            raise GeedError(f"{record.job}: {_reason(log)}") from None


def script_of(record: Record) -> Path:
    """The script of a job, in this installation.

    Raises:
        GeedError: it has none, or this is no checkout of the project.
    """
    name = next((PurePosixPath(path).name for path in record.sources if path.startswith(_ENTRY)), None)
    if name is None:
        raise GeedError(f"{record.path}: the record names no script, so the job {record.job} cannot be run again")
    if not (SCRIPTS / name).is_file():
        raise GeedError(f"{SCRIPTS / name}: no such file; jobs can be run again only by a checkout of the project")
    return SCRIPTS / name


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on the screen: a job prints a line when it is done."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _reason(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [line for line in lines if line.strip()]
    return said[-1].removeprefix("geed: ") if said else "it failed without a word"
