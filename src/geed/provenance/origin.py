"""Which sources made a study: one version of each module, that of the commit that the records name, that of this checkout."""

import hashlib
import json
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geed.errors import GeedError
from geed.files import canonical_json, sha256
from geed.provenance.checks import MISMATCH, SETTINGS, SOURCES, Check, changes, few, short
from geed.provenance.job import LOCK, versions
from geed.provenance.records import Record, Study
from geed.provenance.sources import PACKAGE
from geed.study import plan as study_plan
from geed.study.plan import Plan


def checkout(study: Study) -> Path | None:
    """The checkout of the project that the results lie in; None where they were copied elsewhere."""
    return study.root if (study.root / "src/geed").is_dir() else None


def against_each_other(study: Study, scope: Sequence[Record]) -> Check:
    """All jobs ran one version of each module: that of the checkout that the results lie in, else that of most jobs."""
    root = checkout(study)
    check = Check("sources: one version, that of this checkout" if root else "sources: one version of each module")
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for record in scope:
        for path, digest in record.sources.items():
            votes[path][digest] += 1
    right = {path: counter.most_common(1)[0][0] for path, counter in votes.items()}
    check.checked = sum(len(record.sources) for record in scope)
    check.remark = f"{len(votes)} files"
    if root:
        right = {path: _hash(root / path) for path in right}
        place, kind = "this checkout has", SOURCES
    else:
        place, kind = "most jobs of the study ran", MISMATCH
        others = [path for path, digest in right.items() if _hash(PACKAGE.parents[1] / path) != digest]
        if others:
            check.notes.append(
                f"the results lie in no checkout; of the installed sources {len(others)} differ from theirs: {few(others)}"
            )
    _report(check, study, scope, lambda record: right, f"than {place}", kind)
    return check


def against_commits(study: Study, scope: Sequence[Record]) -> Check:
    """Every source that a job ran is that of the commit which its record names."""
    check = Check("sources: as in the commit that their record names")
    root = checkout(study) or PACKAGE.parents[1]
    if not _is_repository(root):
        check.remark = "not checked: no git repository of the project here"
        return check
    wanted: defaultdict[str | None, set[str]] = defaultdict(set)
    for record in scope:
        wanted[record.commit] |= {path for path in record.sources if not Path(path).is_absolute()}
    known = {commit: _at_commit(root, commit, paths) for commit, paths in wanted.items() if commit is not None}
    dirty: set[str] = set()
    sure = []
    for record in scope:
        there = known.get(record.commit)
        if record.commit is None:
            continue
        if there is None:
            _unknown(check, study, record, root)
            continue
        check.checked += len(record.sources)
        changed = {path for path, digest in record.sources.items() if there.get(path, digest) != digest}
        if record.dirty:  # the record says itself that the commit is not the whole truth
            dirty |= changed
        else:
            sure.append(record)
    _report(check, study, sure, lambda record: known[record.commit] or {}, "than the commit that its record names has", MISMATCH)
    commits = [commit[:7] for commit in known if commit]
    check.remark = f"{', '.join(commits[:4])}{' …' if len(commits) > 4 else ''}"
    if loose := sum(record.commit is None for record in scope):
        check.notes.append(f"{loose} records name no commit: their jobs ran outside a git checkout")
    if dirty:
        check.notes.append(f"made with uncommitted changes, which no commit holds: {few(sorted(dirty))}")
    return check


def against_config(study: Study, scope: Sequence[Record]) -> Check:
    """Every job had the settings that the study's config has in the checkout that the results lie in."""
    check = Check("settings: those of the study's config")
    if (root := checkout(study)) is None:
        check.remark = "not checked: the results lie in no checkout"
        return check
    try:
        config, plan = _plan(study, root)
    except GeedError as error:
        check.remark = "not checked"
        check.notes.append(f"settings were not compared: {error}")
        return check
    check.remark = config
    groups: dict[tuple[tuple[str, str, str], ...], list[Record]] = {}
    for record in scope:
        params, wanted = record.content["params"], _wanted(record, plan)
        check.checked += len(wanted)
        found = [
            (f"{key}{place and '.'}{place}", short(a), short(b))
            for key, value in wanted.items()
            for place, a, b in changes(params[key], _within(value, params[key]))
        ]
        if found:
            groups.setdefault(tuple(found), []).append(record)
    for found, records in groups.items():
        first, (place, recorded, here) = records[0], found[0]
        many = f" and {len(records) - 1:,} more jobs" if len(records) > 1 else ""
        check.fail(
            study.recorded(first.path),
            f"{first.job}{many} had other settings than {config} has: {few([entry[0] for entry in found])}",
            kind=SETTINGS,
            job=first.job,
            recorded=f"{recorded} {place}",
            found=f"{here} in {config}",
        )
    decided = {run: seeds for record in scope for run, seeds in _seeds(record, plan).items()}
    others = sorted({(str(seeds), str(plan.run_seeds[run])) for run, seeds in decided.items() if seeds != plan.run_seeds[run]})
    check.notes += [f"decided from the seeds {found}, where {config} has {wanted}" for found, wanted in others]
    return check


def _plan(study: Study, root: Path) -> tuple[str, Plan]:
    """The study's config, `config.yaml` or the one laid over it that has its name, and its plan."""
    schemas = PACKAGE.parents[1] / "workflow/schemas"
    if not schemas.is_dir():
        raise GeedError(f"{schemas}: no such folder; configs can be read only by a checkout of the project")
    config = study_plan.load([root / "config.yaml"], schemas)
    if config.study == study.name:
        return "config.yaml", config
    overlay = f"workflow/studies/{study.name}.yaml"
    if not (root / overlay).is_file():
        raise GeedError(f"{overlay}: no such file in this checkout")
    return overlay, study_plan.load([root / "config.yaml", root / overlay], schemas)


