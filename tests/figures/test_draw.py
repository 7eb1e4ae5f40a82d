"""Figures from tables made by hand: the numbers are the table's, holes break nothing, equal tables give equal bytes."""

import itertools
import os
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from geed.errors import GeedError
from geed.figures import draw, style, tables
from geed.files import write_json, write_table


def make(name, result, parts):
    with style.context():
        return draw.CLAIM_FIGURES[name].figure(result, tables.complete(parts))


def laid_out(name, result, parts):
    figure = make(name, result, parts)
    with style.context():
        figure.draw_without_rendering()
    return figure


def drawn(figure):
    """All numbers that stand as points of lines, whichever axis they run along."""
    found = set()
    for axes in all_axes(figure):
        for line in axes.lines:
            found |= {round(float(value), 9) for value in np.concatenate([line.get_xdata(), line.get_ydata()])}
    return found


def bars(figure):
    """All ends of interval bars."""
    collections = [entry for axes in all_axes(figure) for entry in axes.collections if isinstance(entry, LineCollection)]
    return {round(float(value), 9) for entry in collections for segment in entry.get_segments() for value in segment.ravel()}


def all_axes(figure):
    return figure.get_axes()


def texts(figure):
    return "\n".join(text.get_text() for text in figure.findobj(match=Text))


def boxes(figure):
    """Every text that shows, with its place in pixels."""
    shown = [text for text in figure.findobj(match=Text) if text.get_text().strip() and text.get_visible()]
    labels = {id(label) for axes in all_axes(figure) for label in _hidden_labels(axes)}
    return [(text, text.get_window_extent()) for text in shown if id(text) not in labels]


def _hidden_labels(axes):
    """Labels of ticks outside the axis, and those that are switched off: matplotlib keeps them but does not draw them."""
    for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        low, high = sorted(limits)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


@pytest.mark.parametrize("name", list(draw.CLAIM_FIGURES))
def test_drawn_without_a_warning_and_within_the_page(by_hand, name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = laid_out(name, *by_hand[name]())
    width, height = figure.get_size_inches()
    assert width in (style.COLUMN, style.PAGE) and height < 9
    page, found = figure.bbox, boxes(figure)
    assert len(found) > 10
    for text, box in found:
        assert box.x0 >= page.x0 - 1 and box.x1 <= page.x1 + 1, text.get_text()
        assert box.y0 >= page.y0 - 1 and box.y1 <= page.y1 + 1, text.get_text()
        assert text.get_fontsize() >= style.SMALL
    level = [
        (text, box) for text, box in found if text.get_rotation() % 90 == 0
    ]  # boxes of slanted texts are larger than they are
    for (one, a), (other, b) in itertools.combinations(level, 2):
        across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 1 or down <= 1, f"{one.get_text()} overlaps {other.get_text()}"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("layers", ["deviation", "output", "layer_share", "output_share"]),
        ("shift", ["deviation", "dispersion", "ratio"]),
        ("accuracy", ["point"]),
        ("distances", ["standardised", "deviation"]),
        ("objectives", ["deviation", "accuracy"]),
        ("perturbations", ["deviation"]),
        ("blends", ["shift", "relative_accuracy"]),
        ("published", ["level"]),
        ("layer_types", ["total"]),
        ("families", ["deviation"]),
    ],
)
def test_points_and_intervals_are_those_of_the_table(by_hand, name, parts):
    result, table = by_hand[name]()
    figure = make(name, result, table)
    points, ends = drawn(figure), bars(figure)
    rows = table[table["part"].isin(parts) & (table.get("comparison", "") != "all")]
    if name == "shift":  # single corruptions of networks that are only shown would clutter
        thin = (rows["part"] == "deviation") & ~rows["corruption"].isin(["none", "all"])
        rows = rows[~(thin & ~rows["role"].isin(["plain", "augmented"])) & ~((rows["part"] == "ratio") & rows["severity"].isna())]
    assert len(rows) > 20
    assert set(rows["estimate"].round(9)) <= points
    if name in ("layers", "distances", "objectives"):
        assert set(rows["ci_low"].round(9)) | set(rows["ci_high"].round(9)) <= ends
    changed = table.assign(estimate=table["estimate"] + 0.012345)
    assert not set(rows["estimate"].round(9)) <= drawn(make(name, result, changed))


