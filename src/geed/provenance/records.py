"""The job records of a study, found again: who made which file, from what, and where that lies on this machine."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from geed.errors import GeedError
from geed.files import read_json

SUFFIX = ".record.json"
_MADE = ("results/", "figures/")  # where jobs write
_SHARED = ("results/sources", "results/weights")  # fetched once, for every study
_HEXADECIMAL = set("0123456789abcdef")
# What a record must hold: a type, several, or a mapping with the shapes of its keys, those of all others under "*".
_FILES = {"*": (str, list)}
_SHAPE = {
    "rule": str,
    "wildcards": {"*": str},
    "params": {},
    "inputs": {"*": str},
    "outputs": {"*": str},
    "measured": {},
    "code": {"commit": (str, type(None))},
    "packages": {"*": str},
    "machine": {"threads": int, "*": (str, int, type(None))},
    "cost": {"started": str, "wall_seconds": (int, float)},
}
_NAMES = {"inputs": _FILES, "outputs": _FILES}


@dataclass(frozen=True)
class Record:
    """What one job wrote about itself (`geed.provenance.job`).

    Attributes:
        path: where the record lies.
        rule: the rule.
        wildcards: its wildcards, by name.
        inputs: path -> SHA-256 of what it read of results and figures.
        sources: path -> SHA-256 of the other files that it read: its script, the modules that it ran, templates.
        outputs: path -> SHA-256.
        content: the record whole.
    """

    path: Path
    rule: str
    wildcards: dict[str, str]
    inputs: dict[str, str]
    sources: dict[str, str]
    outputs: dict[str, str]
    content: dict[str, Any]

    @property
    def job(self) -> str:
        """The job in words: its rule and wildcards."""
        return " ".join([self.rule, *self.wildcards.values()])

    @property
    def commit(self) -> str | None:
        """The commit whose sources the job ran; None outside a checkout."""
        return self.content["code"].get("commit")

    @property
    def dirty(self) -> bool:
        """Whether the checkout had uncommitted changes."""
        return bool(self.content["code"].get("dirty"))


def read(path: Path) -> Record:
    """Read a job record.

    Raises:
        GeedError: it is damaged, is no job record, or names a file outside the project.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise GeedError(f"{path}: expected a job record, found JSON of another kind")
    for key, wanted in (_SHAPE | ({"names": _NAMES} if "names" in content else {})).items():
        if (wrong := _unfit(content.get(key), wanted, key)) is not None:
            raise GeedError(f"{path}: expected a job record, found one without a proper '{wrong}'")
    commit = content["code"].get("commit") or ""
    if set(commit) - _HEXADECIMAL:
        raise GeedError(f"{path}: expected a commit, found {commit!r}")
    if not content["outputs"]:
        raise GeedError(f"{path}: expected a job record, found one without outputs")
    for name, digest in (content["inputs"] | content["outputs"]).items():
        if len(digest) != 64 or set(digest) - _HEXADECIMAL:
            raise GeedError(f"{path}: expected a SHA-256 for {name}, found {digest!r}")
    inputs = {name: digest for name, digest in content["inputs"].items() if name.startswith(_MADE)}
    sources = {name: digest for name, digest in content["inputs"].items() if name not in inputs}
    for name in [*inputs, *content["outputs"], *(name for name in sources if not name.endswith(".py"))]:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise GeedError(f"{path}: expected paths inside the project, found {name}")
    return Record(
        path=path,
        rule=content["rule"],
        wildcards={key: str(value) for key, value in content["wildcards"].items()},
        inputs=inputs,
        sources=sources,
        outputs=content["outputs"],
        content=content,
    )


def _unfit(value: Any, shape: Any, place: str) -> str | None:
    """Where a value has not the shape that it must have; None where it has."""
    if not isinstance(shape, dict):
        kinds = shape if isinstance(shape, tuple) else (shape,)
        return None if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)) else place
    if not isinstance(value, dict):
        return place
    wanted = {key: shape.get(key, shape.get("*")) for key in [*(shape.keys() - {"*"}), *value]}
    found = (_unfit(value.get(key), kind, f"{place}.{key}") for key, kind in wanted.items() if kind is not None)
    return next((wrong for wrong in found if wrong is not None), None)


