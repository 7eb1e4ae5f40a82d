"""Hundreds of mistakes, made systematically at every key of the schema: each is refused in one sentence that names the key.

Everything that the schema describes is walked through together with the config that it describes, and at each key, once for each
place of the schema, all mistakes are made that its description forbids.
"""

import copy
import datetime
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from checkouts import Checkout

from geed.errors import GeedError
from geed.study import config as study_config
from geed.study import plan as study_plan

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "workflow/schemas"
SCHEMA = study_config.load_schema(SCHEMAS)
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))]
# By the kind that a schema may ask for, a value that is of this kind only.
VALUES = {"object": {"zzz": 1}, "array": [{}], "string": "zzz", "number": -0.5, "boolean": True, "null": None}
VALUES |= {"date": datetime.date(2022, 10, 7)}  # YAML reads 2022-10-07 as one
REMOVED = object()


class Mistake(NamedTuple):
    """One change of a config: `keys` lead to `value`; the sentence must name `path`."""

    name: str
    keys: tuple[str | int, ...]
    value: Any
    path: str


def mistakes(value: Any, schema: dict, keys: tuple = (), seen: set | None = None, place: tuple = ()) -> Iterator[Mistake]:
    """All mistakes from here down, each once for a place of the schema (names that the user chooses are one place)."""
    seen = set() if seen is None else seen
    schema = study_config._deref(schema, SCHEMA)
    for kind, bad in wrong(value, schema):
        if (keys or type(bad) is dict) and (place, kind) not in seen:
            seen.add((place, kind))
            yield Mistake(
                f"{'.'.join(place) or 'all'}: {kind}", keys, bad, ".".join(str(key) for key in keys if type(key) is str)
            )
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for key in dict.fromkeys([*known, *value]):
            if key in known:
                yield from mistakes(value.get(key, REMOVED), known[key], (*keys, key), seen, (*place, key))
            elif isinstance(other := schema.get("additionalProperties"), dict):
                yield from mistakes(value[key], other, (*keys, key), seen, (*place, "*"))
    elif isinstance(value, list) and value and "items" in schema:
        yield from mistakes(value[0], schema["items"], (*keys, 0), seen, (*place, "[]"))


def wrong(value: Any, schema: dict) -> Iterator[tuple[str, Any]]:
    """What must not stand in the place of a value, by a word for the mistake."""
    kinds = schema.get("type", [])
    kinds = {kinds} if isinstance(kinds, str) else set(kinds)
    kinds |= {{int: "number", bool: "boolean", str: "string", type(None): "null"}[type(one)] for one in schema.get("enum", [])}
    for kind, bad in VALUES.items():
        if kinds and kind not in kinds and not (kind == "number" and "integer" in kinds):
            yield f"a {kind}", bad
    if "integer" in kinds:
        yield "a fraction", 2.5
    if kinds & {"integer", "number"}:
        yield "not a number", math.nan
        yield "infinity", math.inf
    if "enum" in schema:
        yield "an unknown choice", "zzz"
    if "x-names" in schema:
        yield "a dangling name", f"{value}x" if isinstance(value, str) else "zzz"
    for bound, beyond in (("minimum", -1), ("maximum", 1), ("exclusiveMinimum", 0), ("exclusiveMaximum", 0)):
        if bound in schema:
            yield f"beyond {bound}", schema[bound] + beyond
    if schema.get("minItems") or schema.get("minProperties"):
        yield "empty", [] if "array" in kinds else {}
    if schema.get("uniqueItems") and isinstance(value, list) and value:
        yield "twice the same", [*value, value[0]]
    if isinstance(value, dict):
        if schema.get("additionalProperties") is False:
            yield "an unknown key", value | {"zzz": 1}
            yield "a number as a key", value | {3: 1}
            if value:
                key = next(iter(value))
                yield "a misspelt key", {**{other: value[other] for other in value if other != key}, f"{key}z": value[key]}
        elif "propertyNames" in schema:
            yield "a bad name", value | {"Bad Name": next(iter(value.values()))}
            yield "a number as a name", value | {3: next(iter(value.values()))}
        for key in schema.get("required", []):
            if key in value:
                yield f"no {key}", {other: value[other] for other in value if other != key}


def made(config: dict, mistake: Mistake) -> dict:
    """A copy of a config with a mistake in it."""
    if not mistake.keys:
        return mistake.value
    config = copy.deepcopy(config)
    inside = config
    for key in mistake.keys[:-1]:
        inside = inside[key]
    inside[mistake.keys[-1]] = mistake.value
    return config


def whole(study: Path) -> dict:
    """The config of a study, without the anchors by which one place of a file may stand for several."""
    config, _ = study_config.overlay([ROOT / "config.yaml"] + [study] * (study != ROOT / "config.yaml"))
    return json.loads(json.dumps(config))


SCHEMA_OF = {SCHEMAS / name: study_config.read_yaml(SCHEMAS / name) for name in ("config.schema.yaml", "claims.schema.yaml")}
CASES = {study.stem: list(mistakes(whole(study), SCHEMA)) for study in STUDIES}
# The largest study takes a tenth of a second to read, so of it only what no other one can have.
_OTHERS = {mistake.name for study, cases in CASES.items() if study != "full" for mistake in cases}
CASES["full"] = [mistake for mistake in CASES["full"] if mistake.name not in _OTHERS]


def test_the_mistakes_are_many_and_reach_every_section():
    assert len(CASES["config"]) > 400
    reached = {mistake.path.split(".")[0] for cases in CASES.values() for mistake in cases}
    assert reached >= set(SCHEMA["properties"])


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
def test_every_mistake_is_one_sentence_that_names_the_key(study, tmp_path, monkeypatch):
    config, path = whole(study), tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    study_plan.load([path], SCHEMAS)  # it is right before it is wrong
    problems = []
    for mistake in CASES[study.stem]:
        broken = made(config, mistake)
        monkeypatch.setattr(
            study_config, "read_yaml", lambda source, broken=broken: broken if source == path else SCHEMA_OF[source]
        )
        try:
            study_plan.load([path], SCHEMAS)
            problems.append(f"{mistake.name}: accepted {mistake.value!r}")
        except GeedError as error:
            sentence = str(error)
            if not sentence.startswith(f"{path}: {mistake.path}") or "\n" in sentence or len(sentence) > 1000:
                problems.append(f"{mistake.name} ({mistake.path}): {sentence}")
        except Exception as error:
            problems.append(f"{mistake.name}: {mistake.value!r} raised {type(error).__name__}: {error}")
    assert not problems, f"{len(problems)} of {len(CASES[study.stem])}:\n" + "\n".join(problems)


@pytest.mark.slow
def test_the_command_refuses_them_before_any_job(tmp_path):
    cases = CASES["config"][:: len(CASES["config"]) // 12]
    assert len(cases) >= 12
    checkout = Checkout(tmp_path / "geed", "--cores", "1", "--configfile", "study.yaml")
    config = whole(STUDIES[0])
    for mistake in cases:
        (checkout.folder / "study.yaml").write_text(yaml.safe_dump(made(config, mistake), sort_keys=False))
        code, words = checkout.run()
        said = [line for line in words.splitlines() if line.startswith("geed: ")]
        assert code == 1 and len(said) == 1, f"{mistake}: {words}"
        assert said[0].startswith("geed: study.yaml: ") and mistake.path in said[0], f"{mistake}: {words}"
        assert "Traceback" not in words and 'File "' not in words, f"{mistake}: {words}"
        assert not list((checkout.folder / "results").rglob("*.json"))
