"""Draw a figure by name."""

from collections.abc import Mapping
from pathlib import Path

from geed.errors import GeedError, nearest
from geed.figures import (
    accuracy,
    blends,
    distances,
    factors,
    layers,
    objectives,
    overview,
    perturbations,
    published,
    shift,
    spectrum,
    style,
    tables,
)

# Figures drawn from a claim's result and parts; `overview` is drawn from recorded activations.
CLAIM_FIGURES = {
    "layers": layers,
    "shift": shift,
    "accuracy": accuracy,
    "distances": distances,
    "objectives": objectives,
    "blends": blends,
    "published": published,
    "spectrum": spectrum,
    "factors": factors,
    "perturbations": perturbations,
}


def draw(name: str, inputs: Mapping[str, Path], pdf: Path, png: Path) -> dict[str, str]:
    """Draw one figure and write it as PDF and PNG; equal inputs give equal bytes.

    Args:
        name: a key of `CLAIM_FIGURES`, or "overview".
        inputs: `result` and `parts` of the claim, or `activations` for the overview.
        pdf: output, with embedded TrueType fonts.
        png: output, 300 dots an inch.

    Returns:
        Its `title` and `caption`.

    Raises:
        GeedError: no such figure, an input is absent, damaged or has nothing to draw, or an output cannot be written.
    """
    wanted = ("activations",) if name == "overview" else ("result", "parts")
    if name != "overview" and name not in CLAIM_FIGURES:
        raise GeedError(f"expected the name of a figure, found '{name}'{nearest(name, [*CLAIM_FIGURES, 'overview'])}")
    for key in wanted:
        if key not in inputs:
            raise GeedError(f"figure {name}: expected an input '{key}', found {', '.join(inputs) or 'none'}")
    with style.context():
        if name == "overview":
            drawing = overview.figure(*overview.read(inputs["activations"]))
        else:
            drawing = CLAIM_FIGURES[name].figure(*tables.read(inputs["result"], inputs["parts"]))
        return style.save(drawing, pdf, png)
