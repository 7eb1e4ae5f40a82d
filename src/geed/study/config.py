"""Reading a study's config: overlay, schema, defaults. Every mistake becomes one sentence with the key's path."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from geed.errors import GeedError, nearest

# Sections whose keys an overlay replaces one by one; of all others it replaces the whole, so that a study never inherits runs.
MERGED = ("data", "training")
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


class _UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML that refuses a key given twice, which plain YAML silently overwrites."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = []
        for key_node, _ in node.value:
            key = (key_node.tag, str(key_node.value))
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key[1]}' is given twice", key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        GeedError: the file is absent, is not YAML, repeats a key or is not a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise GeedError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise GeedError(f"{path}: expected UTF-8 text ({error.reason} at byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise GeedError(f"{path}{where}: expected YAML: {getattr(error, 'problem', None) or 'not readable'}") from error
    if not isinstance(content, dict):
        raise GeedError(f"{path}: expected a mapping of keys at the top, found {_kind(content)}")
    return content


def load_schema(folder: str | Path) -> dict[str, Any]:
    """The schema of a study: `config.schema.yaml`, with the claims' settings of `claims.schema.yaml` put in its place."""
    schema = read_yaml(Path(folder) / "config.schema.yaml")
    claims = read_yaml(Path(folder) / "claims.schema.yaml")
    schema["properties"]["claims"] |= {"properties": claims["properties"], "additionalProperties": False}
    schema["$defs"] |= claims.get("$defs", {})
    return schema


