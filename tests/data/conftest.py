import os

import pytest


@pytest.fixture
def mirror():
    """The real mirror, where there is one."""
    place = os.environ.get("GEED_DATA_MIRROR")
    if not place:
        pytest.skip("GEED_DATA_MIRROR is not set")
    return place


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No mirror, an empty cache."""
    monkeypatch.delenv("GEED_DATA_MIRROR", raising=False)
    monkeypatch.setenv("GEED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
