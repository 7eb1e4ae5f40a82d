"""The graph of a study's rules as SVG, drawn from records: which rule read what another one made.

Layers from top to bottom by the longest way from a source; edges over several layers are led through free places; the order
within layers by barycentres (Sugiyama, Tagawa and Toda 1981, "Methods for visual understanding of hierarchical system
structures").
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup, escape

from geed.provenance.records import Study

_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 148, 46, 26, 44, 12
_SWEEPS = 8

Edges = Mapping[str, Iterable[str]]


class _Place(NamedTuple):
    """A node, or where an edge (`source`, `target`) passes a layer."""

    node: str
    edge: tuple[str, str] | None = None
    layer: int = 0


def rules(jobs: Study) -> dict[str, set[str]]:
    """Rule -> the rules whose outputs its jobs read; a rule that reads its own has itself among them."""
    found: dict[str, set[str]] = {}
    for record in jobs.records:
        needs = {jobs.producer[path].rule for path in record.inputs if path in jobs.producer}
        found.setdefault(record.rule, set()).update(needs)
    return {rule: found[rule] for rule in sorted(found)}


def order(needs: Edges) -> list[str]:
    """The rules from the sources on, each after those that it needs; a circle is opened somewhere."""
    return [place.node for layer in _layers(_without_circles(needs)) for place in layer if place.node]


def svg(needs: Edges, notes: Mapping[str, str]) -> Markup:
    """The picture.

    Args:
        needs: rule -> the rules that it needs.
        notes: rule -> a line below its name.
    """
    forward = _without_circles(needs)
    layers = _ordered(_layers(forward), forward)
    places = _positions(layers)
    width = max(x for x, _ in places.values()) + _WIDTH / 2 + _MARGIN
    height = max(y for _, y in places.values()) + _HEIGHT / 2 + _MARGIN
    told = "; ".join(f"{rule} needs {', '.join(sorted(needs[rule]))}" for rule in needs if needs[rule])
    lines = [
        f'<svg class="graph" role="img" aria-label="Rules of the study: {escape(told)}." viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" xmlns="http://www.w3.org/2000/svg">'
    ]
    lines += [f'<path class="edge" d="{_edge(places, layers, source, rule)}"/>' for rule in forward for source in forward[rule]]
    lines += [_again(*places[_Place(rule)]) for rule in needs if rule in needs[rule]]
    lines += [_box(rule, notes.get(rule, ""), *places[_Place(rule)]) for rule in forward]
    return Markup("\n".join([*lines, "</svg>"]))


def _without_circles(needs: Edges) -> dict[str, list[str]]:
    """The edges that close no circle (jobs never do, but the rules of a chain of jobs may); sorted."""
    kept: dict[str, list[str]] = {}
    for rule in sorted({*needs, *(source for sources in needs.values() for source in sources)}):
        kept[rule] = []
    for rule in kept:
        for source in sorted(needs.get(rule, ())):
            if not _reaches(kept, source, rule):
                kept[rule].append(source)
    return kept


def _reaches(needs: Mapping[str, list[str]], rule: str, wanted: str) -> bool:
    return rule == wanted or any(_reaches(needs, source, wanted) for source in needs[rule])


def _layers(needs: Mapping[str, list[str]]) -> list[list[_Place]]:
    depth: dict[str, int] = {}

    def measure(rule: str) -> int:
        if rule not in depth:
            depth[rule] = 1 + max((measure(source) for source in needs[rule]), default=-1)
        return depth[rule]

    layers: list[list[_Place]] = [[] for _ in range(1 + max(map(measure, needs), default=0))]
    for rule in needs:
        layers[depth[rule]].append(_Place(rule))
        for source in needs[rule]:
            for between in range(depth[source] + 1, depth[rule]):
                layers[between].append(_Place("", (source, rule), between))
    return layers


def _links(needs: Mapping[str, list[str]], layers: list[list[_Place]]) -> list[tuple[_Place, _Place]]:
    """Neighbours in adjoining layers, upper one first."""
    return [link for rule in needs for source in needs[rule] for link in pairwise(_way(layers, source, rule))]


def _way(layers: list[list[_Place]], source: str, rule: str) -> list[_Place]:
    passed = [place for layer in layers for place in layer if place.edge == (source, rule)]
    return [_Place(source), *passed, _Place(rule)]


def _ordered(layers: list[list[_Place]], needs: Mapping[str, list[str]]) -> list[list[_Place]]:
    links = _links(needs, layers)
    above = {place: [a for a, b in links if b == place] for layer in layers for place in layer}
    below = {place: [b for a, b in links if a == place] for layer in layers for place in layer}
    best, fewest = layers, _crossings(layers, links)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        for layer, fixed in pairwise(range(len(layers)) if down else range(len(layers) - 1, -1, -1)):
            at = {place: index / len(layers[layer]) for index, place in enumerate(layers[layer])}
            near = above if down else below
            index = {place: i / len(layers[fixed]) for i, place in enumerate(layers[fixed])}
            layers[fixed].sort(key=lambda p, at=at, near=near, index=index: _mean([at[n] for n in near[p]], index[p]))
        if (crossings := _crossings(layers, links)) < fewest:
            best, fewest = layers, crossings
    return best


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(layers: list[list[_Place]], links: list[tuple[_Place, _Place]]) -> int:
    at = {place: (row, index) for row, layer in enumerate(layers) for index, place in enumerate(layer)}
    rows: dict[int, list[tuple[int, int]]] = {}
    for a, b in links:
        rows.setdefault(at[a][0], []).append((at[a][1], at[b][1]))
    return sum((a - c) * (b - d) < 0 for row in rows.values() for i, (a, b) in enumerate(row) for c, d in row[:i])


def _positions(layers: list[list[_Place]]) -> dict[_Place, tuple[float, float]]:
    """Centre of every place; each layer is set in the middle."""
    sizes = [[_WIDTH if place.node else _ACROSS for place in layer] for layer in layers]
    totals = [sum(row) + _ACROSS * (len(row) - 1) for row in sizes]
    places = {}
    for row, (layer, widths) in enumerate(zip(layers, sizes, strict=True)):
        left = _MARGIN + (max(totals) - totals[row]) / 2
        for place, size in zip(layer, widths, strict=True):
            places[place] = (left + size / 2, _MARGIN + _HEIGHT / 2 + row * (_HEIGHT + _DOWN))
            left += size + _ACROSS
    return places


def _edge(places: Mapping[_Place, tuple[float, float]], layers: list[list[_Place]], source: str, rule: str) -> str:
    points = []
    for place in _way(layers, source, rule):
        x, y = places[place]
        points += [(x, y - _HEIGHT / 2), (x, y + _HEIGHT / 2)]
    points = points[1:-1]
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x, y), (to_x, to_y) in pairwise(points):
        middle = (y + to_y) / 2
        path += f"L{to_x:g} {to_y:g}" if x == to_x else f"C{x:g} {middle:g} {to_x:g} {middle:g} {to_x:g} {to_y:g}"
    return path


def _again(x: float, y: float) -> str:
    """A loop at the right of a box: a rule that reads what it made."""
    right = x + _WIDTH / 2
    return f'<path class="edge" d="M{right:g} {y + 10:g}c22 4 22 -24 0 -20"/>'


def _box(rule: str, note: str, x: float, y: float) -> str:
    return (
        f'<rect x="{x - _WIDTH / 2:g}" y="{y - _HEIGHT / 2:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/>'
        f'<text class="rule" x="{x:g}" y="{y - 3:g}">{escape(rule)}</text>'
        f'<text class="note" x="{x:g}" y="{y + 14:g}">{escape(note)}</text>'
    )