def overlay(files: Sequence[str | Path], overrides: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """Lay study files over each other, later ones on top, then single overrides of the command line.

    Returns:
        The config, and for every top-level key the file (or "--config") that it came from.
    """
    config: dict[str, Any] = {}
    origin = {"": str(files[-1])}  # where a key is missing, the file laid last is to blame
    single = {key: _typed(value) if isinstance(value, list | dict) else value for key, value in (overrides or {}).items()}
    for source, layer in [(str(path), read_yaml(path)) for path in files] + [("--config", single)]:
        for key, value in layer.items():
            if key in MERGED and isinstance(value, dict) and isinstance(config.get(key), dict):
                config[key] = config[key] | value
            else:
                config[key] = value
            origin[key] = source
    return config, origin


def _typed(value: Any) -> Any:
    """Numbers and truth values that Snakemake leaves as text inside the lists and mappings of its command line."""
    if isinstance(value, dict):
        return {key: _typed(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_typed(entry) for entry in value]
    try:
        return yaml.safe_load(value) if isinstance(value, str) and value else value
    except yaml.YAMLError:
        return value


def validate(config: Mapping[str, Any], schema: Mapping[str, Any], origin: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check a config against the schema and fill its defaults in.

    Raises:
        GeedError: the first mistake, in one sentence: file, key path, what was expected, what was found, the nearest valid name.
    """
    _check_plain(config, (), origin or {})
    errors = list(Draft202012Validator(schema).iter_errors(config))
    if errors:
        # An unknown key explains a missing one, so it is named first; else the first in the order of the file.
        errors.sort(key=lambda error: (error.validator != "additionalProperties", len(error.absolute_path)))
        raise GeedError(_sentence(errors[0], origin or {}))
    return _filled(dict(config), schema, schema)


def _check_plain(value: Any, path: tuple[str, ...], origin: Mapping[str, str]) -> None:
    """Refuse what YAML can say and a schema lets pass: keys that are no text, NaN and infinity."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise GeedError(f"{place((*path, str(key)), origin)}: expected text as a key, found {_kind(key)}; quote it")
            _check_plain(entry, (*path, key), origin)
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _check_plain(entry, (*path, str(index)), origin)
    elif isinstance(value, float) and not math.isfinite(value):
        raise GeedError(f"{place(path, origin)}: expected a finite number, found {value}")


def place(path: Sequence[str], origin: Mapping[str, str]) -> str:
    """`file: key.path`, with the file that the key's section came from."""
    source = origin.get(path[0] if path else "", origin.get(""))
    return ": ".join(part for part in (source, ".".join(path) or "config") if part)


def _sentence(error: ValidationError, origin: Mapping[str, str]) -> str:
    path = [str(part) for part in error.absolute_path]
    value, expected = error.instance, error.validator_value
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        key = next(key for key in value if key not in known)
        return f"{place([*path, str(key)], origin)}: unknown key{nearest(key, known)}"
    here = place(path, origin)
    if error.validator == "required":
        missing = next(key for key in expected if key not in value)
        return f"{place([*path, missing], origin)}: expected this key, found none"
    if error.validator == "type":
        kinds = [expected] if isinstance(expected, str) else expected
        return f"{here}: expected {' or '.join(_TYPES[kind] for kind in kinds)}, found {_kind(value)}"
    if error.validator == "enum":
        hint = nearest(value, expected).split(" (")[0]
        return f"{here}: expected one of {', '.join(str(choice) for choice in expected)}, found {value!r}{hint}"
    if error.validator == "pattern":
        return f"{here}: expected a name of lower-case letters, digits and underscores that starts with a letter, found {value!r}"
    bounds = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "more than", "exclusiveMaximum": "less than"}
    if error.validator in bounds:
        return f"{here}: expected a number {bounds[error.validator]} {expected}, found {value}"
    if error.validator in ("minItems", "minProperties"):
        return f"{here}: expected at least {expected} {'entries' if expected > 1 else 'entry'}, found {len(value)}"
    if error.validator == "uniqueItems":
        return f"{here}: expected every entry once, found one twice in {value}"
    return f"{here}: {error.message}"


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: f"the text {value!r}", bool: str(value).lower(), type(None): "nothing"}
    return names.get(type(value), f"{value!r}")


def _filled(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """`value` with the schema's defaults filled in, through references, mappings and lists."""
    fill = schema.get("x-fill", True)
    schema = _deref(schema, root)
    if isinstance(value, dict):
        known = schema.get("properties", {})
        value = {key: _filled(entry, known.get(key) or _other(schema), root) for key, entry in value.items()}
        if fill:
            for key, entry in known.items():
                if key not in value and "default" in _deref(entry, root):
                    value[key] = _filled(_deref(entry, root)["default"], entry, root)
    elif isinstance(value, list) and "items" in schema:
        value = [_filled(entry, schema["items"], root) for entry in value]
    return value


def _other(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    other = schema.get("additionalProperties", {})
    return other if isinstance(other, dict) else {}


def _deref(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return dict(schema)
    target: Any = root
    for part in schema["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return dict(target) | {key: entry for key, entry in schema.items() if key != "$ref"}


def references(config: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Every name that refers to something, as (key path, kind, name): the schema marks it by `x-names: kind`."""
    yield from _references(config, schema, schema, "")


def _references(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    schema = _deref(schema, root)
    if isinstance(value, dict):
        for key, entry in value.items():
            found = schema.get("properties", {}).get(key) or _other(schema)
            yield from _references(entry, found, root, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for entry in value:
            yield from _references(entry, schema.get("items", {}), root, path)
    elif isinstance(value, str) and "x-names" in schema:
        yield path, schema["x-names"], value


def describe(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """Every key of the schema as (path, type, default, description), in order: the rows of docs/config.md."""
    yield from _rows(schema, schema, "")


def _rows(schema: Mapping[str, Any], root: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    schema = _deref(schema, root)
    entries = list(schema.get("properties", {}).items())
    if other := _other(schema):
        entries.append(("<name>", other))
    for key, entry in entries:
        entry = _deref(entry, root)
        kind = entry.get("type") or ("one of " + ", ".join(str(choice) for choice in entry.get("enum", [])))
        kind = kind if isinstance(kind, str) else " or ".join(kind)
        default = (
            yaml.safe_dump(entry["default"], default_flow_style=True).split("\n")[0]
            if "default" in entry
            else "required"
            if key in schema.get("required", [])
            else ""
        )
        yield f"{prefix}{key}", kind, default, " ".join(entry.get("description", "").split())
        yield from _rows(entry, root, f"{prefix}{key}.")
