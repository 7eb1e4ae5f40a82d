"""The house: each room of geed imports only from rooms above it, and planning a DAG imports nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src/geed"
FOUNDATION = {"errors", "files", "seeds", "compat", "progress", "allocator", "printed"}
ROOMS = [
    "groups",
    "metrics",
    "lie",
    "data",
    "models",
    "training",
    "study",
    "stats",
    "claims",
    "figures",
    "provenance",
    "report",
    "commands",
    "cli",
]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("geed.")}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if _room(path) != "__init__"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_rooms_above(path):
    room = _room(path)
    rooms = _imports(path) - FOUNDATION - {room, "GeedError", "__version__"}
    assert room in ROOMS or room in FOUNDATION, f"{room} is not a room of docs/architecture.md"
    allowed = set() if room in FOUNDATION else set(ROOMS[: ROOMS.index(room)])
    assert rooms <= allowed


def test_planning_imports_nothing_heavy():
    # The imports of the Snakefile; torch alone would cost every dry run more than a second.
    program = """
import sys
from geed.study import plan
from geed.provenance.sources import sources
plan.load(["config.yaml"], "workflow/schemas")
print(sorted({"torch", "pandas", "scipy", "matplotlib", "sklearn", "e2cnn", "torchvision"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parents[1], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
