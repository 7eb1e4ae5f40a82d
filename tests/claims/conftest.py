import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path / "measurements")
