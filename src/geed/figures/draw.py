"""Draw a figure by name."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from geed.errors import GeedError, nearest
from geed.figures import (
    accuracy,
    blends,
    distances,
    explained,
    factors,
    families,
    finite,
    layer_types,
    layers,
    objectives,
    overview,
    perturbations,
    published,
    search,
    shift,
    spectrum,
    style,
    tables,
)

# Figures drawn from a claim's result and parts.
CLAIM_FIGURES = {
    "layers": layers,
    "shift": shift,
    "accuracy": accuracy,
    "distances": distances,
    "objectives": objectives,
    "blends": blends,
    "published": published,
    "spectrum": spectrum,
    "layer_types": layer_types,
    "families": families,
    "finite": finite,
    "factors": factors,
    "perturbations": perturbations,
}

# Figures drawn from what other steps wrote: the inputs, what reads them, and what draws what was read.
OTHER_FIGURES: dict[str, tuple[tuple[str, ...], Callable[..., Any], Callable[[Any], Any]]] = {
    "overview": (("activations",), overview.read, lambda found: overview.figure(*found)),
    "saliency": (("recorded",), explained.read, lambda found: explained.saliency(*found)),
    "embedding": (("recorded",), explained.read, lambda found: explained.embedding(*found)),
    "search": (("results", "tried"), search.read, search.figure),
}


def draw(name: str, inputs: Mapping[str, Path | Sequence[Path]], pdf: Path, png: Path) -> dict[str, str]:
    """Draw one figure and write it as PDF and PNG; equal inputs give equal bytes.

    Args:
        name: a key of `CLAIM_FIGURES` or of `OTHER_FIGURES`.
        inputs: `result` and `parts` of the claim, or what `OTHER_FIGURES` names.
        pdf: output, with embedded TrueType fonts.
        png: output, 300 dots an inch.

    Returns:
        Its `title` and `caption`.

    Raises:
        GeedError: no such figure, an input is absent, damaged or has nothing to draw, or an output cannot be written.
    """
    names = [*CLAIM_FIGURES, *OTHER_FIGURES]
    if name not in names:
        raise GeedError(f"expected the name of a figure, found '{name}'{nearest(name, names)}")
    if name in OTHER_FIGURES:
        wanted, read, figure = OTHER_FIGURES[name]
    else:
        wanted, read, figure = ("result", "parts"), tables.read, lambda found: CLAIM_FIGURES[name].figure(*found)
    for key in wanted:
        if key not in inputs:
            raise GeedError(f"figure {name}: expected an input '{key}', found {', '.join(inputs) or 'none'}")
    with style.context():
        return style.save(figure(read(*(inputs[key] for key in wanted))), pdf, png)
