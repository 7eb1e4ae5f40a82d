"""What the page of a study shows, gathered from results and records. Reads files, decides nothing."""

import base64
import csv
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geed.claims.table import command
from geed.claims.verdicts import VERDICTS
from geed.errors import GeedError
from geed.files import read_json
from geed.provenance import records
from geed.provenance.job import ENDED
from geed.provenance.records import Record
from geed.report import graph, words

ROWS = 2000  # of a table on the page; longer ones are read from their file
# What the page shows of a claim's result in places of their own, empty where a claim has none; the rest is listed as it is.
_EMPTY: dict[str, Any] = {
    **{key: {} for key in ("thresholds", "part_verdicts", "sensitivity", "floor", "null", "accuracies")},
    "notes": [],
    "reported": {"value": None, "where": ""},
    **dict.fromkeys(("statement", "paper", "test", "estimate_name"), ""),
    **dict.fromkeys(("estimate", "ci_low", "ci_high", "confidence", "intervals", "n_seeds", "n_images", "n_constructions")),
}
_SHOWN = {*_EMPTY, "id", "verdict", "parts", "evidence", "scale"}
_LAST_LINES = 40


@dataclass(frozen=True)
class Study:
    """A study and where its files are; all paths relative to the working folder, as in the records.

    Attributes:
        name: of the study.
        plan: its settings, whole.
        claims: claim -> the pictures (.png) of its figures.
        pictures: the pictures that belong to no claim.
        tables: the tables that belong to no claim; those in CSV are on the page.
        results: folder of its results.
        logs: folders of its jobs' logs.
    """

    name: str
    plan: Mapping[str, Any]
    claims: Mapping[str, list[str]]
    pictures: list[str]
    tables: list[str]
    results: str
    logs: list[str]

    def result(self, claim: str, suffix: str = ".json") -> str:
        """Path of a claim's verdict, or of its parts."""
        return f"{self.results}/claims/{claim}{suffix}"

    def targets(self) -> list[str]:
        """Everything that the page shows."""
        results = [self.result(claim, suffix) for claim in self.claims for suffix in (".json", ".csv")] + self.tables
        return [
            *results,
            f"{self.results}/claims.json",
            *(name for names in self.claims.values() for name in names),
            *self.pictures,
        ]

    def jobs(self, *others: str) -> records.Study:
        """The records of the jobs on which what the page shows rests, and `others` too; none where nothing was done yet."""
        found = records.Study(Path(self.results).resolve(), self.results, [])
        if any(Path(self.results).rglob(f"*{records.SUFFIX}")):
            found = records.load(Path(self.results))
        made = [found.producer[path] for path in (*self.targets(), *others) if path in found.producer]
        return replace(found, records=found.ancestry(made))


def gather(study: Study) -> dict[str, Any]:
    """Everything for the template.

    Raises:
        GeedError: a result, a record or a picture is damaged.
    """
    jobs = study.jobs()
    order = graph.order(graph.rules(jobs))
    claims = [_claim(study, jobs, claim, order) for claim in study.claims]
    verdicts = [claim["verdict"] for claim in claims]
    damaged = [{"path": jobs.recorded(path), "said": said} for path, said in jobs.damaged]
    return {
        "study": study,
        "claims": claims,
        "counts": [(verdict, verdicts.count(verdict)) for verdict in (*VERDICTS, "missing") if verdict in verdicts],
        "failures": [] if all(claim["whole"] for claim in claims) else damaged + failures(study.logs),
        "pictures": [picture(jobs, path) for path in study.pictures],
        "tables": [_table(jobs, path) for path in study.tables if path.endswith(".csv")],
        "networks": networks(study.plan, jobs, order),
        "stages": stages(jobs.records, order),
        "rows": [_job(jobs, record) for record in jobs.records],
        "environment": environment(jobs.records),
        "jobs": jobs,
    }


