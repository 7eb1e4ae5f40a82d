"""The plan of a study: which runs are trained, what each is measured on, which claims are decided. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geed import groups
from geed.data import registry
from geed.errors import GeedError, nearest
from geed.lie import transforms
from geed.metrics.registry import check as check_metric
from geed.metrics.registry import parse as parse_metric
from geed.models import published
from geed.study import config as study_config
from geed.study import zoo as study_zoo
from geed.training.names import AUGMENTATIONS, OBJECTIVES, OPTIONS, SELF_SUPERVISED, TWO_VIEWS


@dataclass(frozen=True)
class Plan:
    """A validated study. All settings are plain data, ready to be a rule's `params`.

    Attributes:
        study: name of the study.
        seeds: training seeds of the runs that have none of their own.
        device: "auto", "cpu" or "cuda".
        mirror: folder or URL of the data mirror, or None.
        sets: data sets by name.
        corruptions: `names` and `severities`.
        runs: runs by name, each whole: architecture and training settings are written out.
        run_seeds: training seeds of each run; it has one model per seed.
        evaluations: evaluations by name.
        claims: settings of each claim, by ID.
        overview: settings of the overview figure, or None.
        explained: settings of the figures that explain networks, or None.
        readings: settings of the search over a published table's readings, or None.
        claim_runs: the runs that each claim's settings name, by claim.
    """

    study: str
    seeds: tuple[int, ...]
    device: str
    mirror: str | None
    sets: dict[str, dict[str, Any]]
    corruptions: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    run_seeds: dict[str, list[int]]
    evaluations: dict[str, dict[str, Any]]
    claims: dict[str, dict[str, Any]]
    overview: dict[str, Any] | None
    explained: dict[str, Any] | None
    readings: dict[str, Any] | None
    claim_runs: dict[str, list[str]] = field(default_factory=dict)

    def evaluations_of(self, run: str) -> dict[str, dict[str, Any]]:
        """The evaluations that a run takes part in, with `data` filled in."""
        return {
            name: evaluation | {"data": evaluation["data"] or self.runs[run]["data"]}
            for name, evaluation in self.evaluations.items()
            if evaluation["runs"] is None or run in evaluation["runs"]
        }

    @property
    def measured(self) -> list[str]:
        """The runs that are measured whether a claim names them or not: all but those that are there for others to start from."""
        sources = {run["initialisation"]["from"] for run in self.runs.values()}
        return [name for name in self.runs if name not in sources and self.evaluations_of(name)]

    @property
    def searched(self) -> list[str]:
        """The runs whose objective's weight is searched."""
        return [name for name, run in self.runs.items() if _is_searched(run["objective"])]

    @property
    def explained_runs(self) -> list[str]:
        """The runs that are explained."""
        halves = self.explained["comparisons"].values() if self.explained else ()
        return list(dict.fromkeys(run for half in halves for role, run in half.items() if role != "group"))

    @property
    def readings_runs(self) -> list[str]:
        """The runs that the search over readings looks at."""
        halves = self.readings["comparisons"].values() if self.readings else ()
        return list(dict.fromkeys(run for half in halves for runs in half["arms"].values() for run in runs))

    @property
    def corrupted_sets(self) -> list[str]:
        """The data sets that evaluations corrupt."""
        found = [e["data"] for run in self.runs for e in self.evaluations_of(run).values() if e["corrupted"]]
        return list(dict.fromkeys(found))


def _is_searched(objective: Any) -> bool:
    return isinstance(objective, dict) and isinstance(objective.get("weight"), dict)


