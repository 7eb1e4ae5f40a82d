"""One look for all figures: sizes in print, colours and markers by role, saving with the same bytes for the same numbers.

Colours are those of Okabe and Ito (2008), "Color universal design", which stay apart for people with any form of colour
blindness; every role has a marker of its own too, so that nothing is told by colour alone. No pyplot: no global state, and half
a second less.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geed.errors import GeedError, nearest
from geed.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Widths in inches of a column and of a page's text in most journals. Figures are drawn at the size in which they are printed.
COLUMN, PAGE = 3.5, 7.0
SMALL, MEDIUM, LARGE = 6.0, 7.0, 8.0  # points

BLACK, GREY, PALE = "#000000", "#7F7F7F", "#D9D9D9"
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

_RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    "font.size": MEDIUM,
    "axes.titlesize": MEDIUM,
    "axes.labelsize": MEDIUM,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": MEDIUM,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelpad": 2.5,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "lines.linewidth": 1.1,
    "lines.markersize": 4,
    "lines.markeredgewidth": 0.8,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "legend.columnspacing": 1.4,
    "legend.handletextpad": 0.5,
    "legend.borderaxespad": 0,
    "legend.borderpad": 0,
    "figure.dpi": 300,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType, as publishers ask
    "axes.unicode_minus": True,
}


_MANY = 100  # times the lowest: from here on a logarithmic axis labels decades only


@dataclass(frozen=True)
class Role:
    """How a role is drawn wherever it appears, and what the legend calls it."""

    label: str
    colour: str
    marker: str
    line: str = "-"
    filled: bool = True


ROLES = {
    "plain": Role("plain", BLUE, "o"),
    "augmented": Role("augmented", VERMILLION, "s"),
    "equivariant": Role("equivariant by construction", GREEN, "^"),
    "equivariant_raw": Role("the same, raw channels (Eq. 5)", GREEN, "^", ":", filled=False),
    "untrained": Role("untrained", GREY, "X", "--"),
    "weight_scaled": Role("untrained, scaled weights", BLACK, "P", "--"),
    "trained": Role("trained", BLUE, "o"),
    "learned": Role("learned invariance", VERMILLION, "s"),
    "hard_coded": Role("hard-coded invariance", GREEN, "^"),
    "pretrained": Role("pretrained", SKY, ">"),
    "random": Role("random initialisation", BLACK, "<"),
    "supervised": Role("supervised", BLUE, "o"),
    "contrastive": Role("contrastive, augmented from the group", ORANGE, "D"),
    "other": Role("other self-supervised", PURPLE, "v"),
    "shown": Role("supervised, augmented from the group", VERMILLION, "s"),
    "tied": Role("weight-tied", GREEN, "^"),
    "regularised": Role("regularised, LI", BLUE, "o"),
    "regularised_kl": Role("regularised, KL", SKY, "D"),
    "regularised_normalized_l2": Role("regularised, normalised L2", PURPLE, "v"),
    "published": Role("the paper", BLACK, "x"),
    "published_open": Role("the paper", BLACK, "o", filled=False),
    "cancelling": Role("f invariant, f₁ not", PURPLE, "v"),
    "invariant_features": Role("f₁ invariant", GREEN, "^"),
}


def role(name: str) -> Role:
    """The look of a role.

    Raises:
        GeedError: there is no such role.
    """
    if name not in ROLES:
        raise GeedError(f"expected the role of a network, found '{name}'{nearest(name, ROLES)}")
    return ROLES[name]


@contextlib.contextmanager
def context() -> Iterator[None]:
    """Matplotlib's settings while a figure is made and saved; those of the caller come back afterwards."""
    import matplotlib

    with matplotlib.rc_context(_RC):
        yield


def new(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, laid out so that nothing overlaps; `finish` adds room for title, legend and caption."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    figure.words = {}
    return figure


def save(figure: "Figure", pdf: str | Path | None, png: str | Path | None) -> dict[str, str]:
    """Write a figure as PDF and as PNG (300 dots an inch), whole or not at all; no dates, so equal figures have equal bytes.

    Returns:
        The `title` and `caption` that `finish` gave it: what a page says in place of the picture, and below it.

    Raises:
        GeedError: a file cannot be written.
    """
    if pdf is not None:
        with atomic(pdf) as temporary:
            figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})
    if png is not None:
        with atomic(png) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})
    return figure.words


