"""Where a file comes from: the jobs from a verdict, figure or table back to the raw data, as a tree."""

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from geed.errors import GeedError
from geed.files import read_json, sha256
from geed.provenance.chain import published, read_from, result_of
from geed.provenance.checks import few
from geed.provenance.records import Record, Study, load

_WIDTH = 100
_SHORT = 8  # hexadecimal digits of a hash
_HASHES = 5  # of one line
_SEED = re.compile(r"seed-\d+")
_PARTS = {"claims", "measurements", "models", "data"}


def why(path: str | Path) -> tuple[str, bool]:
    """The tree of a file, and whether the chain holds: each file is the one that was read, the asked one is as recorded.

    Hashes are those of the records; only the file itself is read again (`geed audit` reads all).

    Raises:
        GeedError: no such file, or no record claims it.
    """
    path = Path(path)
    if not path.is_file():
        raise GeedError(f"{path}: no such file")
    study = load(_study_of(path))
    name = study.recorded(path)
    record = study.producer.get(name)
    if record is None:
        raise GeedError(f"{path}: no record of {study.folder} claims this file")
    tree = _Tree(study)
    if (found := sha256(path)) != record.outputs[name]:
        tree.broken.append(f"{name} is not what its job wrote: recorded {record.outputs[name]}, found {found}")
    tree.add([record], {name: record.outputs[name]}, "", "")
    lines = [*tree.lines, ""]
    if (verdict := _verdict(study, record)) is not None:
        lines.insert(0, verdict)
    lines += [f"BROKEN: {words}" for words in tree.broken]
    return "\n".join(lines + _rebuild(study, record, name)), not tree.broken


class _Tree:
    """Lines of the tree; what was shown once is not shown again."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.lines: list[str] = []
        self.broken: list[str] = []
        self._shown: set[Path] = set()

    def add(self, records: Sequence[Record], files: dict[str, str], branch: str, stem: str) -> None:
        """Jobs that differ in their seed alone, the files asked of them (path -> hash), and below them what they read."""
        self._shown |= {record.path for record in records}
        self.lines.append(f"{branch}{_jobs(records)}")
        below, above = self._producers(records)
        bar = f"{stem}{'│' if below or above else ' '}  "
        self._files(files, bar)
        for record in records[:1]:
            self.lines += [f"{bar}{line}" for line in _raw(record)]
        for index, (makers, wanted) in enumerate(below):
            last = index == len(below) - 1 and not above
            self.add(makers, wanted, f"{stem}{'└─ ' if last else '├─ '}", f"{stem}{'   ' if last else '│  '}")
        if above:
            self.lines += _wrapped(f"{stem}└─ and, as above: ", f"{stem}   ", above)

    def _producers(self, records: Sequence[Record]) -> tuple[list[tuple[list[Record], dict[str, str]]], list[str]]:
        """The jobs that made the inputs, those that differ in their seed together; and those that were shown before."""
        groups: defaultdict[str, dict[str, str]] = defaultdict(dict)
        makers: defaultdict[str, dict[Path, Record]] = defaultdict(dict)
        for record in records:
            for path, digest in record.inputs.items():
                maker = self.study.producer.get(path)
                if maker is None:
                    if digest != published(path):
                        self.broken.append(f"{path}, which the job {record.job} read, has no record")
                    continue
                if maker.outputs[path] != digest:
                    was, now = digest[:_SHORT], maker.outputs[path][:_SHORT]
                    self.broken.append(f"the job {record.job} read another {path} ({was}) than {maker.job} has written ({now})")
                groups[_kind(maker)][path] = maker.outputs[path]
                makers[_kind(maker)][maker.path] = maker
        fresh, above = [], []
        for kind, files in groups.items():
            if all(path in self._shown for path in makers[kind]):
                above.append(kind)
            else:
                fresh.append((list(makers[kind].values()), files))
        # Deepest first, so that a shared ancestor is shown below the longest branch.
        return fresh, above

    def _files(self, files: dict[str, str], bar: str) -> None:
        rows: defaultdict[str, list[str]] = defaultdict(list)
        for path, digest in files.items():
            rows[_SEED.sub("seed-*", path) if len(files) > 1 else path].append(digest[:_SHORT])
        for path, digests in rows.items():
            hashes = " ".join(digests[:_HASHES]) + (f" … ({len(digests)})" if len(digests) > _HASHES else "")
            if len(bar) + len(path) + 2 + len(hashes) <= _WIDTH:
                self.lines.append(f"{bar}{path}  {hashes}")
            else:
                self.lines += [f"{bar}{path}", f"{bar}  {hashes}"]


def _study_of(path: Path) -> Path:
    """The results folder that answers for a file: by the project's layout, else the one above it that looks like one."""
    path = path.resolve()
    for parent in path.parents:
        if (parent / "record.json").is_file():
            raise GeedError(
                f"{path}: a blessed copy, which has no records of jobs; ask for results/{parent.name}/{path.relative_to(parent)}"
            )
        if parent.parent.name == "results":
            return parent
        if parent.parent.name == "figures":
            return parent.parents[1] / "results" / parent.name
    for parent in path.parents:
        if _PARTS & {entry.name for entry in parent.iterdir() if entry.is_dir()}:
            return parent
    raise GeedError(f"{path}: expected a file of a study's results or figures, found none of its folders above it")


