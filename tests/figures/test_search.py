"""The figure of the searches shows every weight that was tried, and the one that was taken."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from geed.errors import GeedError
from geed.figures import search, style
from geed.figures.draw import draw
from geed.files import write_json, write_table

WEIGHTS = [1.0, 3.0, 10.0, 30.0]


@pytest.fixture
def inputs(tmp_path):
    for index, run in enumerate(("ir_li", "ir_kl", "ir_nl2", "ir_t3")):
        reached = run != "ir_nl2"
        asked = {"grid": WEIGHTS, "metric": "saliency_similarity", "at_least": 0.95, "images": 500}
        write_json(tmp_path / f"{run}.json", {"weight": 10.0, "reached": reached, "seed": 0, "asked": asked})
        values = np.array([0.3, 0.7, 0.96, 0.97]) - 0.05 * index
        rows = {"weight": WEIGHTS, "value": values, "se": 0.01, "accuracy": 0.93 - values / 10, "n_images": 500}
        write_table(tmp_path / f"{run}.csv", pd.DataFrame(rows).assign(taken=[False, False, True, False]))
    runs = ("ir_li", "ir_kl", "ir_nl2", "ir_t3")
    return {"results": [tmp_path / f"{run}.json" for run in runs], "tried": [tmp_path / f"{run}.csv" for run in runs]}


def test_every_weight_tried_is_drawn(inputs):
    with style.context():
        figure = search.figure(search.read(inputs["results"], inputs["tried"]))
        figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_xscale() == "log"]
    assert len(panels) == 4
    for index, axes in enumerate(panels):
        points = {round(float(y), 9) for line in axes.lines for y in np.atleast_1d(line.get_ydata())}
        values = np.array([0.3, 0.7, 0.96, 0.97]) - 0.05 * index
        assert set(values.round(9)) | set((0.93 - values / 10).round(9)) | {0.95} <= points
    said = "\n".join(text.get_text() for text in figure.findobj(match=Text)).replace("\n", " ")
    assert "3 of 4 regularisers" in said and "taken: ν = 10 (none reaches)" in said
    assert "over 500 validation images" in said and "training seed 0" in said


def test_drawn_by_name_and_refused_where_it_is_something_else(inputs, tmp_path):
    said = draw("search", inputs, tmp_path / "a.pdf", tmp_path / "a.png")
    assert said["title"].startswith("3 of 4 regularisers") and "bisection" in said["caption"]
    assert (tmp_path / "a.png").stat().st_size > 10_000
    write_json(inputs["results"][0], {"weight": 1})
    with pytest.raises(GeedError, match="expected the result of a search"):
        draw("search", inputs, tmp_path / "b.pdf", tmp_path / "b.png")