def _within(wanted: Any, recorded: Any) -> Any:
    """The settings without those that the record does not know: keys that the config's schema has got since then."""
    if not (isinstance(wanted, dict) and isinstance(recorded, dict)):
        return wanted
    return {key: _within(wanted[key], recorded[key]) for key in wanted if key in recorded}


def _wanted(record: Record, plan: Plan) -> dict[str, Any]:
    """The settings that a job should have had, as far as a config says."""
    params, names = record.content["params"], record.wildcards
    run, claim, data = (names.get(key, "") for key in ("run", "claim", "set"))
    wanted: dict[str, Any] = {"run": plan.runs.get(run)} if run else {}
    wanted |= {"settings": plan.claims.get(claim)} if claim else {}
    wanted |= {"settings": plan.sets.get(data)} if data else {}
    if run in plan.runs:
        wanted["evaluations"] = plan.evaluations_of(run)
    wanted["corruptions"] = plan.corruptions
    # As JSON has it: tuples are lists there, and keys are text.
    return json.loads(canonical_json({key: value for key, value in wanted.items() if key in params}))


def _seeds(record: Record, plan: Plan) -> dict[str, list[int]]:
    """The seeds that a claim was decided from, by run; older records have one list for all."""
    seeds = record.content["params"].get("seeds", {})
    runs = [run for run in plan.claim_runs.get(record.wildcards.get("claim", ""), ()) if run in plan.run_seeds]
    return {run: seeds[run] if isinstance(seeds, dict) else seeds for run in runs if not isinstance(seeds, dict) or run in seeds}


def surroundings(study: Study, scope: Sequence[Record]) -> list[str]:
    """Sentences on where the study was made, as far as it differs from here or within itself."""
    notes = []
    here, made = versions(), defaultdict(Counter)
    for record in scope:
        for name, version in record.content["packages"].items():
            made[name][version] += 1
    if mixed := {name: counter for name, counter in made.items() if len(counter) > 1}:
        words = "; ".join(f"{name} {', '.join(sorted(counter))}" for name, counter in sorted(mixed.items()))
        notes.append(f"not all jobs ran with the same packages: {words}")
    differing = [
        f"{name} {version} (here {here.get(name, 'none')})"
        for name, counter in sorted(made.items())
        if len(counter) == 1 and (version := next(iter(counter))) != here.get(name)
    ]
    if differing:
        notes.append(f"made with other packages: {', '.join(differing)}")
    locks = {str(record.content["code"].get("lock_sha256")) for record in scope} - {"None"}
    root = checkout(study)
    if root and (root / LOCK).is_file() and locks and locks != {sha256(root / LOCK)}:
        notes.append(f"made with another {LOCK} than this checkout has")
    return notes


def _report(check: Check, study: Study, scope: Iterable[Record], right, than: str, kind: str) -> None:
    """Add a fault for all jobs of one commit in which the same modules differ."""
    groups: defaultdict[tuple[str | None, tuple[str, ...]], list[Record]] = defaultdict(list)
    for record in scope:
        expected: Mapping[str, str | None] = right(record)
        differing = tuple(sorted(path for path, digest in record.sources.items() if expected.get(path, digest) != digest))
        if differing:
            groups[record.commit, differing].append(record)
    for (commit, differing), records in groups.items():
        first, module = records[0], differing[0]
        many = f" and {len(records) - 1:,} more jobs" if len(records) > 1 else ""
        check.fail(
            study.recorded(first.path),
            f"{first.job}{many} ran other sources {than}: {few(differing)}",
            kind=kind,
            job=f"{first.job}, commit {commit and commit[:7]}{', with uncommitted changes' if first.dirty else ''}",
            recorded=f"{first.sources[module]} {module}",
            found=f"{right(first)[module] or 'no such file'} {module}",
        )


def _unknown(check: Check, study: Study, record: Record, root: Path) -> None:
    """A commit that git does not know: a fault, unless the repository is another's or holds a part of its history only."""
    if checkout(study) is None or _git(root, "rev-parse", "--is-shallow-repository") == "true":
        note = f"the repository {root} does not have the commit {(record.commit or '')[:7]}, which could not be looked at"
        check.notes += [note] if note not in check.notes else []
    else:
        words = "its record names a commit that this repository does not have"
        head = _git(root, "rev-parse", "HEAD")
        check.fail(study.recorded(record.path), words, job=record.job, recorded=record.commit, found=f"{head} is checked out")


def _is_repository(root: Path) -> bool:
    top = _git(root, "rev-parse", "--show-toplevel")
    return top is not None and Path(top).resolve() == root.resolve()


def _at_commit(root: Path, commit: str, paths: Iterable[str]) -> dict[str, str | None] | None:
    """SHA-256 of files at a commit, None where it has no such file; None if git does not know the commit."""
    if _git(root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        return None
    paths = sorted(paths)
    request = "".join(f"{commit}:{path}\n" for path in paths).encode()
    done = subprocess.run(["git", "-C", str(root), "cat-file", "--batch"], input=request, capture_output=True, check=True)
    found: dict[str, str | None] = {}
    rest = done.stdout
    for path in paths:
        header, _, rest = rest.partition(b"\n")
        if header.endswith(b"missing"):
            found[path] = None
            continue
        size = int(header.rsplit(b" ", 1)[1])
        found[path] = hashlib.sha256(rest[:size]).hexdigest()
        rest = rest[size + 1 :]
    return found


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _hash(path: Path) -> str | None:
    return sha256(path) if path.is_file() else None
