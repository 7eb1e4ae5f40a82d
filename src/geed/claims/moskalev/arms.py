"""What M1 to M3 share: the five networks of a comparison, and numbers beside the paper's."""

from collections.abc import Mapping, Sequence
from typing import Any

from geed import printed
from geed.claims.moskalev.published import CELLS, FIGURE_4, FIGURE_5_ACCURACY
from geed.claims.statements import Found
from geed.claims.trial import Trial, View, mean
from geed.errors import GeedError
from geed.stats.bootstrap import Array

ACCURACY, LI, DI, SI = "accuracy", "logit_invariance", "predictive_invariance", "saliency_similarity"
NORM = "jacobian_norm"  # the largest singular value of the Jacobian of the logits by the image
METRICS = (ACCURACY, LI, DI, SI, NORM)

REGULARISED = ("regularised", "regularised_kl", "regularised_normalized_l2")
ROLES = ("augmented", "tied", *REGULARISED)


class Networks:
    """The networks of a claim's comparisons, staged under (comparison, role, metric, evaluation, share of the other domain)."""

    def __init__(self, trial: Trial) -> None:
        self.trial, self.comparisons = trial, trial.settings["comparisons"]
        self.stds: dict[tuple, float | None] = {}
        for entry in self.comparisons.values():
            for role in ROLES:
                trial.note_accuracy(entry[role], group=entry["group"], evaluation=entry["evaluation"])

    def stage(self, metric: str, evaluation: str, roles: Sequence[str] = ROLES) -> None:
        """Stage a metric of some networks; `evaluation` is a key of the comparisons."""
        for name, entry in self.comparisons.items():
            for role in roles:
                where = {"group": entry["group"], "evaluation": entry[evaluation]}
                for corruption, severity in self.trial.evidence.conditions(entry[role], entry[evaluation]):
                    key = (name, role, metric, evaluation, severity)
                    values = self.trial.arm(key, entry[role], metric, **where, corruption=corruption, severity=severity)
                    seeds = values.mean(axis=1)
                    self.stds[key] = float(seeds.std(ddof=1)) if len(seeds) > 1 else None

    def shares(self, name: str) -> list[int]:
        """The shares of the other domain that a comparison was measured at, in thousandths, ascending.

        Raises:
            GeedError: its evaluation is not one on blends, or there is one share only.
        """
        entry = self.comparisons[name]
        self.trial.evidence.images(entry["augmented"], entry["shift"])  # says which evaluation is missing
        found = self.trial.evidence.conditions(entry["augmented"], entry["shift"])
        if {corruption for corruption, _ in found} != {"blend"} or len(found) < 2:
            raise GeedError(
                f"claims.{self.trial.claim}.comparisons.{name}.shift: expected an evaluation on blends, at two shares at least, "
                f"found {entry['shift']} on {', '.join(f'{corruption} {severity}' for corruption, severity in found)}"
            )
        return sorted(severity for _, severity in found)

    def cells(self, name: str, role: str = "") -> dict[str, Any]:
        """Cells of a row of the parts: the comparison with its group, and a network."""
        entry = self.comparisons.get(name, {})
        return {"comparison": name, "group": entry.get("group", ""), "role": role, "arm": entry.get(role, "")}

    def row(self, part: str, view: View, key: tuple) -> None:
        """Add a row for a staged network: its mean, interval and standard deviation over seeds, and the paper's if wanted."""
        name, role, metric, evaluation, severity = key
        entry = self.comparisons[name]
        beside = self.trial.settings["published"]
        found, own = view.interval(view.means[key]), self.stds[key]
        cells = {**self.cells(name, role), "metric": metric, "domain": entry[evaluation], "n_images": self.trial.size(key)}
        cells |= {"std": own}
        if evaluation == "shift":
            cells |= {"corruption": "blend", "severity": severity}
            if beside and metric == DI and severity == 500 and role in FIGURE_4.get(entry["group"], {}):
                cells |= {"published": printed.parse(FIGURE_4[entry["group"]][role]).mean}
        elif beside and (text := published(entry["group"], role, metric)) is not None:
            paper = printed.parse(text)
            if metric == ACCURACY:
                paper = printed.Printed(*(value / 100 for value in paper))  # the paper prints percent
            cells |= {"published": paper.mean, "published_std": paper.std or None}
            cells |= {"z": printed.z(found.estimate, own, paper) if own is not None else None}
        self.trial.row(part, found, **cells)

    def statistic_rows(self, view: View, found: Found, metrics: Mapping[str, str]) -> None:
        """Add the rows of statistics, one a comparison and one for their mean; `metrics`: what each statistic is of."""
        for name, statistics in found.items():
            for part, draws in statistics.items():
                if draws is not None:
                    self.trial.row(part, view.interval(draws), **self.cells(name), metric=metrics[part])


def published(group: str, role: str, metric: str) -> str | None:
    """What the paper prints for a network, or None."""
    if (text := CELLS.get(group, {}).get(role, {}).get(metric)) is not None:
        return text
    return FIGURE_5_ACCURACY.get(group, {}).get(role) if metric == ACCURACY else None


def levels(view: View, role: str, metrics: Mapping[str, str]) -> dict[str, float]:
    """Metric -> mean of a role over comparisons; `metrics`: the evaluation in which each is measured."""

    def average(metric: str) -> Array | None:
        return mean(draws for key, draws in view.means.items() if key[1:4] == (role, metric, metrics[metric]))

    found = {metric: average(metric) for metric in metrics}
    return {metric: float(draws[0]) for metric, draws in found.items() if draws is not None}