def _kind(record: Record) -> str:
    """The job without its seed."""
    return " ".join([record.rule, *(value for key, value in record.wildcards.items() if key != "seed")])


def _jobs(records: Sequence[Record]) -> str:
    """The jobs in one line: what, which seeds, how long, when, from which commit."""
    first = records[0]
    seeds = [record.wildcards["seed"] for record in records if "seed" in record.wildcards]
    words = [_kind(first) + (f", seed{'s' if len(seeds) > 1 else ''} {few(seeds, 5)}" if seeds else "")]
    seconds = [record.content["cost"].get("wall_seconds") for record in records]
    if all(isinstance(value, (int, float)) for value in seconds):
        words.append(f"{sum(seconds):.1f} s")
    started = sorted(str(record.content["cost"].get("started") or "") for record in records)[0]
    words.append(started[:16].replace("T", " "))
    commits = sorted({str(record.commit)[:7] if record.commit else "none" for record in records})
    words.append(f"commit {', '.join(commits)}" + (" + uncommitted changes" if any(record.dirty for record in records) else ""))
    return " · ".join(word for word in words if word)


def _raw(record: Record) -> list[str]:
    """Lines on the raw data that a job read, or on the published checksum of what it fetched."""
    lines = [f"raw data  {path.removeprefix('package:')}  {str(digest)[:_SHORT]}" for path, digest in read_from(record).items()]
    for path, digest in record.outputs.items():
        if (expected := published(path)) is not None:
            lines.append("as published" if digest == expected else f"NOT as published: {expected[:_SHORT]}")
    return lines


def _verdict(study: Study, record: Record) -> str | None:
    """What a claim says, in a line."""
    path = result_of(record)
    if path is None or not study.place(path).is_file():
        return None
    result = read_json(study.place(path))
    words = result if isinstance(result, dict) else {}
    numbers = [words.get(key) for key in ("estimate", "ci_low", "ci_high")]
    estimate, *interval = (f"{value:.3g}" if isinstance(value, (int, float)) else None for value in numbers)
    text = f"{words.get('id')}: {words.get('verdict')}"
    if estimate is not None:
        text += f", {estimate}" + (f" [{', '.join(interval)}]" if all(interval) else "") + f" ({words.get('estimate_name')})"
    return textwrap.fill(text, _WIDTH) + "\n"


def _rebuild(study: Study, record: Record, name: str) -> list[str]:
    """The commands that rebuild a file."""
    jobs = study.ancestry([record])
    seconds = sum(record.content["cost"].get("wall_seconds") or 0 for record in jobs)
    commits = sorted({record.commit[:7] for record in jobs if record.commit})
    overlay = "" if study.name == "demo" else f" --configfile workflow/studies/{study.name}.yaml"
    lines = [f"its sources: git checkout {commits[0]}"] if len(commits) == 1 else []
    lines += [
        "to rebuild what is missing or out of date:",
        f"  snakemake --cores 2{overlay} {name}",
        f"to rebuild all of it, {len(jobs)} job{'s' if len(jobs) > 1 else ''}, {seconds:.0f} s:",
        f"  snakemake --cores 2{overlay} --forceall {name}",
    ]
    return lines


def _wrapped(start: str, stem: str, words: Iterable[str]) -> list[str]:
    """Words with commas between them, broken into lines."""
    lines = [start]
    for index, word in enumerate(words):
        text = word if not index else f", {word}"
        if len(lines[-1]) + len(text) > _WIDTH:
            lines[-1] += ","
            lines.append(f"{stem}{word}")
        else:
            lines[-1] += text
    return lines
