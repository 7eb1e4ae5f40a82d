"""The picture of the rules."""

import re
from xml.etree import ElementTree

from geed.report import graph

NEEDS = {
    "measure": ["train", "prepare"],
    "train": ["prepare", "train"],
    "claim": ["measure"],
    "prepare": [],
    "sheet": ["prepare"],
}


def boxes(svg):
    tree = ElementTree.fromstring(svg)
    name = "{http://www.w3.org/2000/svg}"
    rules = [text.text for text in tree.iter(f"{name}text") if text.get("class") == "rule"]
    places = [tuple(float(rect.get(key)) for key in ("x", "y", "width", "height")) for rect in tree.iter(f"{name}rect")]
    return dict(zip(rules, places, strict=True)), tree


def test_every_rule_stands_below_those_that_it_needs_and_none_overlaps():
    found, tree = boxes(graph.svg(NEEDS, {"train": "2 jobs"}))
    assert set(found) == set(NEEDS)
    for rule, needs in NEEDS.items():
        for source in set(needs) - {rule}:
            assert found[source][1] + found[source][3] < found[rule][1]
    rects = list(found.values())
    for i, (x, y, width, height) in enumerate(rects):
        assert x >= 0 and x + width <= float(tree.get("width")) and y + height <= float(tree.get("height"))
        assert all(x + width <= a or a + w <= x or y + height <= b or b + h <= y for a, b, w, h in rects[:i])


def test_one_path_an_edge():
    svg = graph.svg(NEEDS, {})
    assert len(re.findall("<path", svg)) == sum(map(len, NEEDS.values()))


def test_a_circle_of_rules_is_drawn_all_the_same():
    found, _ = boxes(graph.svg({"train": ["search"], "search": ["train"]}, {}))
    assert set(found) == {"train", "search"}


def test_rules_come_in_the_order_of_their_needs():
    order = graph.order(NEEDS)
    assert order.index("prepare") < order.index("train") < order.index("measure") < order.index("claim")


def test_the_graph_is_that_of_the_records(world, study):
    found = graph.rules(study.jobs())
    assert found == {
        "claim": {"measure"},
        "claims_table": {"claim"},
        "figure": {"claim", "prepare"},
        "measure": {"prepare", "train"},
        "prepare": set(),
        "search": {"prepare"},
        "train": {"prepare"},
    }
