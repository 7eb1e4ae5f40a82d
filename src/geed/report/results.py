"""The pages of docs/results: one a claim, from the blessed references. Every number on them is read from there.

Words that no result has (question, design, threats to validity) come from docs/results.yaml, and the networks from the studies'
configs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from geed.claims import parts as claim_parts
from geed.claims import table as claim_table
from geed.claims.names import FIGURES
from geed.figures.tables import transform_label
from geed.files import read_json, read_table
from geed.report.content import sensitivity
from geed.report.words import NOTHING, duration, estimate, number
from geed.study.plan import Plan

# The parts that a claim's rule looks at; all others are in its table.
_HEADLINES = {
    "K1": ("share", "output_share"),
    "K2": ("ratio", "trend", "deviation_ratio", "dispersion_ratio"),
    "K3": ("difference", "spearman"),
    "K4": ("standardised", "disagreement"),
    "K5": ("difference",),
    "L1": ("share", "change"),
    "L2": ("slope", "families"),
    "L3": ("difference",),
    "M1": ("accuracy_gap", "similarity", "logit_ratio", "shift_rise"),
    "M2": ("similarity", "logit_ratio", "shift_ratio"),
    "M3": ("norm_ratio",),
}
_Z = "Mean ± standard deviation over seeds; z: the difference in units of the combined standard deviation, rounding included."
_WHERE = ("comparison", "role", "arm", "domain")


@dataclass(frozen=True)
class Reference:
    """A blessed study.

    Attributes:
        folder: docs/reference/<study>.
        plan: the study's plan.
    """

    folder: Path
    plan: Plan

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Claim -> its result."""
        return {result["id"]: result for result in claim_table.read(self.folder / "claims.json")}


def index(references: Sequence[Reference], claims: Iterable[str]) -> str:
    """The page of all claims: a verdict for every study that decides it."""
    names = [reference.folder.name for reference in references]
    lines = [
        "# Results",
        "",
        "Made by `make docs` from the blessed references in `docs/reference/`. A verdict is about the networks and data of its",
        "study.",
        "",
        *_table(["claim", *names], (_index_row(claim, references) for claim in claims)),
    ]
    return "\n".join(lines) + "\n"


def _index_row(claim: str, references: Sequence[Reference]) -> list[str]:
    found = [reference.results.get(claim) for reference in references]
    statement = next(result["statement"] for result in found if result)
    shown = [f"{result['verdict']}, {estimate(result)}" if result else NOTHING for result in found]
    return [f"[{claim}](results/{claim}.md): {statement}", *shown]


def networks(study: str, rows: pandas.DataFrame) -> str:
    """Every trained network of a study under every group, whether a claim names it or not, on the images of its own data set.

    Args:
        study: its name.
        rows: of measurement tables, of whole networks on clean images; `own` says on whose data.
    """
    rows = rows[rows["own"] & ~rows["group"].str.startswith("lie:")]
    rows = rows.assign(name=rows["metric"] + rows["distance"].map(lambda distance: f"/{distance}" if distance else ""))
    rows = rows[rows["n_images"] == rows.groupby(["run", "name"])["n_images"].transform("max")]
    rows = rows.drop_duplicates(["run", "seed", "group", "name"])
    lines = [
        f"# Networks of the study {study}",
        "",
        f"Made by `make bless STUDY={study}` from its measurements, on clean test images.",
    ]
    lines += ["Mean ± standard deviation over seeds; what each metric is: [metrics.md](../../metrics.md)."]
    for group, found in rows.groupby("group", sort=False):
        names = list(dict.fromkeys(found["name"]))
        cells = found.groupby(["run", "name"])["value"].agg(["mean", "std"])
        shown = [
            [run, *(_plus_minus(*cells.loc[(run, name)]) if (run, name) in cells.index else NOTHING for name in names)]
            for run in dict.fromkeys(found["run"])
        ]
        lines += ["", f"## {group or 'no group'}", "", *_table(["run", *names], shown)]
    return "\n".join(lines) + "\n"


