"""Runs from a table of timm's networks: each is measured as it was published, on images of the size that it was trained with.

The table is CSV with the columns `timm` (name and tag; empty where a row is there for the record only), `size` (side of its
images in pixels) and `family`; others are for people. A run is called ``timm_`` and the name with underscores; its data set is
``zoo_<size>``. Lists of runs in evaluations and claims may hold ``zoo:FAMILY`` or ``zoo:all``.
"""

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geed.errors import GeedError, nearest

COLUMNS = ("timm", "size", "family")
PREFIX = "zoo:"


def expanded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A study with the runs, architectures and data sets that its `zoo` stands for; any other study as it is.

    Raises:
        GeedError: the table cannot be read, lacks a column, or names a network twice; a family that it has not.
    """
    zoo, data = config.get("zoo"), config.get("data")
    if not (isinstance(zoo, dict) and isinstance(zoo.get("table"), str) and isinstance(zoo.get("set"), dict)):
        return dict(config)  # the schema says what is wrong with it
    rows = read(zoo["table"])
    names = {row["timm"]: "timm_" + re.sub(r"\W", "_", row["timm"]).lower() for row in rows}
    if len(set(names.values())) < len(rows):
        raise GeedError(f"{zoo['table']}: expected every network once, found one twice")
    families = {"all": list(names.values())}
    for row in rows:
        families.setdefault(row["family"], []).append(names[row["timm"]])
    sets = {f"zoo_{row['size']}": {**zoo["set"], "size": int(row["size"])} for row in rows}
    networks = {run: {"kind": "pretrained", "name": f"timm:{timm}"} for timm, run in names.items()}
    runs = {
        names[row["timm"]]: {"data": f"zoo_{row['size']}", "architecture": names[row["timm"]], "objective": "none"}
        for row in rows
    }
    data = data if isinstance(data, dict) else {}
    config = {key: _named(config[key], families, key) if key in ("evaluations", "claims") else config[key] for key in config}
    # What is wrong with the zoo's own settings is said of them, before the sets that they stand for are looked at.
    return (
        {"zoo": zoo}
        | config
        | {
            "data": {**data, "sets": {**(data.get("sets") or {}), **sets}},
            "architectures": {**(config.get("architectures") or {}), **networks},
            "runs": {**(config.get("runs") or {}), **runs},
        }
    )


def read(path: str | Path) -> list[dict[str, str]]:
    """The rows of a table that name a network.

    Raises:
        GeedError: it cannot be read, lacks a column or holds a size that is none.
    """
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream)
            rows, found = list(table), table.fieldnames or []
    except (OSError, UnicodeDecodeError) as error:
        raise GeedError(f"{path}: cannot be read: {error}") from error
    for column in COLUMNS:
        if column not in found:
            raise GeedError(f"{path}: expected a column '{column}', found {', '.join(found) or 'none'}")
    rows = [row for row in rows if row["timm"]]
    for row in rows:
        if not (row["size"] or "").isdigit() or not row["family"]:
            found = f"{row['size']!r} and {row['family']!r}"
            raise GeedError(f"{path}: expected a size in pixels and a family for {row['timm']}, found {found}")
    return rows


def _named(value: Any, families: Mapping[str, list[str]], path: str) -> Any:
    """The same settings with the runs of a family in the place of its name."""
    if isinstance(value, dict):
        return {key: _named(entry, families, f"{path}.{key}") for key, entry in value.items()}
    if not isinstance(value, list):
        return value
    runs: list[Any] = []
    for entry in value:
        if isinstance(entry, str) and entry.startswith(PREFIX):
            family = entry.removeprefix(PREFIX)
            if family not in families:
                raise GeedError(f"{path}: the zoo's table has no family '{family}'{nearest(family, families)}")
            runs += families[family]
        else:
            runs.append(entry)
    return runs
