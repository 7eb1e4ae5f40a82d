"""The static walk over imports finds what a script executes, and nothing that it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from geed.provenance.sources import PACKAGE, sources

SCRIPTS = Path(__file__).parents[2] / "workflow/scripts"


def names(script):
    return {str(path.relative_to(PACKAGE)) for path in sources(script)[1:]}


def test_the_script_comes_first():
    assert sources(SCRIPTS / "train.py")[0] == SCRIPTS / "train.py"


def test_imports_are_followed_through_modules_functions_and_packages(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os\nfrom geed import groups\n\ndef later():\n    from geed.study.plan import load\n")
    found = names(script)
    assert {"__init__.py", "groups/__init__.py", "groups/finite.py", "study/plan.py", "study/config.py"} <= found
    assert "errors.py" in found  # through the others
    assert not any(name.startswith("training/loop") for name in found)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_every_script_knows_at_least_what_importing_it_loads(script):
    imports = [line for line in script.read_text().splitlines() if line.startswith(("from geed", "import geed"))]
    listing = "print([m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'geed' and m.__file__])"
    program = "\n".join([*imports, "import sys", listing])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {str(Path(path).relative_to(PACKAGE)) for path in eval(done.stdout)}
    assert loaded <= names(script)


def test_figures_and_claims_do_not_depend_on_training():
    # They read tables: an edit to the training loop reaches them through the data, not through their code.
    assert not any(name.startswith("training/") for name in names(SCRIPTS / "claim.py"))
    assert not any(name.startswith(("training/", "models/", "metrics/engine")) for name in names(SCRIPTS / "figure.py"))