def key(looks: Iterable[Role | str], *, lines: bool = True) -> list[Any]:
    """Legend handles of roles, in the order given; `lines` where they are joined by lines."""
    from matplotlib.lines import Line2D

    looks = [role(look) if isinstance(look, str) else look for look in looks]
    return [Line2D([], [], linestyle=look.line if lines else "none", label=look.label, **marks(look)) for look in looks]


def marks(look: Role, *, filled: bool | None = None) -> dict[str, Any]:
    """Marker settings of a role for `Axes.plot`; unfilled markers keep their outline."""
    face = look.colour if (look.filled if filled is None else filled) else "white"
    edge = "white" if face == look.colour and look.marker in "osD^v<>" else look.colour
    return {
        "color": look.colour,
        "marker": look.marker,
        "markerfacecolor": face,
        "markeredgecolor": edge,
        "markeredgewidth": 0.4 if edge == "white" else 0.9,
    }


def points(
    axes: "Axes",
    at: Any,
    values: Any,
    look: Role,
    *,
    line: bool = False,
    horizontal: bool = False,
    filled: bool | None = None,
    **settings: Any,
) -> None:
    """Draw estimates with their intervals; an interval that is not known (NaN) is left out.

    Args:
        axes: the panel.
        at: (n,) places on the other axis.
        values: (n, 3) estimate, lower and upper end.
        look: how.
        line: join the estimates.
        horizontal: values run along the x axis.
        filled: filled or open markers; None as the role has it.
        settings: of the markers, as for `Axes.plot`.
    """
    estimate, low, high = zip(*values, strict=True) if len(values) else ((), (), ())
    (axes.hlines if horizontal else axes.vlines)(at, low, high, color=look.colour, linewidth=0.9, zorder=2.5)
    places = (estimate, at) if horizontal else (at, estimate)
    axes.plot(*places, linestyle=look.line if line else "none", zorder=3, **marks(look, filled=filled) | settings)


def rule(axes: "Axes", value: float | None, kind: str, *, vertical: bool = False) -> None:
    """A thin line across a panel: "exact" (dotted) where exactly invariant networks are, "threshold" (dashed) of a verdict."""
    if value is not None:
        dashes = {"exact": (0, (1, 1)), "threshold": (0, (4, 2))}[kind]
        (axes.axvline if vertical else axes.axhline)(value, color=BLACK, linewidth=0.7, linestyle=dashes, zorder=1)


def note(axes: "Axes", text: str) -> None:
    """A remark in the middle of a panel that has nothing else to show."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", size=SMALL, linespacing=1.25)


def strip(axes: "Axes", pictures: Any, below: Sequence[str], colours: str) -> None:
    """Pictures (n, h, w[, 3]) side by side on one colour scale, a word or number below each."""
    low, high, gap = float(pictures.min()), float(pictures.max()), 0.12
    for index, (picture, words) in enumerate(zip(pictures, below, strict=True)):
        start = index * (1 + gap)
        axes.imshow(picture, cmap=colours, vmin=low, vmax=high, extent=(start, start + 1, 0, 1), interpolation="nearest")
        axes.text(start + 0.5, -0.06, words, ha="center", va="top", size=SMALL)
    axes.set_xlim(0, len(pictures) * (1 + gap) - gap)
    axes.set_ylim(-0.3, 1)
    axes.set_aspect("equal")
    axes.axis("off")


def strip_label(axes: "Axes", text: str, colour: str = BLACK) -> None:
    """Words at the left of a strip, in the panel beside it."""
    axes.text(1, 0.5 + 0.15 / 1.3, text, ha="right", va="center", size=MEDIUM, color=colour, transform=axes.transAxes)
    axes.axis("off")


def depth_axis(axes: "Axes", label: str = "") -> None:
    """The x axis of panels by relative depth in (0, 1]."""
    axes.set_xlim(0, 1.06)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_xlabel(label)


def log_axis(axes: "Axes", which: str) -> None:
    """A logarithmic axis, "x" or "y", with labelled ticks over less than a decade too; call it when all is drawn."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < _MANY * low else (1,), numticks=8))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def panel_label(axes: "Axes", text: str) -> None:
    """A title at the panel's left, which may have a second line."""
    axes.set_title(text, loc="left", linespacing=1.25)