@pytest.mark.parametrize("name", list(draw.CLAIM_FIGURES))
def test_half_of_the_rows_missing_breaks_nothing(by_hand, name):
    result, table = by_hand[name]()
    chosen = np.random.default_rng(1).random(len(table)) < 0.5
    laid_out(name, result, table[~chosen])
    holes = table.copy()
    holes.loc[chosen, [c for c in ("estimate", "ci_low", "ci_high", "p_holm", "accuracy") if c in holes]] = np.nan
    laid_out(name, result, holes)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("layers", {"names": ["rotation"]}),
        ("layers", {"names": ["rotation", "reflection", "translation", "mnist", "cifar"], "depths": (1.0,)}),
        ("layers", {"share": False}),
        ("shift", {"names": ["mnist", "fashion"], "corruptions": [f"corruption_{i}" for i in range(19)], "far": ["a", "b", "c"]}),
        ("shift", {"ratio": False, "corruptions": ["contrast"]}),
        ("accuracy", {"names": ["rotation", "reflection"], "seeds": 6}),
        ("accuracy", {"metrics": ["output_eed/kl"], "seeds": 1}),
        ("distances", {"names": ["mnist", "cifar"], "metrics": ["output_eed/kl", "latent_eed/l2"]}),
        ("objectives", {"names": ["mnist", "cifar"], "others": ["a", "b", "c", "d", "e"]}),
        ("blends", {"names": ["rotation"]}),
        ("published", {"names": ["rotation"]}),
        ("spectrum", {"names": ["rotation"]}),
        ("layer_types", {"names": ["digits"], "arms": ("cnn",)}),
        ("families", {"names": ["digits"], "transforms": ("rotation",)}),
        ("finite", {"names": ["digits"], "steps": ()}),
        ("factors", {"groups": ["dihedral:4"]}),
        ("perturbations", {"groups": [f"rotations:{n}" for n in range(2, 10)]}),
    ],
)
def test_other_studies(by_hand, name, settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        laid_out(name, *by_hand[name](**settings))


def test_titles_and_captions_state_the_tables_numbers(by_hand):
    said = texts(make("layers", *by_hand["layers"]()))
    assert "0.14 [0.11, 0.17]" in said and "s = 0.14 [0.10, 0.18]" in said and "K1: partly (demo study)" in said
    assert "3 training seeds" in said.replace("\n", " ") and "324 test images" in said.replace("\n", " ")
    assert "no share" in texts(make("layers", *by_hand["layers"](share=False)))
    assert "2 of 6 distances" in texts(make("distances", *by_hand["distances"]())).replace("\n", " ")
    said = texts(make("objectives", *by_hand["objectives"]())).replace("\n", " ")
    assert "contrastive rotation, but not contrastive plain, vicreg rotation" in said
    said = texts(make("objectives", *by_hand["objectives"](names=["mnist", "cifar"]))).replace("\n", " ")
    assert "contrastive rotation in 2 of 2, contrastive plain in 0 of 2" in said
    assert "learned ones by 7 and hard-coded ones by 7 of 7 metrics" in texts(make("accuracy", *by_hand["accuracy"]())).replace(
        "\n", " "
    )
    assert "SI 0.95 [0.86, 1.05]" in texts(make("published", *by_hand["published"]())).replace("\n", " ")
    assert "3.90 [3.51, 4.29] nats under C4" in texts(make("blends", *by_hand["blends"]()))
    assert "0.28 to 0.55 under C4" in texts(make("spectrum", *by_hand["spectrum"]()))
    assert "0.55 [0.53, 0.57]; log of the total" in texts(make("layer_types", *by_hand["layer_types"]())).replace("\n", " ")
    assert "below 0 in 0.75 [0.65, 0.85] of" in texts(make("families", *by_hand["families"]())).replace("\n", " ")
    assert "at t = 0: −0.31 [−0.41, −0.21]" in texts(make("finite", *by_hand["finite"]())).replace("\n", " ")
    assert "no ratio" in texts(make("shift", *by_hand["shift"](ratio=False)))


def test_the_papers_numbers_stand_beside_ours(by_hand):
    for name, rows in (
        ("blends", "part == 'shift'"),
        ("published", "part == 'level'"),
        ("spectrum", "metric == 'jacobian_norm'"),
    ):
        result, table = by_hand[name]()
        table = table.assign(published=table["published"] + 0.0123457)
        published = set(table.query(rows)["published"].dropna().round(9))
        assert len(published) > 1 and published <= drawn(make(name, result, table))
        without = make(name, result, table.drop(columns="published"))
        assert not published & drawn(without) and "the paper\n" not in texts(without) + "\n"
    result, table = by_hand["published"]()
    assert texts(make("published", result, table)).count("−1.2") == table["z"].notna().sum()


def test_up_is_less_invariant_in_every_panel_of_accuracy(by_hand):
    figure = make("accuracy", *by_hand["accuracy"]())
    upside_down = {axes.get_title(loc="left").split("\n")[0] for axes in all_axes(figure) if axes.yaxis_inverted()}
    assert upside_down == {"effective invariance", "consistency"}


def test_a_logarithmic_axis_does_not_reach_down_to_rounding(by_hand):
    result, table = by_hand["accuracy"](metrics=["output_eed/kl"])
    table.loc[table["role"] == "hard_coded", ["estimate", "ci_low", "ci_high"]] = 1e-40
    (axes,) = all_axes(make("accuracy", result, table))
    assert axes.get_yscale() == "log" and 1e-8 < axes.get_ylim()[0] < 1e-6


@pytest.mark.parametrize("name", list(draw.CLAIM_FIGURES))
def test_same_bytes_twice(by_hand, name, tmp_path):
    with style.context():
        for copy in ("a.pdf", "b.pdf"):
            style.save(make(name, *by_hand[name]()), tmp_path / copy, None)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_same_bytes_in_another_process(by_hand, tmp_path):
    result, table = by_hand["objectives"]()
    write_json(tmp_path / "result.json", result)
    write_table(tmp_path / "parts.csv", table)
    inputs = {"result": tmp_path / "result.json", "parts": tmp_path / "parts.csv"}
    draw.draw("objectives", inputs, tmp_path / "a.pdf", tmp_path / "a.png")
    program = f"from pathlib import Path; from geed.figures.draw import draw; p = Path({str(tmp_path)!r})\n"
    program += "draw('objectives', dict(result=p / 'result.json', parts=p / 'parts.csv'), p / 'b.pdf', p / 'b.png')"
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert not list(tmp_path.glob(".*"))  # nothing half-written is left


def test_print_quality(by_hand, tmp_path):
    from PIL import Image

    with style.context():
        style.save(make("distances", *by_hand["distances"]()), tmp_path / "a.pdf", tmp_path / "a.png")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"CreationDate" not in pdf
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] == 2100 and "Software" not in image.info