def load(files: Sequence[str | Path], schemas: str | Path, overrides: Mapping[str, Any] | None = None) -> Plan:
    """Read a study from its config files, check it whole, and plan it.

    Args:
        files: config.yaml and the studies laid over it, in order.
        schemas: folder of the schemas.
        overrides: single top-level keys from the command line.

    Raises:
        GeedError: the first mistake, in one sentence: file, key path, what was expected, what was found, the nearest valid name.
    """
    schema = study_config.load_schema(schemas)
    config, origin = study_config.overlay(files, overrides)
    config = study_config.validate(study_zoo.expanded(config), schema, origin)

    def fail(path: str, problem: str) -> None:
        raise GeedError(f"{study_config.place(path.split('.'), origin)}: {problem}")

    references = list(study_config.references(config, schema))
    known = _known(config)
    for path, kind, name in references:
        try:
            known[kind](name)
        except GeedError as error:
            fail(path, str(error))
    _check_sets(config, fail)
    _check_architectures(config, fail)
    _check_runs(config, fail)
    _check_evaluations(config, fail)
    _check_claims(config, references, fail)
    _check_explained(config, fail)
    _check_readings(config, fail)

    runs = {
        name: {
            "name": name,
            **{key: value for key, value in run.items() if key != "seeds"},  # a network does not depend on what others there are
            "architecture": _architecture(config, run["architecture"]),
            "initialisation": _initialisation(config, run),
            "training": config["training"] | run["training"],
        }
        for name, run in config["runs"].items()
    }
    named = {
        claim: {name for path, kind, name in references if kind == "runs" and path.startswith(f"claims.{claim}.")}
        for claim in config["claims"]
    }
    return Plan(
        study=config["study"],
        seeds=tuple(config["seeds"]),
        device=config["device"],
        mirror=config["data"]["mirror"],
        sets=config["data"]["sets"],
        corruptions=config["corruptions"],
        runs=runs,
        run_seeds={name: list(run["seeds"] or config["seeds"]) for name, run in config["runs"].items()},
        evaluations=config["evaluations"],
        claims=config["claims"],
        overview=config.get("overview"),
        explained=config["explained"],
        readings=config["readings"],
        claim_runs={claim: [run for run in runs if run in names] for claim, names in named.items()},
    )


def _known(config: Mapping[str, Any]) -> dict[str, Callable[[str], Any]]:
    """For every kind of name that a config holds, a check that raises GeedError where the name leads nowhere."""
    from geed.data.corruptions import NAMES

    def among(what: str, choices: Any) -> Callable[[str], None]:
        def check(name: str) -> None:
            if name not in choices:
                raise GeedError(f"expected the name of {what}, found '{name}'{nearest(name, choices)}")

        return check

    def augmentation(name: str) -> None:
        if name not in AUGMENTATIONS:
            try:
                groups.parse(name)
            except GeedError as error:
                raise GeedError(
                    f"expected one of {', '.join(AUGMENTATIONS)} or a group{nearest(name, AUGMENTATIONS).split(' (')[0]}; {error}"
                ) from error

    def objective(name: str) -> None:
        if name in OPTIONS:
            raise GeedError(f"expected a mapping for {name}: {{kind: {name}, {', '.join(OPTIONS[name])}}}, found only its name")
        among("an objective", OBJECTIVES)(name)

    return {
        "runs": among("a run of runs", config["runs"]),
        "sets": among("a data set of data.sets", config["data"]["sets"]),
        "architectures": among("an architecture of architectures", config["architectures"]),
        "evaluations": among("an evaluation of evaluations", config["evaluations"]),
        "sources": registry.info,
        "weights": published.check,
        "corruptions": among("a corruption", NAMES),
        "groups": groups.parse,
        "metrics": check_metric,
        "transforms": transforms.parse_all,
        "augmentations": augmentation,
        "objectives": objective,
    }


def _size(config: Mapping[str, Any], data: str) -> int | None:
    """Side of a set's images in pixels, or None where only the files on disk know."""
    entry = config["data"]["sets"][data]
    shape = registry.info(entry["source"]).shape
    return entry["pad"] or entry["size"] or (shape[-1] if shape else None)


def _shape(config: Mapping[str, Any], data: str) -> str | None:
    """Shape (C, H, W) of a set's images in words, or None where only the files on disk know."""
    entry = config["data"]["sets"][data]
    shape = registry.info(entry["source"]).shape
    channels, size = entry["channels"] or (shape[0] if shape else None), _size(config, data)
    return f"{channels} x {size} x {size}" if size and channels else None


def _check_fit(config: Mapping[str, Any], data: str, spec: str, path: str, fail: Callable[[str, str], None]) -> None:
    size = _size(config, data)
    if size and groups.parse(spec).exact and not groups.parse(spec).exact_on(size, size):
        fail(
            path,
            f"group '{spec}' moves the {size}-pixel images of {data} by a fraction of a pixel; expected a divisor of {size}",
        )


