"""The plan of a study: which runs are trained, what each is measured on, which claims are decided. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geed.errors import GeedError, nearest


@dataclass(frozen=True)
class Plan:
    """A validated study. All settings are plain data, ready to be a rule's `params`.

    Attributes:
        study: name of the study.
        seeds: training seeds; every run has one model per seed.
        device: "auto", "cpu" or "cuda".
        mirror: folder or URL of the data mirror, or None.
        sets: data sets by name.
        corruptions: `names` and `severities`.
        runs: runs by name, each whole: architecture and training settings are written out.
        evaluations: evaluations by name.
        claims: settings of each claim, by ID.
        overview: settings of the overview figure, or None.
    """

    study: str
    seeds: tuple[int, ...]
    device: str
    mirror: str | None
    sets: dict[str, dict[str, Any]]
    corruptions: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    evaluations: dict[str, dict[str, Any]]
    claims: dict[str, dict[str, Any]]
    overview: dict[str, Any] | None

    def evaluations_of(self, run: str) -> dict[str, dict[str, Any]]:
        """The evaluations that a run takes part in, with `data` filled in."""
        return {
            name: evaluation | {"data": evaluation["data"] or self.runs[run]["data"]}
            for name, evaluation in self.evaluations.items()
            if evaluation["runs"] is None or run in evaluation["runs"]
        }

    def corrupted_sets(self) -> list[str]:
        """The data sets that some evaluation corrupts."""
        return sorted({e["data"] for run in self.runs for e in self.evaluations_of(run).values() if e["corrupted"]})

    def runs_of_claim(self, claim: str) -> list[str]:
        """The runs that a claim's settings name; every measured run where they name none but ask for "all"."""
        named = set(_strings(self.claims[claim]))
        if "all" in named:
            return list(self.runs)
        return [run for run in self.runs if run in named]


def make(config: Mapping[str, Any], origin: Mapping[str, str] | None = None) -> Plan:
    """Turn a validated, filled config into a plan, checking what a schema cannot: names that refer to each other.

    Raises:
        GeedError: the first name that leads nowhere, or settings that exclude each other, in one sentence.
    """
    check = _Checker(config, origin or {})
    check.all()
    runs = {
        name: {
            "name": name,
            **run,
            "architecture": dict(config["architectures"][run["architecture"]]),
            "training": config["training"] | run["training"],
        }
        for name, run in config["runs"].items()
    }
    return Plan(
        study=config["study"],
        seeds=tuple(config["seeds"]),
        device=config["device"],
        mirror=config["data"]["mirror"],
        sets=config["data"]["sets"],
        corruptions=config["corruptions"],
        runs=runs,
        evaluations=config["evaluations"],
        claims=config["claims"],
        overview=config.get("overview"),
    )