def test_matplotlib_is_left_as_it_was(by_hand):
    import matplotlib

    before = dict(matplotlib.rcParams)
    make("layers", *by_hand["layers"]())
    assert dict(matplotlib.rcParams) == before


def test_colours_and_markers_tell_roles_of_one_figure_apart():
    together = [
        ("plain", "augmented", "equivariant", "equivariant_raw", "untrained"),
        ("trained", "learned", "hard_coded", "weight_scaled", "untrained"),
        ("pretrained", "random", "equivariant", "untrained"),
        ("supervised", "contrastive", "other", "shown", "equivariant", "untrained"),
        ("augmented", "tied", "regularised", "regularised_kl", "regularised_normalized_l2", "published"),
    ]
    for roles in together:
        looks = [style.role(name) for name in roles]
        assert len({(look.marker, look.filled) for look in looks}) == len(looks)
        assert len({(look.colour, look.filled) for look in looks}) == len(looks)


@pytest.mark.parametrize(
    ("name", "spoil", "sentence"),
    [
        ("layers", lambda table: table.drop(columns="estimate"), "no column 'estimate'"),
        ("layers", lambda table: table[table["part"] != "deviation"], "rows of the part 'deviation'"),
        ("accuracy", lambda table: table.assign(estimate=np.nan), "rows of the part 'point'"),
        ("objectives", lambda table: table.assign(role="suprevised"), "did you mean 'supervised'"),
    ],
)
def test_a_wrong_table_is_refused_in_one_sentence(by_hand, name, spoil, sentence, tmp_path):
    result, table = by_hand[name]()
    write_json(tmp_path / "result.json", result)
    write_table(tmp_path / "parts.csv", spoil(table))
    inputs = {"result": tmp_path / "result.json", "parts": tmp_path / "parts.csv"}
    with pytest.raises(GeedError, match=re.escape(sentence)):
        draw.draw(name, inputs, tmp_path / "a.pdf", tmp_path / "a.png")
    assert not (tmp_path / "a.pdf").exists()


def test_a_wrong_name_or_input_is_refused(tmp_path, by_hand):
    with pytest.raises(GeedError, match="did you mean 'layers'"):
        draw.draw("layer", {}, tmp_path / "a.pdf", tmp_path / "a.png")
    with pytest.raises(GeedError, match="an input 'parts'"):
        draw.draw("layers", {"result": tmp_path / "r.json"}, tmp_path / "a.pdf", tmp_path / "a.png")
    write_json(tmp_path / "r.json", {"id": "K1"})
    write_table(tmp_path / "p.csv", by_hand["layers"]()[1])
    with pytest.raises(GeedError, match="no key 'verdict'"):
        draw.draw("layers", {"result": tmp_path / "r.json", "parts": tmp_path / "p.csv"}, tmp_path / "a.pdf", tmp_path / "a.png")