def _claim(study: Study, jobs: records.Study, claim: str, order: list[str]) -> dict[str, Any]:
    path = study.result(claim)
    found = {"id": claim, "path": path, "command": command(claim, study.name), "gap": jobs.gap(path), "whole": False}
    if not Path(path).exists():
        return found | {"verdict": "missing", "result": {}}
    result = read_json(path)
    if not isinstance(result, dict) or "verdict" not in result:
        raise GeedError(f"{path}: expected the result of a claim, found no key 'verdict'")
    result = _EMPTY | {key: value for key, value in result.items() if value is not None}
    made = [jobs.producer[name] for name in (path, *study.claims[claim]) if name in jobs.producer]
    mine = replace(jobs, records=jobs.ancestry(made))
    return found | {
        "verdict": result["verdict"],
        "whole": found["gap"] is None,
        "result": result,
        "estimate": words.estimate(result),
        "sensitivity": sensitivity(result),
        "more": {key: value for key, value in result.items() if key not in _SHOWN},
        "pictures": [picture(jobs, name) for name in study.claims[claim]],
        "parts": table(study.result(claim, ".csv")),
        "runs": _runs(networks(study.plan, mine, order), result["accuracies"]),
        "stages": stages(mine.records, order),
        "record": _record(jobs, path),
    }


def sensitivity(result: Mapping[str, Any]) -> dict[str, Any]:
    """The verdicts under other choices: rows of (what was varied, to what, verdict), and how many keep the verdict."""
    rows = [
        (kind.replace("_", " "), str(choice), verdict)
        for kind, verdicts in result["sensitivity"].items()
        for choice, verdict in verdicts.items()
    ]
    return {"rows": rows, "kept": sum(verdict == result["verdict"] for _, _, verdict in rows)}


def table(path: str) -> dict[str, Any] | None:
    """A CSV table with its numbers in a few figures; which columns are numeric; None where there is no file."""
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            header, *rows = csv.reader(stream)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error) as error:
        raise GeedError(f"{path}: expected a CSV table, found something else ({error})") from error
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(header))]
    shown = [[words.cell(text) for text in row] for row in rows[:ROWS]]
    return {"path": path, "columns": header, "numeric": numeric, "rows": shown, "count": len(rows)}


def _table(jobs: records.Study, path: str) -> dict[str, Any]:
    found = table(path) or {"path": path, "rows": None}
    return found | {"record": _record(jobs, path), "gap": jobs.gap(path)}


def _is_number(text: str) -> bool:
    try:
        return not text or float(text) is not None
    except ValueError:
        return False


def picture(jobs: records.Study, path: str) -> dict[str, Any]:
    """A figure: its PNG for an `img`, its size in pixels, its title and caption from the record of its job."""
    try:
        content = Path(path).read_bytes()
    except OSError:
        return {"path": path, "name": Path(path).stem, "data": None}
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise GeedError(f"{path}: expected a PNG picture, found something else")
    width, height = struct.unpack(">2I", content[16:24])
    said = jobs.producer[path].content["measured"] if path in jobs.producer else {}
    return {
        "path": path,
        "pdf": str(Path(path).with_suffix(".pdf")),
        "name": Path(path).stem,
        "data": base64.b64encode(content).decode("ascii"),
        "width": width,
        "height": height,
        "title": said.get("title", Path(path).stem.replace("_", " ")),
        "caption": said.get("caption", ""),
        "record": _record(jobs, path),
        "gap": jobs.gap(path),
    }


def _record(jobs: records.Study, path: str) -> str | None:
    """Where the record of the job that made a file lies."""
    return jobs.recorded(jobs.producer[path].path) if path in jobs.producer else None


