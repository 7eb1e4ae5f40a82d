import sys
from pathlib import Path

import pytest

from geed.report.content import Study

sys.path.insert(0, str(Path(__file__).parent))

from pretended import HOSTILE, World


@pytest.fixture
def study():
    """What the page of the small study is told."""
    return Study(
        name="small",
        plan={
            "study": "small",
            "seeds": [0, 1],
            "run_seeds": {"plain": [0, 1]},
            "sets": {"digits": {"source": "digits"}},
            "runs": {
                "plain": {"data": "digits", "architecture": {"kind": "plain_cnn"}, "objective": HOSTILE, "augmentation": []}
            },
        },
        claims={"K1": ["figures/small/layers.png"], "K2": []},
        pictures=["figures/small/overview.png"],
        tables=["results/small/search/plain.csv", "results/small/measurements/plain/seed-1/table.parquet"],
        results="results/small",
        logs=["logs/small"],
    )


@pytest.fixture
def world(tmp_path, monkeypatch):
    """The small study, built; the working folder is its project's."""
    monkeypatch.chdir(tmp_path)
    world = World()
    world.build()
    return world