def page(claim: str, references: Sequence[Reference], words: Mapping[str, Any]) -> str:
    """The page of one claim.

    Args:
        claim: its ID.
        references: the blessed studies that decide it.
        words: `question`, `design`, `threats` and, by study, further `threats_of`.
    """
    first = references[0].results[claim]
    lines = [
        f"# {claim}",
        "",
        f"> {first['statement']}",
        "",
        f"{first['paper']}; {first['reported']['where']}. Made by `make docs` from `docs/reference/`; the rule in words: "
        "[claims.md](../claims.md).",
        "",
        f"**Question.** {words['question']}",
        "",
        f"**Design.** {words['design']}",
    ]
    for reference in references:
        lines += ["", *_study(claim, reference)]
    lines += ["", "## Threats to validity", "", *(f"* {threat}" for threat in words["threats"])]
    for reference in references:
        study = reference.folder.name
        lines += [f"* *{study}*: {threat}" for threat in words.get("threats_of", {}).get(study, ())]
    return "\n".join(lines) + "\n"


def _study(claim: str, reference: Reference) -> list[str]:
    """What one study found."""
    study, result = reference.folder.name, reference.results[claim]
    kinds = f"{number(100 * result['confidence'])} %, {result['intervals']}" if result.get("intervals") else ""
    rests = [f"{result['n_seeds']} seeds" if result.get("n_seeds") else "", f"{number(result['n_images'])} images", kinds]
    lines = [
        f"## Study {study}: {result['verdict']}",
        "",
        f"**{estimate(result)}**, {result['estimate_name']} ({'; '.join(filter(None, rests))}).",
        "",
        f"Rule: {result['test']}",
        "",
        f"    {claim_table.command(claim, study)}",
        "",
    ]
    if claim in FIGURES and (reference.folder / f"figures/{FIGURES[claim]}.png").exists():
        lines += [f"![{result['statement']}](../reference/{study}/figures/{FIGURES[claim]}.png)", ""]
    if result["part_verdicts"]:
        lines += [*_table(["part", "verdict"], result["part_verdicts"].items()), ""]
    lines += [*_numbers(claim, reference), *_published(claim, reference), *_networks(claim, reference, result)]
    floor, null = result["floor"], result["null"]
    shown = [[name, number(floor.get(name)), number(null.get(name))] for name in floor | null]
    if shown:
        lines += [*_table(["metric", "floor (equivariant by construction)", "null (untrained)"], shown), ""]
    lines += _sensitivity(result)
    lines += [f"* {note}" for note in result["notes"]] + [""] * bool(result["notes"])
    record = read_json(reference.folder / "record.json")
    dirty = ", with uncommitted changes" if record["dirty"] else ""
    links = [f"[{claim}.{suffix}](../reference/{study}/claims/{claim}.{suffix})" for suffix in ("json", "csv")]
    if (reference.folder / "networks.md").exists():
        links.append(f"[all networks](../reference/{study}/networks.md)")
    return [
        *lines,
        f"All numbers: {', '.join(links)}. Run of commit {str(record['commit'])[:7]}{dirty}; the whole study took "
        f"{duration(record['compute_seconds'])} of one core ({record['machine']['device']}).",
    ]


def _numbers(claim: str, reference: Reference) -> list[str]:
    """The statistics that the rule looks at: averages over corruptions, severities and layers."""
    parts = claim_parts.read(reference.folder / f"claims/{claim}.csv")
    rows = parts[parts["part"].isin(_HEADLINES.get(claim, ()))]
    rows = rows[rows["corruption"].isin(("", "none", "all"))] if "corruption" in rows else rows
    rows = rows[rows["severity"].isna()] if "severity" in rows else rows
    if rows.empty:
        return []
    cells = [column for column in _WHERE if column in rows and (rows[column] != "").any()]
    tested = "p_holm" in rows and rows["p_holm"].notna().any()
    shown = [
        [
            row["part"].replace("_", " "),
            *(row[column].replace("_", " ") if column == "role" else row[column] for column in cells),
            transform_label(row["group"])
            if row.get("group", "").startswith("lie:")
            else "/".join(filter(None, (row.get("metric", ""), row.get("distance", "")))),
            estimate(row),
            *([number(row["p_holm"])] if tested else []),
            number(row["n_seeds"]),
        ]
        for row in rows.to_dict("records")
    ]
    return [
        *_table(["statistic", *cells, "metric", "estimate [interval]", *(["p (Holm)"] if tested else []), "seeds"], shown),
        "",
    ]


