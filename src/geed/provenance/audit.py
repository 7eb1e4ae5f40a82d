"""Whether every number of a study is still what its job made, up to the raw data."""

from pathlib import Path
from typing import Any

from geed.errors import GeedError
from geed.files import read_json, sha256
from geed.provenance import chain, origin, recompute
from geed.provenance.checks import MISSING, Check, few
from geed.provenance.records import Study, load


def audit(
    folder: str | Path, *, claim: str | None = None, sample: int = 3, deep: bool = False, seed: int = 0
) -> tuple[str, list[Check], list[str]]:
    """Check a results folder, or a blessed reference, which holds no more than verdicts, parts and figures.

    Args:
        folder: `results/<study>` or `docs/reference/<study>`, or a copy.
        claim: check only what this claim rests on, and its figures.
        sample: how many measurements are made again.
        deep: train one network again.
        seed: of the draws; another seed draws other measurements and another network.

    Returns:
        A headline, the checks, and what else is to be known.

    Raises:
        GeedError: no such folder, no records in it, no such claim, or a reference is asked for more than it holds.
    """
    folder = Path(folder)
    if is_reference(folder):
        if claim or deep:
            raise GeedError(f"{folder}: a reference holds no records of jobs; --claim and --deep need a results folder")
        return _reference(folder)
    study = load(folder)
    scope = study.about(claim) if claim else study.records
    unused = set() if claim else study.unused()
    used = [record for record in scope if record.path not in unused]
    hashes, wrong = chain.outputs(study, scope)
    checks = [
        chain.records(study, scope),
        hashes,
        chain.inputs(study, scope),
        chain.raw(study, scope),
        chain.listed(study, scope),
        origin.against_each_other(study, used),
        origin.against_commits(study, scope),
        origin.against_config(study, used),
        recompute.verdicts(study, used, wrong),
        recompute.measurements(study, used, wrong, sample, seed),
    ]
    if deep:
        checks.append(recompute.network(study, used, wrong, seed))
    if not claim:
        checks.append(chain.strangers(study))
    notes = [note for check in checks for note in check.notes] + origin.surroundings(study, used)
    if unused:
        jobs = [record.job for record in scope if record.path in unused]
        notes.append(f"nothing that was decided or drawn rests on the outputs of {len(jobs)} jobs: {few(jobs)}")
    return _headline(study, claim), checks, notes


def is_reference(folder: Path) -> bool:
    """Whether a folder is a blessed reference: one record for all of its files."""
    return (folder / "record.json").is_file()


def plain(headline: str, checks: list[Check], notes: list[str]) -> dict[str, Any]:
    """An audit as plain data."""
    return {
        "audited": headline,
        "agrees": not any(check.faults for check in checks),
        "tolerance_on_another_machine": {"relative": recompute.RELATIVE, "absolute": recompute.ABSOLUTE},
        "checks": [
            {
                "name": check.name,
                "checked": check.checked,
                "remark": check.remark,
                "faults": [{key: value for key, value in vars(fault).items() if value is not None} for fault in check.faults],
            }
            for check in checks
        ],
        "notes": notes,
    }


def _reference(folder: Path) -> tuple[str, list[Check], list[str]]:
    record = read_json(folder / "record.json")
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        raise GeedError(f"{folder / 'record.json'}: expected the record of a reference, found one without `files`")
    files = Check("files: as they were blessed")
    for name, digest in record["files"].items():
        files.checked += 1
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise GeedError(f"{folder / 'record.json'}: expected files inside the folder, found {name}")
        if not path.is_file():
            files.fail(name, "it was blessed, and is not here", kind=MISSING, recorded=digest, found="no such file")
        elif (found := sha256(path)) != digest:
            files.fail(name, "it is not what was blessed", recorded=digest, found=found)
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"record.json"}
    for name in sorted(there - record["files"].keys()):
        files.fail(name, "it was not blessed: the reference's record does not name it")
    verdicts = Check("verdicts: the parts that they name, and the table of all")
    results = {}
    for path in sorted((folder / "claims").glob("*.json")):
        try:
            results[path.stem] = read_json(path)
            parts = results[path.stem]["parts"]["sha256"]
        except (GeedError, KeyError, TypeError):
            verdicts.fail(f"claims/{path.name}", "it is no verdict")
            continue
        verdicts.checked += 1
        table = path.with_suffix(".csv")
        if (found := sha256(table) if table.is_file() else "no such file") != parts:
            verdicts.fail(f"claims/{table.name}", "not the parts that the verdict names", recorded=parts, found=found)
    listed = read_json(folder / "claims.json") if (folder / "claims.json").is_file() else []
    for entry in listed if isinstance(listed, list) else []:
        verdicts.checked += 1
        name = entry.get("id") if isinstance(entry, dict) else None
        if results.get(name) != entry:
            verdicts.fail("claims.json", f"its entry of {name} is not that of claims/{name}.json")
    commit, study = str(record.get("commit")), record.get("study")
    made = f"{'uncommitted changes on ' if record.get('dirty') else ''}commit {commit[:7]}"
    notes = [
        "a reference holds no tables, weights or data, so its numbers cannot be made again from it: build them with "
        f"`git checkout {commit[:7]}` and `make figures{'' if study == 'demo' else f' STUDY={study}'}`, then "
        f"`geed audit results/{study}` and `geed diff results/{study} {folder}`"
    ]
    return f"reference of the study {study}, from {made}", [files, verdicts], notes


def _headline(study: Study, claim: str | None) -> str:
    started = sorted({str(record.content["cost"].get("started") or "")[:10] for record in study.records})
    commits = sorted({record.commit[:7] for record in study.records if record.commit})
    dirty = " with uncommitted changes" if any(record.dirty for record in study.records) else ""
    made = f"made {' to '.join(dict.fromkeys(started[:1] + started[-1:]))}"
    what = f"claim {claim} of the study {study.name}" if claim else f"study {study.name}"
    return f"{what}: {len(study.records)} records, {made}, commit {', '.join(commits) or 'unknown'}{dirty}"