def networks(plan: Mapping[str, Any], jobs: records.Study, order: Sequence[str]) -> list[dict[str, Any]]:
    """Every network of some jobs, one row a run and seed: what it is, what it cost, its jobs' records, what these measured."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for record in sorted(jobs.records, key=lambda record: order.index(record.rule)):
        if "run" not in record.wildcards:
            continue
        key, path = (record.wildcards["run"], record.wildcards.get("seed", "")), jobs.recorded(record.path)
        row = rows.setdefault(key, {"run": key[0], "seed": key[1], "jobs": [], "seconds": 0.0, "memory": 0.0, "measured": {}})
        row["settings"] = plan.get("runs", {}).get(key[0], {})
        row["jobs"].append((record.rule, path))
        row["seconds"] += seconds(record)
        row["memory"] = max(row["memory"], record.content["cost"]["peak_memory_mb"])
        row["measured"] |= {key: (value, path) for key, value in record.content["measured"].items()}
    place = {run: index for index, run in enumerate(plan.get("runs", {}))}
    return sorted(rows.values(), key=lambda row: (place.get(row["run"], len(place)), row["run"], row["seed"].zfill(9)))


def _runs(rows: Iterable[Mapping[str, Any]], accuracies: Mapping[str, float]) -> list[dict[str, Any]]:
    """The networks of a claim, one row a run: its test accuracy as the claim gives it, and all seeds' jobs."""
    runs: dict[str, dict[str, Any]] = {}
    for row in rows:
        run = runs.setdefault(row["run"], {"run": row["run"], "settings": row["settings"], "seconds": 0.0, "jobs": {}})
        run["accuracy"] = accuracies.get(row["run"])
        run["seconds"] += row["seconds"]
        for rule, path in row["jobs"]:
            run["jobs"].setdefault(rule, []).append((row["seed"], path))
    return list(runs.values())


def seconds(record: Record) -> float:
    """What a job took, its start-up and imports included."""
    return record.content["cost"]["wall_seconds"] + record.content["cost"]["startup_seconds"]


def stages(jobs: Iterable[Record], order: Sequence[str]) -> list[dict[str, Any]]:
    """Jobs, seconds and memory by rule, in the order given; the last row is all of them. No rows where there are no records."""
    rows: dict[str, dict[str, Any]] = {}
    for record in jobs:
        for name in (record.rule, "all"):
            row = rows.setdefault(name, {"rule": name, "jobs": 0, "seconds": 0.0, "startup": 0.0, "longest": 0.0, "memory": 0.0})
            row["jobs"] += 1
            row["seconds"] += seconds(record)
            row["startup"] += record.content["cost"]["startup_seconds"]
            row["longest"] = max(row["longest"], seconds(record))
            row["memory"] = max(row["memory"], record.content["cost"]["peak_memory_mb"])
    return [rows[name] for name in (*order, "all") if name in rows]


def _job(jobs: records.Study, record: Record) -> dict[str, Any]:
    cost = record.content["cost"]
    return {
        "rule": record.rule,
        "of": " ".join(record.wildcards.values()),
        "seconds": seconds(record),
        "memory": cost["peak_memory_mb"],
        "device": record.content["machine"]["device"],
        "started": cost["started"],
        "record": jobs.recorded(record.path),
        "outputs": list(record.outputs),
    }


def environment(jobs: Iterable[Record]) -> list[tuple[str, str, int]]:
    """Rows of (what, which, number of jobs); more than one row for a thing is a study whose jobs ran differently."""
    counts: dict[tuple[str, str], int] = {}
    for record in jobs:
        code, machine = record.content["code"], record.content["machine"]
        state = {True: ", with uncommitted changes", False: ", as committed"}.get(code["dirty"], "")
        facts = {
            "commit": f"{code['commit']}{state}" if code["commit"] else "outside a git checkout",
            "lock file (sha256)": code["lock_sha256"],
            "python": machine["python"],
            "system": machine["system"],
            "device": machine["device"],
            "threads a job": machine["threads"],
            **record.content["packages"],
        }
        for name, value in facts.items():
            counts[name, str(value)] = counts.get((name, str(value)), 0) + 1
    names = list(dict.fromkeys(name for name, _ in counts))
    return [(name, value, count) for wanted in names for (name, value), count in sorted(counts.items()) if name == wanted]


def failures(logs: Iterable[str]) -> list[dict[str, str]]:
    """The jobs whose log ends in an error, or without a word: its path, and its last sentence."""
    found = []
    for path in sorted(path for folder in logs for path in Path(folder).rglob("*.log")):
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-_LAST_LINES:]
        if lines and lines[-1].startswith(ENDED):
            continue
        failed = lines and (lines[-1].startswith("geed: ") or any(line.startswith("Traceback") for line in lines))
        found.append({"path": path.as_posix(), "said": lines[-1] if failed else "ended without a word: killed, or out of memory"})
    return found