def _published(claim: str, reference: Reference) -> list[str]:
    """What was measured beside what the paper prints or plots, mean ± standard deviation over seeds."""
    parts = claim_parts.read(reference.folder / f"claims/{claim}.csv")
    if "published" not in parts or parts["published"].isna().all():
        return []
    rows = parts[parts["published"].notna()]
    shift = rows["severity"] > 0 if "severity" in rows else rows["published"].isna()
    shown = [
        [
            row["comparison"],
            row["role"].replace("_", " "),
            row["metric"] + (f" at β = {row['severity'] / 1000:g}" if moved else ""),
            _plus_minus(row["estimate"], row["std"]),
            _plus_minus(row["published"], row["published_std"]),
            NOTHING if pandas.isna(row["z"]) else f"{row['z']:+.1f}",
        ]
        for row, moved in zip(rows.to_dict("records"), shift, strict=True)
    ]
    return [*_table(["comparison", "arm", "metric", "here", "the paper", "z"], shown), "", _Z, ""]


def _plus_minus(mean: float, std: float) -> str:
    return number(mean) if pandas.isna(std) else f"{number(mean)} ± {number(std)}"


def _networks(claim: str, reference: Reference, result: Mapping[str, Any]) -> list[str]:
    """The runs that the claim names, with their accuracy."""
    plan, whole = reference.plan, {}
    if (path := reference.folder / "accuracies.csv").exists():
        for row in read_table(path).to_dict("records"):
            if row["n_images"] >= whole.get(row["run"], {"n_images": 0})["n_images"] and row["own"]:
                whole[row["run"]] = row
    shown = []
    for name in plan.claim_runs.get(claim, ()):
        run = plan.runs[name]
        objective = run["objective"] if isinstance(run["objective"], str) else run["objective"]["kind"]
        row = whole.get(name)
        accuracy = f"{number(row['mean'])} on {number(int(row['n_images']))}" if row else number(result["accuracies"].get(name))
        start = ", ".join(f"{key}: {value}" for key, value in run["initialisation"].items() if value not in (None, 1, 1.0))
        epochs = NOTHING if objective == "none" else number(run["training"]["epochs"])
        trained = [objective, ", ".join(run["augmentation"]) or NOTHING, start or NOTHING, epochs]
        shown.append(
            [name, run["data"], _architecture(run["architecture"]), *trained, number(len(plan.run_seeds[name])), accuracy]
        )
    head = ["run", "data", "network", "objective", "augmentation", "start", "epochs", "seeds", "accuracy"]
    return [*_table(head, shown), ""] if shown else []


def _architecture(settings: Mapping[str, Any]) -> str:
    rest = ", ".join(str(value) for key, value in settings.items() if key != "kind")
    return f"{settings['kind']} ({rest})" if rest else settings["kind"]


def _sensitivity(result: Mapping[str, Any]) -> list[str]:
    found = sensitivity(result)
    if not found["rows"]:
        return []
    differs = [f"{kind} {choice}: {verdict}" for kind, choice, verdict in found["rows"] if verdict != result["verdict"]]
    kept = f"The verdict is the same under {found['kept']} of {len(found['rows'])} other choices"
    return [f"**Sensitivity.** {kept}{'; it differs at ' + '; '.join(differs) if differs else ''}.", ""]


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A Markdown table."""
    lines = [[str(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    shown = [f"| {' | '.join(line)} |" for line in lines]
    return [shown[0], "|---" * len(head) + "|", *shown[1:]]