def finish(figure: "Figure", title: str, caption: str, handles: Sequence[Any] = ()) -> None:
    """Put a title and a legend above what is drawn and a caption below it; the figure grows by what they need.

    Args:
        figure: a figure of `new`, its panels drawn.
        title: what is found, in a sentence; wrapped to the width.
        caption: what is plotted, over what the intervals are, how many seeds and images; wrapped to the width.
        handles: legend entries, set in as many rows as they need.
    """
    figure.words = {"title": title, "caption": caption}
    width, height = figure.get_size_inches()
    inset = 0.06
    gap = 0.07
    title = wrapped(figure, title, width - 2 * inset, size=LARGE, weight="bold")
    caption = wrapped(figure, caption, width - 2 * inset, size=SMALL)
    top = _lines_height(title, LARGE) + gap
    legend, legend_height = None, 0.0
    if handles:
        legend, legend_height = _legend(figure, handles, width - 2 * inset)
        legend_height += gap
    bottom = _lines_height(caption, SMALL) + gap
    total = height + top + legend_height + bottom + inset
    figure.set_size_inches(width, total)
    figure.text(inset / width, 1 - inset / total, title, size=LARGE, weight="bold", va="top", ha="left", linespacing=1.2)
    figure.text(inset / width, inset / 2 / total, caption, size=SMALL, color="#404040", va="bottom", ha="left", linespacing=1.25)
    if legend is not None:
        legend.set_loc("upper left")
        legend.set_bbox_to_anchor((inset / width, 1 - (inset + top) / total), figure.transFigure)
    figure.get_layout_engine().set(rect=(0, bottom / total, 1, height / total))


def wrapped(figure: "Figure", text: str, width: float, *, size: float, weight: str = "normal") -> str:
    """`text` broken into lines that are at most `width` inches long in print."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}".strip()
            if line and text_width(figure, longer, size=size, weight=weight) > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return "\n".join(lines)


def text_width(figure: "Figure", text: str, *, size: float, weight: str = "normal") -> float:
    """Width of a line of text in inches."""
    from matplotlib.font_manager import FontProperties

    renderer = figure.canvas.get_renderer()
    font = FontProperties(family=_RC["font.family"], size=size, weight=weight)
    return renderer.get_text_width_height_descent(text, font, ismath=False)[0] / renderer.dpi


def _lines_height(text: str, size: float) -> float:
    return (text.count("\n") + 1) * size * 1.27 / 72


def _legend(figure: "Figure", handles: Sequence[Any], width: float) -> tuple[Any, float]:
    """A legend in the fewest rows that fit the width, and its height in inches."""
    dpi = figure.dpi
    for columns in range(len(handles), 0, -1):
        lengths = {"handlelength": 2.0 if any(handle.get_linestyle() != "None" for handle in handles) else 0.8}
        legend = figure.legend(handles=_by_row(handles, columns), loc="upper left", ncols=columns, **lengths)
        legend.set_in_layout(False)
        box = legend.get_window_extent(figure.canvas.get_renderer())
        if box.width / dpi <= width or columns == 1:
            return legend, box.height / dpi
        legend.remove()
    raise AssertionError("a legend has at least one column")


def _by_row(handles: Sequence[Any], columns: int) -> list[Any]:
    """Matplotlib fills a legend column by column; this order makes it read row by row."""
    from matplotlib.lines import Line2D

    rows = -(-len(handles) // columns)
    padded = [*handles, *(Line2D([], [], linestyle="none", label=" ") for _ in range(rows * columns - len(handles)))]
    return [padded[row * columns + column] for column in range(columns) for row in range(rows)]