class _Checker:
    """The checks that need more than one key at a time."""

    def __init__(self, config: Mapping[str, Any], origin: Mapping[str, str]) -> None:
        self.config, self.origin = config, origin

    def all(self) -> None:
        self._sets()
        self._corruptions()
        for name, run in self.config["runs"].items():
            self._run(name, run)
        for name, evaluation in self.config["evaluations"].items():
            self._evaluation(name, evaluation)
        self._overview()
        for claim, settings in self.config["claims"].items():
            self._claim(claim, settings)

    def fail(self, path: str, problem: str) -> None:
        source = self.origin.get(path.split(".")[0])
        raise GeedError(f"{source}: {path}: {problem}" if source else f"{path}: {problem}")

    def known(self, path: str, name: object, choices: Sequence[str] | Mapping[str, Any], what: str) -> None:
        if name not in choices:
            self.fail(path, f"expected the name of {what}, found {name!r}{nearest(name, choices)}")

    def group(self, path: str, spec: str, size: int | None = None) -> None:
        from geed.groups.spec import check_spec

        try:
            check_spec(spec, size=size)
        except GeedError as error:
            self.fail(path, str(error))

    def _size(self, data: str) -> int | None:
        from geed.data.registry import DATASETS

        entry = self.config["data"]["sets"][data]
        return entry["size"] or DATASETS[entry["source"]].shape[-1]

    def _classes(self, data: str) -> int:
        from geed.data.registry import DATASETS

        entry = self.config["data"]["sets"][data]
        return len(entry["classes"] or DATASETS[entry["source"]].classes)

    def _sets(self) -> None:
        from geed.data.registry import DATASETS

        for name, entry in self.config["data"]["sets"].items():
            path = f"data.sets.{name}"
            self.known(f"{path}.source", entry["source"], DATASETS, "a data set in the registry")
            found = len(DATASETS[entry["source"]].classes)
            for label in entry["classes"] or []:
                if label >= found:
                    self.fail(f"{path}.classes", f"expected class indices below {found}, the classes of {entry['source']}, found {label}")

    def _corruptions(self) -> None:
        from geed.data.corruptions import NAMES

        for name in self.config["corruptions"]["names"]:
            self.known("corruptions.names", name, NAMES, "a corruption")

    def _run(self, name: str, run: Mapping[str, Any]) -> None:
        from geed.training.names import AUGMENTATIONS

        path = f"runs.{name}"
        self.known(f"{path}.data", run["data"], self.config["data"]["sets"], "a data set of data.sets")
        self.known(f"{path}.architecture", run["architecture"], self.config["architectures"], "an architecture of architectures")
        for augmentation in run["augmentation"]:
            if augmentation not in AUGMENTATIONS:
                try:
                    self.group(f"{path}.augmentation", augmentation, self._size(run["data"]))
                except GeedError as error:
                    raise GeedError(f"{error}; or an augmentation: {', '.join(AUGMENTATIONS)}") from None
        if run["objective"] in ("contrastive", "vicreg") and not run["augmentation"]:
            self.fail(f"{path}.augmentation", f"expected at least one augmentation, because the {run['objective']} objective compares two views, found none")
        architecture = self.config["architectures"][run["architecture"]]
        if "symmetry" in architecture:
            self.group(f"architectures.{run['architecture']}.symmetry", architecture["symmetry"])
        elif architecture["kind"] == "steerable_cnn":
            self.fail(f"architectures.{run['architecture']}.symmetry", "expected the group of this steerable network, found none")
        needs = {"perceptron": "hidden"}.get(architecture["kind"], "widths")
        if needs not in architecture:
            self.fail(f"architectures.{run['architecture']}.{needs}", f"expected this key for a {architecture['kind']}, found none")
        epochs = (self.config["training"] | run["training"])["epochs"]
        for epoch in (self.config["training"] | run["training"])["snapshots"]:
            if epoch > epochs:
                self.fail(f"{path}.training.snapshots", f"expected epochs up to {epochs}, the end of training, found {epoch}")
        self._initialisation(name, run)

    def _initialisation(self, name: str, run: Mapping[str, Any]) -> None:
        path, source, seen = f"runs.{name}.initialisation.from", run["initialisation"]["from"], [name]
        while source is not None:
            self.known(path, source, self.config["runs"], "a run of runs")
            if source in seen:
                self.fail(path, f"expected a run that does not start from this one, found the circle {' -> '.join([*seen, source])}")
            if self.config["runs"][source]["architecture"] != run["architecture"]:
                self.fail(
                    path, f"expected a run of the same architecture, {run['architecture']}, found {source} of {self.config['runs'][source]['architecture']}"
                )
            seen.append(source)
            source = self.config["runs"][source]["initialisation"]["from"]

    def _evaluation(self, name: str, evaluation: Mapping[str, Any]) -> None:
        from geed.metrics.names import check_metric

        path, sets = f"evaluations.{name}", self.config["data"]["sets"]
        for run in evaluation["runs"] or []:
            self.known(f"{path}.runs", run, self.config["runs"], "a run of runs")
        if evaluation["data"] is not None:
            self.known(f"{path}.data", evaluation["data"], sets, "a data set of data.sets")
        for metric in evaluation["metrics"]:
            try:
                check_metric(metric)
            except GeedError as error:
                self.fail(f"{path}.metrics", str(error))
        for run in evaluation["runs"] or self.config["runs"]:
            for group in evaluation["groups"]:
                self.group(f"{path}.groups", group, self._size(evaluation["data"] or self.config["runs"][run]["data"]))
        if evaluation["corrupted"] and not self.config["corruptions"]["names"]:
            self.fail(f"{path}.corrupted", "expected corruptions.names to list corruptions, found none")

    def _overview(self) -> None:
        if overview := self.config.get("overview"):
            self.group("overview.group", overview["group"])
            for run in overview["runs"]:
                self.known("overview.runs", run, self.config["runs"], "a run of runs")

    def _claim(self, claim: str, settings: Mapping[str, Any]) -> None:
        from geed.claims.settings import references

        for kind, path, name in references(claim, settings):
            if kind == "group":
                self.group(f"claims.{claim}.{path}", name)
            else:
                section = {"run": "runs", "evaluation": "evaluations"}[kind]
                self.known(f"claims.{claim}.{path}", name, self.config[section], f"a {kind} of {section}")


def _strings(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for entry in value.values() for text in _strings(entry)]
    if isinstance(value, (list, tuple)):
        return [text for entry in value for text in _strings(entry)]
    return [value] if isinstance(value, str) else []
