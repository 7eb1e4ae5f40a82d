import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from geed.errors import GeedError
from geed.figures.profile import layer_profile


def table(metrics=(("channel_eed", "cosine"),), layers=("a", "b", "c", "d"), value=-0.5):
    rows = [
        {"metric": metric, "distance": distance, "layer": layer, "value": value + 0.1 * index, "se": 0.01, "n_images": 20}
        for metric, distance in metrics
        for index, layer in enumerate(layers)
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def plotted(monkeypatch):
    """Every line that is drawn, as (x, y)."""
    lines, plot = [], Axes.plot

    def spy(self, x, y, *args, **options):
        lines.append((list(x), list(y)))
        return plot(self, x, y, *args, **options)

    monkeypatch.setattr(Axes, "plot", spy)
    return lines


def test_layers_stand_at_their_relative_depth_and_those_without_a_value_are_left_out(tmp_path, plotted):
    frame = table()
    frame.loc[1, "value"] = np.nan
    whole = table(layers=[""])
    layer_profile(pd.concat([frame, whole], ignore_index=True), tmp_path / "f.png", "a title")
    assert len(plotted) == 1
    assert plotted[0] == (pytest.approx([1 / 3, 2 / 3, 1]), pytest.approx([-0.5, -0.3, -0.2]))


def test_a_line_for_every_metric_distance_and_reference(tmp_path, plotted):
    metrics = [("channel_eed", "cosine"), ("latent_eed", "l2"), ("latent_eed", "cosine"), ("feature_correlation", "")]
    layer_profile(table(metrics), tmp_path / "f.pdf", references={"floor": table(metrics, layers=["x", "y"], value=-1.0)})
    assert len(plotted) == 8
    assert ([0.5, 1.0], pytest.approx([-1.0, -0.9])) in plotted  # a reference has its own layers


@pytest.mark.parametrize("name", ["f.png", "f.pdf"])
def test_equal_tables_give_equal_bytes(tmp_path, name):
    contents = []
    for _ in range(2):
        layer_profile(table(), tmp_path / name, "a title")
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1] and len(contents[0]) > 5000


def test_nothing_to_draw_and_another_suffix_are_sentences(tmp_path):
    with pytest.raises(GeedError, match="no layer of the table has a value"):
        layer_profile(table(layers=[""]), tmp_path / "f.png")
    with pytest.raises(GeedError, match=r"f\.gif: expected a figure that ends in \.png or \.pdf"):
        layer_profile(table(), tmp_path / "f.gif")
