"""Groups as strings, for configuration files, tables and the command line."""

import functools
import inspect
from collections.abc import Callable

from geed.errors import GeedError, nearest
from geed.groups.base import Group
from geed.groups.finite import dihedral, reflections, rotations, translations, trivial
from geed.groups.products import product
from geed.groups.sampled import sampled_rotations, sampled_translations

_BUILDERS: dict[str, Callable[..., Group]] = {
    build.__name__: build
    for build in (rotations, reflections, dihedral, translations, trivial, sampled_rotations, sampled_translations)
}


def parse(spec: str) -> Group:
    """The group that a string names: ``NAME``, ``NAME:VALUE`` or ``NAME:KEY=VALUE,KEY=VALUE``; products are joined by ``*``.

    >>> parse("rotations:4"), parse("reflections*translations:y=2").order
    (Dihedral('rotations:4', order=4, exact=True), 4)

    Raises:
        GeedError: the string is not of that form, or names no group.
    """
    if not isinstance(spec, str):
        raise GeedError(f"a group must be a string such as 'rotations:4'; found {spec!r}")
    return functools.reduce(product, (_parse_one(part.strip(), spec) for part in spec.split("*")))


def _parse_one(part: str, spec: str) -> Group:
    name, colon, arguments = part.partition(":")
    if name not in _BUILDERS:
        raise GeedError(f"group '{spec}': unknown name '{name}'{nearest(name, _BUILDERS)}")
    build = _BUILDERS[name]
    keys = list(inspect.signature(build).parameters)
    required = [key for key, value in inspect.signature(build).parameters.items() if value.default is value.empty]
    values: dict[str, int] = {}
    for position, argument in enumerate(arguments.split(",") if colon else []):
        key, equals, value = argument.partition("=") if "=" in argument else ("", "", argument)
        key = key.strip() if equals else (required[position] if position < len(required) else "")
        if key not in keys or key in values:
            expected = f"{name}:" + ",".join(f"{key}=…" for key in keys) if keys else name
            raise GeedError(f"group '{spec}': expected '{expected}'; found '{argument}'")
        try:
            values[key] = int(value)
        except ValueError:
            raise GeedError(f"group '{spec}': {key} must be a positive integer; found '{value}'") from None
    missing = [key for key in required if key not in values]
    if missing:
        raise GeedError(f"group '{spec}': {missing[0]} is missing; expected e.g. '{name}:{missing[0]}=4'")
    return build(**values)