def _check_sets(config: Mapping[str, Any], fail: Callable[[str, str], None]) -> None:
    for name, entry in config["data"]["sets"].items():
        found = len(registry.info(entry["source"]).classes)
        for label in entry["classes"] or []:
            if found and label >= found:
                fail(
                    f"data.sets.{name}.classes",
                    f"expected class indices below {found}, the classes of {entry['source']}, found {label}",
                )
        shape = registry.info(entry["source"]).shape
        side = entry["size"] or (max(shape[-2:]) if shape else 0)
        if entry["pad"] and entry["pad"] < side:
            fail(f"data.sets.{name}.pad", f"expected at least {side}, the side of the images in pixels, found {entry['pad']}")


def _check_architectures(config: Mapping[str, Any], fail: Callable[[str, str], None]) -> None:
    needs = {"plain_cnn": ["widths"], "steerable_cnn": ["widths", "symmetry"], "perceptron": ["hidden", "layers"]}
    needs |= {"pretrained": ["name"], "tied_perceptron": ["hidden", "layers", "symmetry", "pooling"], "augerino": ["network"]}
    needs |= {"vit": ["patch", "width", "depth", "heads"], "mixer": ["patch", "width", "depth"]}
    takes = {"plain_cnn": ["padding", "stride", "downsampling"], "steerable_cnn": ["stride"]}
    for name, architecture in config["architectures"].items():
        kind = architecture["kind"]
        for key in needs[kind]:
            if key not in architecture:
                fail(f"architectures.{name}.{key}", f"expected this key for a {kind}, found none")
        for key in architecture.keys() - {"kind"} - set(needs[kind]) - set(takes.get(kind, [])):
            fail(f"architectures.{name}.{key}", f"expected no such key for a {kind}, found {architecture[key]}")
        if isinstance(architecture.get("stride"), list) and len(architecture["stride"]) != len(architecture["widths"]):
            strides = architecture["stride"]
            fail(
                f"architectures.{name}.stride",
                f"expected one for each of the {len(architecture['widths'])} blocks, found {strides}",
            )
        if kind == "vit" and architecture["width"] % architecture["heads"]:
            found = architecture["heads"]
            fail(f"architectures.{name}.heads", f"expected a divisor of the width {architecture['width']}, found {found}")
        if kind == "augerino" and config["architectures"][architecture["network"]]["kind"] in ("augerino", "pretrained"):
            fail(f"architectures.{name}.network", f"expected a network of another kind, found {architecture['network']}")


def _check_runs(config: Mapping[str, Any], fail: Callable[[str, str], None]) -> None:
    for name, run in config["runs"].items():
        path = f"runs.{name}"
        training = config["training"] | run["training"]
        for augmentation in run["augmentation"]:
            if augmentation not in AUGMENTATIONS:
                _check_fit(config, run["data"], augmentation, f"{path}.augmentation", fail)
        if run["objective"] in TWO_VIEWS and not run["augmentation"]:
            fail(
                f"{path}.augmentation",
                f"expected an augmentation, because the {run['objective']} objective compares two views, found none",
            )
        if late := [epoch for epoch in training["snapshots"] if epoch > training["epochs"]]:
            fail(
                f"{path}.training.snapshots", f"expected epochs up to {training['epochs']}, the end of training, found {late[0]}"
            )
        entry = config["data"]["sets"][run["data"]]
        if not _as_published(config, run) and "train" not in (entry["split"] or registry.info(entry["source"]).splits):
            fail(f"{path}.data", f"expected a data set with a training split, found {run['data']}, which has none")
        _check_objective(config, name, fail)
        _check_initialisation(config, name, fail)
        _check_pretrained(config, name, fail)
        architecture = config["architectures"][run["architecture"]]
        if architecture["kind"] == "tied_perceptron":
            _check_fit(config, run["data"], architecture["symmetry"], f"architectures.{run['architecture']}.symmetry", fail)
        patch, size = architecture.get("patch"), _size(config, run["data"])
        if patch and size and size % patch:
            fail(
                f"architectures.{run['architecture']}.patch",
                f"expected a divisor of {size}, the side of the images of {run['data']} in pixels, found {patch}",
            )


