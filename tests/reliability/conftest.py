import copy
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from checkouts import Checkout, small


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Checkout:
    """A small study, built by a run that nobody touched; tests only read it."""
    checkout = small(tmp_path_factory.mktemp("whole") / "geed")
    code, words = checkout.run()
    assert code == 0, words
    return checkout


@pytest.fixture
def built(whole, tmp_path) -> Checkout:
    """A copy of it, times of files included, that a test may spoil."""
    shutil.copytree(whole.folder, tmp_path / "built", symlinks=True)
    checkout = copy.copy(whole)
    checkout.folder = tmp_path / "built"
    return checkout
