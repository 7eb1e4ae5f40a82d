"""Which modules of geed a script needs: a static walk over imports, so that a rule can name them as inputs.

Snakemake does not see an imported package: without this, editing a module would leave "nothing to be done".
"""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def sources(script: str | Path) -> list[Path]:
    """The files of the geed package that `script` imports, directly or through others, sorted; the script itself first.

    Imports inside functions count too, and so does the `__init__` of every package above a module, which importing it executes.

    Raises:
        SyntaxError: a file is not Python.
        FileNotFoundError: the script is not there.
    """
    script = Path(script)
    found: set[Path] = set()
    waiting = set(_imports(script.resolve()))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.update(_imports(path))
    return [script, *sorted(found)]


@cache
def _imports(path: Path) -> frozenset[Path]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from geed.groups import finite` may name a module or a function: try both.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            found.update(_files(name))
    return frozenset(found)


def _files(name: str) -> list[Path]:
    """The files that importing the dotted `name` executes, or none if it is not a module of geed."""
    parts = name.split(".")
    if parts[0] != PACKAGE.name:
        return []
    files, folder = [PACKAGE / "__init__.py"], PACKAGE
    for part in parts[1:]:
        if (folder / part / "__init__.py").exists():
            folder = folder / part
            files.append(folder / "__init__.py")
        elif (folder / f"{part}.py").exists():
            files.append(folder / f"{part}.py")
            break
        else:
            break
    return files