def _check_objective(config: Mapping[str, Any], name: str, fail: Callable[[str, str], None]) -> None:
    run, path = config["runs"][name], f"runs.{name}"
    objective, training = run["objective"], config["training"] | run["training"]
    if training["keep"] == "best_validation" and objective in (*SELF_SUPERVISED, "none"):
        fail(f"{path}.training.keep", f"expected last, because the objective {objective} has no accuracy along training")
    kind = objective if isinstance(objective, str) else objective["kind"]
    if (config["architectures"][run["architecture"]]["kind"] == "augerino") != (kind == "augerino"):
        found = f"{run['architecture']} and {kind}"
        fail(f"{path}.objective", f"expected an architecture and an objective of kind augerino together, found {found}")
    if isinstance(objective, str):
        return
    for option in OPTIONS[kind]:
        if option not in objective:
            fail(f"{path}.objective.{option}", f"expected this key for {kind}, found none")
    for option in objective.keys() - {"kind", *OPTIONS[kind]}:
        fail(f"{path}.objective.{option}", f"expected no such key for {kind}, found {objective[option]}")
    if "group" in objective:
        _check_fit(config, run["data"], objective["group"], f"{path}.objective.group", fail)
    if _is_searched(objective):
        if kind != "invariance":
            fail(f"{path}.objective.weight", f"expected a number for {kind}, found a search")
        grid, metric = objective["weight"]["grid"], objective["weight"]["metric"]
        if grid != sorted(grid):
            fail(f"{path}.objective.weight.grid", f"expected ascending weights, found {grid}")
        if parse_metric(metric).of_layers:
            fail(f"{path}.objective.weight.metric", f"expected a metric of the outputs, found {metric}, which is one of layers")


def _check_initialisation(config: Mapping[str, Any], name: str, fail: Callable[[str, str], None]) -> None:
    runs, path, seen = config["runs"], f"runs.{name}.initialisation.from", [name]
    while source := runs[seen[-1]]["initialisation"]["from"]:
        if source in seen:
            fail(path, f"expected a run that does not start from this one, found the circle {' -> '.join([*seen, source])}")
        if runs[source]["architecture"] != runs[name]["architecture"]:
            fail(
                path,
                f"expected a run of the architecture {runs[name]['architecture']}, "
                f"found {source} of {runs[source]['architecture']}",
            )
        seeds, known = (runs[run]["seeds"] or config["seeds"] for run in (seen[-1], source))
        if lacking := [seed for seed in seeds if seed not in known]:
            fail(path, f"expected a run that is trained with seed {lacking[0]} too, found {source} with {known}")
        seen.append(source)


