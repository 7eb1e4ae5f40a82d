"""The chain of hashes, from verdicts and figures to the published checksums of the raw data."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from geed.data import mirror, registry
from geed.errors import GeedError
from geed.files import read_json, sha256
from geed.models.published import PRETRAINED
from geed.progress import bar
from geed.provenance.checks import MISSING, Check, few
from geed.provenance.records import SUFFIX, Record, Study
from geed.study.fetch import FILES

_SOURCES, _WEIGHTS = PurePosixPath("results/sources"), PurePosixPath("results/weights")
_UNRECORDED = ("report", "checkpoints")  # folders whose files no job answers for: a page made by Snakemake, unfinished trainings


def job(record: Record, study: Study) -> str:
    """A job and where its record lies, for a fault."""
    return f"{record.job}, {study.recorded(record.path)}"


def records(study: Study, scope: Sequence[Record]) -> Check:
    """Every record can be read, and no two of them claim the same output."""
    check = Check("records: readable, one for each output", checked=len(scope) + len(study.damaged))
    for path, reason in study.damaged:
        check.fail(study.recorded(path), reason.removeprefix(f"{path}: "))
    claimed: dict[str, Record] = {}
    for record in scope:
        for path in record.outputs:
            if (other := claimed.setdefault(path, record)) is not record:
                check.fail(path, f"two records claim it: {study.recorded(other.path)} too", job=job(record, study))
    return check


def outputs(study: Study, scope: Sequence[Record]) -> tuple[Check, set[str]]:
    """Every output has the hash that its job recorded; also returns the outputs that have not."""
    check, wrong = Check("outputs: as their jobs wrote them"), set()
    present = {path: record for record in scope for path in record.outputs}
    sizes = {path: size for path in present if (size := _size(study.place(path))) is not None}
    check.remark = f"{_bytes(sum(sizes.values()))} read"
    with bar(sum(sizes.values()), "hash", unit="bytes") as progress:
        for path, record in present.items():
            check.checked += 1
            if path not in sizes:
                words = "its job wrote it, and it is not here"
                check.fail(path, words, kind=MISSING, job=job(record, study), recorded=record.outputs[path], found="no such file")
                wrong.add(path)
                continue
            found = sha256(study.place(path))
            progress.update(sizes[path])
            if found != record.outputs[path]:
                words = "the file is not what its job wrote"
                check.fail(path, words, job=job(record, study), recorded=record.outputs[path], found=found)
                wrong.add(path)
    return check, wrong


def inputs(study: Study, scope: Sequence[Record]) -> Check:
    """Every input of a job has the hash that the job which made it recorded, or the published one."""
    check = Check("inputs: as their producers recorded them")
    for record in scope:
        for path, digest in record.inputs.items():
            check.checked += 1
            maker = study.producer.get(path)
            target = next(iter(record.outputs), study.recorded(record.path))
            if maker is not None and maker.outputs[path] != digest:
                words = f"made from another {path} than that of the job {maker.job}"
                check.fail(target, words, job=job(record, study), recorded=digest, found=maker.outputs[path])
            elif maker is None and digest != published(path):
                here = study.place(path).is_file()
                words = f"made from {path}, " + ("for which there is no record" if here else "which is not here, nor its record")
                check.fail(target, words, kind=MISSING, job=job(record, study), recorded=digest, found="no record")
    return check


def raw(study: Study, scope: Sequence[Record]) -> Check:
    """What was fetched, and what prepared sets were read from, was published so; on this machine too, where it lies here."""
    check, absent, folders = Check("raw data: published checksums"), [], []
    for record in scope:
        for path, digest in record.outputs.items():
            if (expected := published(path)) is not None:
                check.checked += 1
                if digest != expected:
                    check.fail(
                        path,
                        "it was not published so; recorded is the published checksum",
                        job=job(record, study),
                        recorded=expected,
                        found=digest,
                    )
        for path, digest in read_from(record).items():
            check.checked += 1
            if path == "names and sizes":
                folders.append(next(iter(record.outputs)))
                continue
            try:
                known = {file.path: file for file in registry.info(record.content["params"]["settings"]["source"]).files}
            except (GeedError, KeyError, TypeError) as error:
                check.fail(path, f"its source is not known: {error}", job=job(record, study))
                continue
            expected = known[path].sha256 if path in known else "no such file in the registry"
            words = f"{next(iter(record.outputs))} was read from a file that was not published so"
            if digest != expected:
                check.fail(path, words, job=job(record, study), recorded=expected, found=digest)
            elif not study.place(f"{_SOURCES}/{path}").is_file():
                _on_this_machine(check, known[path], record, study, absent)
    if absent:
        check.notes.append(f"raw data that is not on this machine: {few(absent)}; the records have its published checksums")
    if folders:
        check.notes.append(f"read from a folder of pictures, for which there is no published checksum: {few(folders)}")
    return check


def listed(study: Study, scope: Sequence[Record]) -> Check:
    """The evidence and the parts that a verdict lists are those that there are."""
    check = Check("verdicts: the evidence that they list")
    for record in scope:
        path = result_of(record)
        if path is None or not study.place(path).is_file():
            continue
        try:
            result = read_json(study.place(path))
            entries = [*result["evidence"], result["parts"]]
            named = {entry["path"]: entry["sha256"] for entry in entries}
        except (GeedError, KeyError, TypeError):
            check.fail(path, "it is no verdict: expected `evidence` and `parts` in it", job=job(record, study))
            continue
        for name, digest in named.items():
            check.checked += 1
            maker = study.producer.get(name)
            if maker is None or maker.outputs[name] != digest:
                found = "no record" if maker is None else maker.outputs[name]
                check.fail(
                    path, f"it rests on another {name} than there is", job=job(record, study), recorded=digest, found=found
                )
    return check


def strangers(study: Study) -> Check:
    """Files that no record claims. They are noted, not counted as faults: nothing rests on them."""
    check = Check("files that no record claims")
    claimed = {study.place(path) for record in study.records for path in record.outputs}
    found = []
    for folder in (study.folder, study.root / "figures" / study.name):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and path not in claimed and inside.parts[0] not in _UNRECORDED:
                check.checked += 1
                if not (path.name.endswith(SUFFIX) or path.name.startswith(".")):
                    found.append(study.recorded(path))
    check.remark = f"{len(found)} found"
    if found:
        check.notes.append(f"no record claims, and nothing rests on: {few(found)}")
    return check


def published(path: str) -> str | None:
    """The published checksum of a fetched file or of converted weights; None for any other file."""
    name = PurePosixPath(path)
    if name.is_relative_to(_SOURCES):
        file = FILES.get(name.relative_to(_SOURCES).as_posix())
        return file and file.sha256
    if name.is_relative_to(_WEIGHTS) and name.stem in PRETRAINED:
        return PRETRAINED[name.stem].safetensors
    return None


def read_from(record: Record) -> dict[str, str]:
    """What a prepared set was read from: file -> SHA-256, as the job measured it; empty for other jobs."""
    found = record.content.get("measured", {}).get("sha256", {})
    return found if isinstance(found, dict) else {}


def _on_this_machine(check: Check, file: Any, record: Record, study: Study, absent: list[str]) -> None:
    try:
        state = mirror.state(file)
    except GeedError as error:
        state = str(error)
    if state == "absent" or "not installed" in state:
        absent.append(file.path)
    elif not state.startswith("ok"):
        check.fail(file.path, state, job=job(record, study))


def result_of(record: Record) -> str | None:
    """The verdict that a job wrote; None for jobs that decide no claim."""
    return next((path for path in record.outputs if record.rule == "claim" and path.endswith(".json")), None)


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _bytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