@dataclass
class Study:
    """The records of a results folder, its figures' and those of the fetched files that it rests on.

    Attributes:
        folder: the results folder, absolute.
        prefix: its path in the records, `results/<study>`.
        records: all that could be read, by path.
        damaged: records that could not, with the reason.
    """

    folder: Path
    prefix: str
    records: list[Record]
    damaged: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The study's name."""
        return PurePosixPath(self.prefix).name

    @property
    def root(self) -> Path:
        """The project's folder: two above the results folder."""
        return self.folder.parents[1] if len(self.folder.parts) > 2 else self.folder

    def place(self, path: str) -> Path:
        """Where a recorded path lies on this machine; the results folder may have been renamed."""
        if PurePosixPath(path).is_relative_to(self.prefix):
            return self.folder / PurePosixPath(path).relative_to(self.prefix)
        return self.root / path

    def recorded(self, path: Path) -> str:
        """The path under which records know a file of this machine; the inverse of `place`."""
        path = path.resolve()
        if path.is_relative_to(self.folder):
            return (PurePosixPath(self.prefix) / path.relative_to(self.folder).as_posix()).as_posix()
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    @cached_property
    def producer(self) -> dict[str, Record]:
        """Output -> the record of the job that made it; the one beside it where several claim it."""
        found: dict[str, Record] = {}
        for record in self.records:
            for path in record.outputs:
                if path not in found or self.place(path).parent == record.path.parent:
                    found[path] = record
        return found

    def ancestry(self, records: Iterable[Record]) -> list[Record]:
        """The records and those of everything that they rest on, in the order of `records`."""
        seen: dict[Path, None] = {}
        waiting = list(records)
        while waiting:
            record = waiting.pop()
            if record.path not in seen:
                seen[record.path] = None
                waiting += [self.producer[path] for path in record.inputs if path in self.producer]
        return [record for record in self.records if record.path in seen]

    def gap(self, path: str) -> str | None:
        """Why a file no longer follows from what it was made from, in a sentence; None where it does.

        Looks at records and at which files are there, and hashes nothing: it finds what a stopped or partly failed run leaves.
        """
        if not self.place(path).exists():
            return f"{path} is not there"
        if path not in self.producer:
            return f"no record says how {path} was made"
        for record in self.ancestry([self.producer[path]]):
            for output in record.outputs:
                if not self.place(output).exists():
                    return f"{output}, on which it rests, is not there"
            for name, digest in record.inputs.items():
                if not self.place(name).exists():
                    return f"{name}, on which it rests, is not there"
                if name in self.producer and self.producer[name].outputs[name] != digest:
                    return f"{name} was made anew after '{record.job}' had read it"
        return None

    def about(self, claim: str) -> list[Record]:
        """The records of a claim: its ancestry, and what was made from it alone, its figures.

        Raises:
            GeedError: no such claim was decided.
        """
        decided = {record.wildcards.get("claim"): record for record in self.records if record.rule == "claim"}
        if claim not in decided:
            from geed.errors import nearest

            raise GeedError(f"{self.folder}: no record of claim {claim}{nearest(claim, decided)}")
        mine = set(decided[claim].outputs)
        others = {path for name, record in decided.items() if name != claim for path in record.outputs}
        drawn = [record for record in self.records if mine & set(record.inputs) and not others & set(record.inputs)]
        return self.ancestry([decided[claim], *drawn])

    def unused(self) -> set[Path]:
        """Records that nothing final rests on, left from an earlier plan of the study.

        Final are the rules whose outputs no job reads; a record of another rule whose outputs no job reads is a leftover.
        """
        read_by: dict[Path, set[Path]] = {record.path: set() for record in self.records}
        rules = set()
        for record in self.records:
            for path in record.inputs:
                if (maker := self.producer.get(path)) is not None:
                    read_by[maker.path].add(record.path)
                    rules.add(maker.rule)
        final = [record for record in self.records if not read_by[record.path] and record.rule not in rules]
        used = {record.path for record in self.ancestry(final)}
        return {record.path for record in self.records} - used


def load(folder: Path) -> Study:
    """Find the records of a study.

    Args:
        folder: `results/<study>`, or a copy of it. Figures and fetched files are looked for where the project has them, seen
            from there: `../../figures/<study>`, `../sources`, `../weights`.

    Raises:
        GeedError: no such folder, or no records in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise GeedError(f"{folder}: expected a study's results folder, found no such folder")
    folder = folder.resolve()
    damaged: list[tuple[Path, str]] = []
    own = list(_read_all(folder, damaged))
    if not own and not damaged:
        raise GeedError(f"{folder}: expected a study's results folder, found no job record (*{SUFFIX}) in it")
    study = Study(folder, _prefix(own, folder), own, damaged)
    study.records += _read_all(study.root / "figures" / study.name, damaged)
    folders = [study.root / path for path in _SHARED if study.root / path != folder]
    shared = [record for path in folders for record in _read_all(path, damaged)]
    if shared:
        wanted = Study(folder, study.prefix, [*study.records, *shared])
        needed = {record.path for record in wanted.ancestry(study.records)}
        study.records += [record for record in shared if record.path in needed]
    return study


def _read_all(folder: Path, damaged: list[tuple[Path, str]]) -> Iterator[Record]:
    for path in sorted(folder.rglob(f"*{SUFFIX}")):
        try:
            yield read(path)
        except GeedError as error:
            damaged.append((path, str(error)))


def _prefix(records: Iterable[Record], folder: Path) -> str:
    """The folder's path in the records: what precedes each output's place in it, by majority."""
    votes: Counter[str] = Counter()
    for record in records:
        inside = record.path.parent.relative_to(folder)
        for path in record.outputs:
            tail, recorded = (*inside.parts, PurePosixPath(path).name), PurePosixPath(path).parts
            if recorded[-len(tail) :] == tail and len(recorded) > len(tail):
                votes[PurePosixPath(*recorded[: -len(tail)]).as_posix()] += 1
    return votes.most_common(1)[0][0] if votes else f"results/{folder.name}"


def by_name(names: Mapping[str, Any]) -> list[str]:
    """The paths of a record's `names`, flat."""
    return [path for entry in names.values() for path in ([entry] if isinstance(entry, str) else entry)]
