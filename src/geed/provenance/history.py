"""The records of many jobs as one history: what made a file, on which jobs it rests, whether all of it still fits together."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from geed.errors import GeedError
from geed.files import read_json

SUFFIX = ".record.json"
Record = dict[str, Any]


class History:
    """Records by the files that their jobs made; paths as in the records, relative to the working folder.

    Attributes:
        records: every record by its own path.
        makers: file -> path of the record of the job that made it.
    """

    def __init__(self, records: dict[str, Record]) -> None:
        self.records = records
        self.makers = {output: path for path, record in records.items() for output in record["outputs"]}

    @classmethod
    def read(cls, folders: Iterable[str | Path]) -> "History":
        """All records below some folders; a folder that is not there has none.

        Raises:
            GeedError: a record is damaged.
        """
        paths = sorted({path for folder in folders for path in Path(folder).rglob(f"*{SUFFIX}")})
        return cls({path.as_posix(): _record(path) for path in paths})

    def ancestry(self, files: Iterable[str]) -> dict[str, Record]:
        """The records of all jobs on which some files rest, those that made them included; sorted by path."""
        found, waiting = set(), {self.makers[file] for file in files if file in self.makers}
        while waiting:
            path = waiting.pop()
            found.add(path)
            waiting |= {self.makers[file] for file in self.records[path]["inputs"] if file in self.makers} - found
        return {path: self.records[path] for path in sorted(found)}

    def gap(self, file: str) -> str | None:
        """Why a file no longer follows from what it was made from, in a sentence; None where it does.

        Looks at records and at which files are there, and hashes nothing: it finds what a stopped or partly failed run leaves.
        """
        if not Path(file).exists():
            return f"{file} is not there"
        for path, record in self.ancestry([file]).items():
            for output in record["outputs"]:
                if not Path(output).exists():
                    return f"{output}, on which it rests, is not there"
            for name, digest in record["inputs"].items():
                if name in self.makers and self.records[self.makers[name]]["outputs"][name] != digest:
                    return f"{name} was made anew after {path.removesuffix(SUFFIX)} had read it"
        return None


def _record(path: Path) -> Record:
    record = read_json(path)
    for key in ("inputs", "outputs"):
        if not isinstance(record, dict) or not isinstance(record.get(key), dict):
            raise GeedError(f"{path}: expected the record of a job, found no '{key}'")
    return record
