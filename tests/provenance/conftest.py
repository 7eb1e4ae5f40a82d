import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A checkout of the project with a finished study in it; not to be touched."""
    return tiny.make(tmp_path_factory.mktemp("built") / "project")


@pytest.fixture
def project(built, tmp_path):
    """A copy of it to spoil."""
    return Path(shutil.copytree(built, tmp_path / "project", symlinks=True))
