"""K2: does learned invariance outlive a shift? Deviation by severity and by domain, with a control for insensitivity."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from geed.figures import style, tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROLES = ("untrained", "equivariant", "plain", "augmented")  # drawn in this order
_THIN = {"linewidth": 0.5, "alpha": 0.35, "zorder": 2}


def figure(result: dict[str, Any], parts: "pd.DataFrame") -> "Figure":
    """Draw K2, four panels for each comparison.

    From the left: output deviation against the severity of corruption (thick: mean over corruptions; thin: each of them); r, the
    advantage of augmentation relative to that on clean images; deviation by domain; how much outputs differ between images.

    Raises:
        GeedError: no network has a deviation.
    """
    rows = tables.needed(parts, "deviation", result["id"])
    compared = tables.comparisons(rows)
    drawing = style.new(style.PAGE, 2.0 * len(compared) + 0.25)
    grid = drawing.add_gridspec(len(compared), 4, width_ratios=[1.15, 1, 1.05, 1.05])
    for index, (comparison, group) in enumerate(compared):
        panels = [drawing.add_subplot(grid[index, column]) for column in range(4)]
        label = tables.comparison_label(comparison, group)
        r = tables.one(parts, "ratio", comparison=comparison, corruption="all", severity=None)
        heads = (
            f"Deviation by severity\n{label}",
            f"Advantage of augmentation\nr = {tables.interval(r)}",
            "Deviation by domain\n×: domain ÷ clean",
            "Dispersion by domain\n×: domain ÷ clean",
        )
        for axes, head in zip(panels, heads, strict=True):
            style.panel_label(axes, head)
        _severity(panels[0], parts, comparison)
        _ratio(panels[1], result, parts, comparison)
        _domains(panels[2], parts, comparison, "deviation")
        _domains(panels[3], parts, comparison, "dispersion")
    present = [name for name in _ROLES if name in set(rows["role"])]
    style.finish(drawing, _title(parts), _caption(result, parts, rows), style.key(sorted(present, key=list(style.ROLES).index)))
    return drawing


def _severity(axes: "Axes", parts: "pd.DataFrame", comparison: str) -> None:
    metric = ""
    for name in _ROLES:
        rows = tables.select(parts, "deviation", comparison=comparison, role=name)
        if rows.empty:
            continue
        metric, look = metric or tables.metric_id(rows.iloc[0]), style.role(name)
        clean = rows[rows["domain"] == _clean(parts, comparison)].assign(severity=0.0)
        each = rows[(rows["corruption"] != "none") & rows["severity"].notna()]
        for corruption in tables.values(each["corruption"]):
            line = each[each["corruption"] == corruption].sort_values("severity")
            at = [*clean["severity"], *line["severity"]]
            if corruption == "all":
                style.points(axes, at, [*tables.spans(clean), *tables.spans(line)], look, line=True)
            elif name in ("plain", "augmented"):
                axes.plot(at, [*clean["estimate"], *line["estimate"]], color=look.colour, **_THIN)
    style.rule(axes, tables.exact(metric), "exact")
    _ticks(axes, [0, *parts[parts["comparison"] == comparison]["severity"]])
    axes.set_xlabel("Severity (0: clean)")
    axes.set_ylabel(f"Deviation of the\n{tables.metric_label(metric)}")


def _ratio(axes: "Axes", result: dict[str, Any], parts: "pd.DataFrame", comparison: str) -> None:
    rows = tables.select(parts, "ratio", comparison=comparison)
    each = rows[rows["severity"].notna()]
    look = style.role("augmented")
    for name in ("min_ratio", "max_ratio"):
        style.rule(axes, result.get("thresholds", {}).get(name), "threshold")
    if each.empty:
        style.note(axes, "no ratio: the advantage\non clean images is small")
    for corruption in tables.values(each["corruption"]):
        line = each[each["corruption"] == corruption].sort_values("severity")
        if corruption == "all":
            style.points(axes, line["severity"], tables.spans(line), look, line=True)
        else:
            axes.plot(line["severity"], line["estimate"], color=look.colour, **_THIN)
    _ticks(axes, each["severity"])
    axes.set_xlabel("Severity")
    axes.set_ylabel("r, relative to clean images")


def _domains(axes: "Axes", parts: "pd.DataFrame", comparison: str, part: str) -> None:
    """One group of points a domain: clean, the mean over corruptions (deviation only), and each far domain."""
    rows = tables.select(parts, part, comparison=comparison)
    whole = rows[(rows["corruption"] == "none") | ((rows["corruption"] == "all") & rows["severity"].isna())]
    domains = [domain for domain in _all_domains(parts, comparison) if part == "deviation" or domain in set(whole["domain"])]
    present = [name for name in style.ROLES if name in set(whole["role"])]
    for index, name in enumerate(present):
        mine = whole[whole["role"] == name]
        place = [domains.index(domain) + (index - (len(present) - 1) / 2) * 0.17 for domain in mine["domain"]]
        style.points(axes, place, tables.spans(mine), style.role(name))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.18 * (high - low))  # room for the factors, on two lines
    style.rule(axes, 0, "exact")
    axes.set_xlim(-0.5, max(len(domains), 1) - 0.5)
    names = [tables.words(domain) for domain in domains]
    slanted = len("".join(names)) > 22
    axes.set_xticks(range(len(domains)), names, **({"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if slanted else {}))
    metric = tables.metric_label(tables.metric_id(rows.iloc[0])) if len(rows) else ""
    axes.set_ylabel(f"Deviation of the\n{metric}" if part == "deviation" else f"Between images:\n{metric}")
    for _, row in tables.select(parts, f"{part}_ratio", comparison=comparison).iterrows():
        if row["domain"] in domains:
            index = domains.index(row["domain"])
            place = (index, 0.99 - 0.08 * (index % 2))
            factor = f"×{row['estimate']:.2g}"
            axes.annotate(
                factor,
                place,
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                size=style.SMALL,
                color=style.role("augmented").colour,
            )


def _clean(parts: "pd.DataFrame", comparison: str) -> str:
    """The domain of clean in-domain images: the first that is neither corrupted nor far."""
    far = set(tables.select(parts, "deviation_ratio", comparison=comparison)["domain"])
    rows = parts[(parts["part"] == "deviation") & (parts["comparison"] == comparison) & (parts["corruption"] == "none")]
    return next((domain for domain in rows["domain"] if domain not in far), "")


def _all_domains(parts: "pd.DataFrame", comparison: str) -> list[str]:
    """Domains with a deviation: clean, corrupted, far."""
    rows = tables.select(parts, "deviation", comparison=comparison)
    clean, corrupted = _clean(parts, comparison), set(rows[rows["corruption"] != "none"]["domain"])
    return sorted(tables.values(rows["domain"]), key=lambda domain: 0 if domain == clean else 1 if domain in corrupted else 2)


def _ticks(axes: "Axes", severities: Iterable[float]) -> None:
    found = sorted({int(severity) for severity in severities if severity == severity})
    if found:
        axes.set_xticks(found)
        axes.set_xlim(found[0] - 0.4, found[-1] + 0.4)


def _title(parts: "pd.DataFrame") -> str:
    ratio, deviation, dispersion = (
        tables.one(parts, part, comparison="all") for part in ("ratio", "deviation_ratio", "dispersion_ratio")
    )
    return (
        f"On corrupted images augmentation keeps {tables.interval(ratio)} of its advantage; on far images the augmented "
        f"network's outputs deviate {tables.interval(deviation)} × and disperse {tables.interval(dispersion)} × as much as on "
        "clean ones"
    )


def _caption(result: dict[str, Any], parts: "pd.DataFrame", rows: "pd.DataFrame") -> str:
    corruptions = [name for name in tables.values(rows["corruption"]) if name not in ("none", "all")]
    which = (
        f" ({', '.join(map(tables.words, corruptions))})"
        if 0 < len(corruptions) <= 8
        else f" ({len(corruptions)} corruptions)"
        if corruptions
        else ""
    )
    return (
        f"Larger deviation = less invariant; dotted: exactly invariant. Thick lines: mean over corruptions; thin: each of "
        f"them{which}. r = (plain − augmented) on corrupted images ÷ the same on clean ones; dashed: bounds of 'mildly'. Low "
        "deviation with low dispersion is insensitivity rather than invariance; ×: augmented network, domain ÷ clean images. "
        + tables.sample(result, rows)
    )