def _architecture(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An architecture's settings, with the network that it names written out."""
    architecture = dict(config["architectures"][name])
    if "network" in architecture:
        architecture["network"] = _architecture(config, architecture["network"])
    return architecture


def _initialisation(config: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's initialisation, `pretrained` written out where the architecture has published weights."""
    start = dict(run["initialisation"])
    if config["architectures"][run["architecture"]]["kind"] == "pretrained":
        start.setdefault("pretrained", start["from"] is None)
    return start


def _as_published(config: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    """Whether a run's network is measured as it was published: that needs no training images, not even for their mean."""
    return run["objective"] == "none" and bool(_initialisation(config, run).get("pretrained"))


def _check_pretrained(config: Mapping[str, Any], name: str, fail: Callable[[str, str], None]) -> None:
    run, path = config["runs"][name], f"runs.{name}"
    architecture, start = config["architectures"][run["architecture"]], _initialisation(config, config["runs"][name])
    if architecture["kind"] != "pretrained":
        if "pretrained" in start:
            fail(f"{path}.initialisation.pretrained", f"expected no such key for a {architecture['kind']}, which has no weights")
        return
    entry = config["data"]["sets"][run["data"]]
    shape = registry.info(entry["source"]).shape
    channels = entry["channels"] or (shape[0] if shape else 3)
    expected = 3  # all of them
    if channels != expected:
        fail(
            f"{path}.data",
            f"expected images of {expected} channels for {architecture['name']}, found {channels} in {run['data']}; "
            f"set data.sets.{run['data']}.channels: {expected}",
        )
    if start["pretrained"]:
        for key, neutral in (("from", None), ("scale", 1)):
            if start[key] != neutral:
                fail(f"{path}.initialisation.{key}", f"expected none beside pretrained weights, found {start[key]}")


def _check_evaluations(config: Mapping[str, Any], fail: Callable[[str, str], None]) -> None:
    for name, evaluation in config["evaluations"].items():
        path = f"evaluations.{name}"
        for run in evaluation["runs"] or config["runs"]:
            for group in evaluation["groups"]:
                _check_fit(config, evaluation["data"] or config["runs"][run]["data"], group, f"{path}.groups", fail)
        if evaluation["corrupted"] and not config["corruptions"]["names"]:
            fail(f"{path}.corrupted", "expected corruptions.names to list corruptions, found none")
        for corruption in evaluation["corrupted"] if isinstance(evaluation["corrupted"], list) else ():
            if corruption not in config["corruptions"]["names"]:
                fail(f"{path}.corrupted", f"expected corruptions of corruptions.names, found {corruption}")
        if evaluation["blend"]:
            _check_blend(config, name, fail)
        if evaluation.get("lie", {}).get("layerwise"):
            for transform in evaluation["lie"]["transforms"]:
                if transform in transforms.COLOUR:
                    fail(
                        f"{path}.lie.transforms", f"expected transformations that move pixels beside layerwise, found {transform}"
                    )


def _check_blend(config: Mapping[str, Any], name: str, fail: Callable[[str, str], None]) -> None:
    evaluation, path = config["evaluations"][name], f"evaluations.{name}.blend"
    if evaluation["corrupted"]:
        fail(path, "expected none beside corrupted: true, found one")
    for share in evaluation["blend"]["at"]:
        if abs(1000 * share - round(1000 * share)) > 1e-6:
            fail(f"{path}.at", f"expected whole thousandths (tables name a blend by them), found {share}")
    other = evaluation["blend"]["with"]
    for data in dict.fromkeys(evaluation["data"] or config["runs"][run]["data"] for run in evaluation["runs"] or config["runs"]):
        expected, found = _shape(config, data), _shape(config, other)
        if expected and found and expected != found:
            fail(f"{path}.with", f"expected images of the size {expected} of {data}, found {found} in {other}")


def _check_claims(
    config: Mapping[str, Any], references: Sequence[tuple[str, str, str]], fail: Callable[[str, str], None]
) -> None:
    """What a claim compares must be measured, or it would fail after hours: every run in the evaluation, under the group."""
    for path, kind, name in references:
        if kind not in ("runs", "groups") or not path.startswith("claims.") or ".comparisons." not in path:
            continue
        _, claim, _, comparison, *_ = path.split(".")
        evaluation = config["claims"][claim]["comparisons"][comparison]["evaluation"]
        measured = config["evaluations"][evaluation][kind]
        if measured is not None and name not in measured:
            fail(
                path,
                f"expected a {kind.removesuffix('s')} of the evaluation {evaluation}, which it reads, "
                f"found {name}{nearest(name, measured)}",
            )


def _check_explained(config: Mapping[str, Any], fail: Callable[[str, str], None]) -> None:
    data = None
    for name, half in ((config["explained"] or {}).get("comparisons") or {}).items():
        path = f"explained.comparisons.{name}"
        for role, run in half.items():
            if role != "group":
                found = config["runs"][run]["data"]
                data = data or found
                if found != data:
                    fail(f"{path}.{role}", f"expected a run of one data set, {data}, found {run} of {found}")
        _check_fit(config, data, half["group"], f"{path}.group", fail)


def _check_readings(config: Mapping[str, Any], fail: Callable[[str, str], None]) -> None:
    data = None
    for name, half in ((config["readings"] or {}).get("comparisons") or {}).items():
        path = f"readings.comparisons.{name}"
        for arm, runs in half["arms"].items():
            for run in runs:
                found = config["runs"][run]["data"]
                data = data or found
                if found != data:
                    fail(f"{path}.arms.{arm}", f"expected runs of one data set, {data}, found {run} of {found}")
                if own := config["runs"][run]["seeds"]:
                    fail(f"{path}.arms.{arm}", f"expected runs with the study's seeds, found {run} with {own}")
                _check_fit(config, found, half["group"], f"{path}.group", fail)
