"""A study's config: what is right is filled, what is wrong is refused in one sentence that names the key."""

import copy
from pathlib import Path

import pytest
import yaml

from geed.claims.names import FIGURES
from geed.errors import GeedError
from geed.study import config as study_config
from geed.study import plan as study_plan

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "workflow/schemas"
DEMO = yaml.safe_load((ROOT / "config.yaml").read_text())


def resolve(tmp_path, content):
    path = tmp_path / "study.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return study_plan.load([path], SCHEMAS)


def changed(keys, value):
    """The demo config with one key set."""
    config = copy.deepcopy(DEMO)
    place = config
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return config


def without(keys):
    config = copy.deepcopy(DEMO)
    place = config
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    return config


def test_demo_is_valid_and_filled(tmp_path):
    plan = resolve(tmp_path, DEMO)
    assert plan.study == "demo"
    assert len(plan.seeds) >= 3
    assert plan.runs["plain"]["initialisation"] == {"scale": 1.0, "from": None}
    assert plan.runs["plain"]["architecture"]["kind"] == "plain_cnn"
    assert plan.runs["plain"]["training"]["epochs"] == DEMO["training"]["epochs"]
    assert set(plan.claims) == set(FIGURES) and len(FIGURES) == 13


def test_every_key_has_a_description():
    bare = [
        path
        for path, _, _, words in study_config.describe(study_config.load_schema(SCHEMAS))
        if not words and not path.endswith("<name>")
    ]
    assert bare == []


def test_lists_of_the_command_line_hold_what_they_say():
    # as Snakemake hands on what it was given as seeds=[0,1] and the like
    given = {"seeds": ["0", "1"], "corruptions": {"names": ["contrast"], "severities": ["1"]}, "device": "cpu"}
    given["claims"] = {"P31": {"min_deviation": "0.2"}}
    config, _ = study_config.overlay([ROOT / "config.yaml"], given)
    assert config["seeds"] == [0, 1] and config["corruptions"] == {"names": ["contrast"], "severities": [1]}
    assert config["device"] == "cpu" and config["claims"] == {"P31": {"min_deviation": 0.2}}
    config, _ = study_config.overlay(
        [ROOT / "config.yaml"], {"runs": {"one": {"augmentation": ["rotations:4"], "data": "a: b: c"}}}
    )
    assert config["runs"]["one"] == {"augmentation": ["rotations:4"], "data": "a: b: c"}


def test_overlay_replaces_sections_but_merges_data(tmp_path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("study: other\ndata: {mirror: /somewhere}\nruns: {only: {data: digits, architecture: cnn}}\n")
    config, origin = study_config.overlay([ROOT / "config.yaml", overlay], {"seeds": [7]})
    assert list(config["runs"]) == ["only"]
    assert config["data"]["mirror"] == "/somewhere"
    assert config["data"]["sets"] == DEMO["data"]["sets"]
    assert config["seeds"] == [7] and origin["seeds"] == "--config"
    assert origin["runs"] == str(overlay)


def test_a_run_overrides_single_training_keys(tmp_path):
    plan = resolve(tmp_path, changed(["runs", "plain", "training"], {"epochs": 3}))
    filled = {"optimiser": "adamw", "schedule": "one_cycle", "keep": "last", "snapshots": []}
    assert plan.runs["plain"]["training"] == filled | DEMO["training"] | {"epochs": 3}


@pytest.mark.parametrize("source", ["folder:my/images", "imagenet:/far/away", "imagenet"])
def test_a_set_may_be_a_folder(tmp_path, source):
    plan = resolve(tmp_path, changed(["data", "sets", "digits"], {"source": source, "size": 15, "channels": 1}))
    assert plan.sets["digits"]["source"] == source


def test_pretrained_weights_are_taken_unless_said_otherwise(tmp_path):
    config = changed(["architectures", "resnet"], {"kind": "pretrained", "name": "cifar10_resnet20"})
    for name in ("digits", "photographs"):
        config["data"]["sets"][name]["channels"] = 3
    run = {"data": "digits", "architecture": "resnet"}
    config["runs"] |= {"one": run, "two": run | {"initialisation": {"pretrained": False}}}
    config["runs"] |= {"three": run | {"initialisation": {"from": "one"}}}
    runs = resolve(tmp_path, config).runs
    assert [runs[name]["initialisation"]["pretrained"] for name in ("one", "two", "three")] == [True, False, False]
    config["runs"]["three"]["initialisation"]["pretrained"] = True
    with pytest.raises(GeedError, match=r"runs\.three\.initialisation\.from: expected none beside pretrained weights, found one"):
        resolve(tmp_path, config)


def without_key(mapping, key):
    return {name: value for name, value in mapping.items() if name != key}


CLEAN = ["evaluations", "clean"]
VIT = {"kind": "vit", "patch": 5, "width": 8, "depth": 1, "heads": 2}
TIED = {"kind": "tied_perceptron", "hidden": 8, "layers": 2, "symmetry": "rotations:4", "pooling": "max"}
REGULARISED = {"kind": "invariance", "group": "rotations:4", "distance": "logit", "weight": 1}
SEARCH = {"grid": [1, 3], "at_least": 0.9}


SHIFT = {"groups": ["rotations:4"], "metrics": ["accuracy"], "blend": {"with": "photographs", "at": [0, 0.5]}}


def shifted(**blend):
    return changed(["evaluations", "shift"], SHIFT | {"blend": SHIFT["blend"] | blend})


def test_every_run_is_measured_but_those_that_others_start_from(tmp_path):
    plan = resolve(tmp_path, DEMO | {"claims": {}})
    assert set(plan.runs) - set(plan.measured) == {"pretraining"}


def test_a_run_may_have_seeds_of_its_own_which_its_networks_do_not_know(tmp_path):
    plan = resolve(tmp_path, changed(["runs", "plain", "seeds"], [3, 5]))
    assert plan.run_seeds["plain"] == [3, 5] and plan.run_seeds["untrained"] == [0, 1, 2]
    assert "seeds" not in plan.runs["plain"]


def test_a_blend_names_its_set_and_is_filled(tmp_path):
    plan = resolve(tmp_path, shifted())
    assert plan.evaluations["shift"]["blend"] == {"with": "photographs", "at": [0, 0.5]}
    assert plan.evaluations["clean"]["blend"] is None


# (what is changed, words that the sentence must hold)
WRONG = {
    "readings of no run": (
        changed(["readings"], {"comparisons": {"rotation": {"group": "rotations:4", "arms": {"tied": ["plian"]}}}}),
        ["readings.comparisons.rotation.arms.tied", "'plain'"],
    ),
    "readings of two data sets": (
        changed(["readings"], {"comparisons": {"r": {"group": "rotations:4", "arms": {"a": ["plain"], "b": ["pretraining"]}}}}),
        ["readings.comparisons.r.arms.b: expected runs of one data set, digits, found pretraining of digits_0to4"],
    ),
    "a start that lacks a seed": (
        changed(["runs", "pretraining", "seeds"], [0, 1]),
        ["runs.finetuned_pretrained.initialisation.from: expected a run that is trained with seed 2 too, found pretraining"],
    ),
    "readings of runs with other seeds": (
        changed(["readings"], {"comparisons": {"r": {"group": "rotations:4", "arms": {"a": ["plain"]}}}})
        | {"runs": DEMO["runs"] | {"plain": DEMO["runs"]["plain"] | {"seeds": [5]}}},
        ["readings.comparisons.r.arms.a: expected runs with the study's seeds, found plain with [5]"],
    ),
    "a corruption that the study does not have": (
        changed(["evaluations", "corrupted", "corrupted"], ["fog"]),
        ["evaluations.corrupted.corrupted: expected corruptions of corruptions.names, found fog"],
    ),
    "blend with no set": (shifted(**{"with": "photo"}), ["evaluations.shift.blend.with", "'photographs'"]),
    "blend beyond one": (shifted(at=[0, 1.5]), ["evaluations.shift.blend.at.1", "at most 1", "found 1.5"]),
    "blend between thousandths": (shifted(at=[0.0005]), ["evaluations.shift.blend.at: expected whole thousandths", "0.0005"]),
    "blend of other sizes": (
        changed(["evaluations", "shift"], SHIFT)
        | {"data": {"sets": DEMO["data"]["sets"] | {"photographs": {"source": "photo_patches", "size": 17, "channels": 1}}}},
        ["evaluations.shift.blend.with: expected images of the size 1 x 15 x 15 of digits, found 1 x 17 x 17 in photographs"],
    ),
    "blend of corrupted images": (
        changed(["evaluations", "shift"], SHIFT | {"corrupted": True}),
        ["evaluations.shift.blend: expected none beside corrupted: true"],
    ),
    "unknown top-level key": (changed(["sed"], [0]), ["sed: unknown key", "did you mean 'seeds'"]),
    "unknown run key": (
        changed(["runs", "plain", "architectur"], "cnn"),
        ["runs.plain.architectur: unknown key", "'architecture'"],
    ),
    "unknown training key": (changed(["training", "epoch"], 3), ["training.epoch: unknown key", "'epochs'"]),
    "unknown set key": (changed(["data", "sets", "digits", "sise"], 3), ["data.sets.digits.sise", "'size'"]),
    "unknown claim": (changed(["claims", "K9"], {}), ["claims.K9: unknown key"]),
    "unknown claim setting": (changed(["claims", "K1", "treshold"], 0.5), ["claims.K1.treshold: unknown key"]),
    "wrong type list": (changed(["seeds"], 3), ["seeds", "expected a list", "found 3"]),
    "wrong type number": (changed(["training", "epochs"], "many"), ["training.epochs", "expected a whole number", "'many'"]),
    "wrong type mapping": (changed(["runs"], ["plain"]), ["runs", "expected a mapping", "found a list"]),
    "boolean": (changed(["training", "epochs"], True), ["training.epochs", "expected a whole number", "true"]),
    "float epochs": (changed(["training", "epochs"], 2.5), ["training.epochs", "2.5"]),
    "negative rate": (changed(["training", "learning_rate"], -1), ["training.learning_rate", "more than 0", "-1"]),
    "zero epochs": (changed(["training", "epochs"], 0), ["training.epochs", "at least 1", "found 0"]),
    "severity": (changed(["corruptions", "severities"], [6]), ["corruptions.severities.0", "at most 5"]),
    "no seeds": (changed(["seeds"], []), ["seeds", "at least 1 entry"]),
    "seed twice": (changed(["seeds"], [1, 1]), ["seeds", "every entry once"]),
    "device": (changed(["device"], "gpu"), ["device", "auto, cpu, cuda"]),
    "objective": (changed(["runs", "plain", "objective"], "supervized"), ["runs.plain.objective", "did you mean 'supervised'"]),
    "kind": (changed(["architectures", "cnn", "kind"], "plain"), ["architectures.cnn.kind", "plain_cnn"]),
    "study name": (changed(["study"], "My Study"), ["study", "lower-case"]),
    "run name": (changed(["runs", "Plain Run"], DEMO["runs"]["plain"]), ["runs", "Plain Run"]),
    "missing run data": (without(["runs", "plain", "data"]), ["runs.plain.data", "expected this key"]),
    "missing study": (without(["study"]), ["study", "expected this key"]),
    "missing runs": (without(["runs"]), ["runs", "expected this key"]),
    "misspelt set": (changed(["runs", "plain", "data"], "digit"), ["runs.plain.data", "did you mean 'digits'"]),
    "misspelt architecture": (changed(["runs", "plain", "architecture"], "cnnn"), ["runs.plain.architecture", "'cnn'"]),
    "misspelt source": (changed(["data", "sets", "digits", "source"], "digts"), ["data.sets.digits.source", "'digits'"]),
    "class out of range": (
        changed(["data", "sets", "digits", "classes"], [0, 10]),
        ["data.sets.digits.classes", "below 10", "found 10"],
    ),
    "misspelt corruption": (changed(["corruptions", "names"], ["gausian_noise"]), ["corruptions.names", "gaussian_noise"]),
    "misspelt augmentation": (changed(["runs", "plain", "augmentation"], ["crp"]), ["runs.plain.augmentation", "crop"]),
    "misspelt group": (changed(["runs", "plain", "augmentation"], ["rotation:4"]), ["runs.plain.augmentation", "rotations"]),
    "misspelt metric": (
        changed(["evaluations", "clean", "metrics"], ["chanel_eed"]),
        ["evaluations.clean.metrics", "channel_eed"],
    ),
    "misspelt distance": (changed(["evaluations", "clean", "metrics"], ["output_eed/kll"]), ["evaluations.clean.metrics", "kl"]),
    "misspelt run": (changed(["evaluations", "clean", "runs"], ["plane"]), ["evaluations.clean.runs", "'plain'"]),
    "run that a claim reads, not measured": (
        changed(["evaluations", "clean", "runs"], [run for run in DEMO["evaluations"]["clean"]["runs"] if run != "mlp_da"]),
        ["claims.M1.comparisons.rotation.augmented", "of the evaluation clean", "found mlp_da"],
    ),
    "group that a claim reads, not measured": (
        changed(["evaluations", "clean", "groups"], ["rotations:4", "translations:x=3"]),
        ["claims.K1.comparisons.reflection.group", "of the evaluation clean", "found reflections"],
    ),
    "group of evaluation": (changed(["evaluations", "clean", "groups"], ["rotations"]), ["evaluations.clean.groups"]),
    "group that does not fit": (
        changed(["evaluations", "clean", "groups"], ["translations:x=4"]),
        ["evaluations.clean.groups", "15"],
    ),
    "claim's run": (
        changed(["claims", "K4", "comparisons", "rotation", "pretrained"], "finetuned_pretraned"),
        ["claims.K4.comparisons.rotation.pretrained", "did you mean 'finetuned_pretrained'"],
    ),
    "symmetry": (changed(["architectures", "c4cnn", "symmetry"], "rotatons:4"), ["architectures.c4cnn.symmetry", "rotations"]),
    "no symmetry": (without(["architectures", "c4cnn", "symmetry"]), ["architectures.c4cnn.symmetry", "found none"]),
    "no widths": (without(["architectures", "cnn", "widths"]), ["architectures.cnn.widths", "found none"]),
    "contrastive without augmentation": (
        changed(["runs", "contrastive_plain", "augmentation"], []),
        ["runs.contrastive_plain.augmentation", "two views"],
    ),
    "source run": (
        changed(["runs", "finetuned_pretrained", "initialisation", "from"], "pretrain"),
        ["initialisation.from", "'pretraining'"],
    ),
    "circle": (
        changed(["runs", "pretraining", "initialisation"], {"from": "finetuned_pretrained"}),
        ["initialisation.from", "circle"],
    ),
    "other architecture": (
        changed(["runs", "pretraining", "architecture"], "cycliccnn"),
        ["initialisation.from", "a run of the architecture"],
    ),
    "late snapshot": (changed(["runs", "plain", "training"], {"snapshots": [1000]}), ["runs.plain.training.snapshots", "1000"]),
    "overview run": (changed(["overview"], {"runs": ["plian"], "group": "rotations:4"}), ["overview.runs", "'plain'"]),
    "nothing to corrupt": (changed(["corruptions"], {}), ["corrupted", "corruptions.names"]),
    "misspelt weights": (
        changed(["architectures", "cnn"], {"kind": "pretrained", "name": "cifar10_resnet2"}),
        ["architectures.cnn.name", "the name of pretrained weights or timm:NAME, found 'cifar10_resnet2'", "cifar10_resnet20"],
    ),
    "a path for a name of timm": (
        changed(["architectures", "cnn"], {"kind": "pretrained", "name": "timm:../weights"}),
        ["architectures.cnn.name", "expected timm:NAME", "found 'timm:../weights'"],
    ),
    "grey images for a colour network": (
        changed(["architectures", "cnn"], {"kind": "pretrained", "name": "cifar10_resnet20"}),
        ["runs.plain.data", "3 channels", "found 1", "data.sets.digits.channels: 3"],
    ),
    "weights of a plain network": (
        changed(["runs", "plain", "initialisation"], {"pretrained": True}),
        ["runs.plain.initialisation.pretrained", "plain_cnn"],
    ),
    "padding below the image's side": (
        changed(["data", "sets", "digits", "pad"], 12),
        ["data.sets.digits.pad", "at least 15", "found 12"],
    ),
    "part of a split": (
        changed(["data", "sets", "digits", "split"], {"train": 5, "test": 5}),
        ["split.validation", "found none"],
    ),
    "group that a tied layer cannot have": (
        changed(["architectures", "cnn"], TIED | {"symmetry": "translations:x=4"}),
        ["architectures.cnn.symmetry", "fraction of a pixel"],
    ),
    "transform": (changed([*CLEAN, "lie"], {"transforms": ["rotatoin"]}), ["evaluations.clean.lie.transforms", "rotation"]),
    "colour of layers": (
        changed([*CLEAN, "lie"], {"transforms": ["saturation"], "layerwise": True}),
        ["evaluations.clean.lie.transforms", "move pixels", "found saturation"],
    ),
    "patch": (changed(["architectures", "cnn"], VIT | {"patch": 4}), ["architectures.cnn.patch", "divisor of 15", "found 4"]),
    "heads": (changed(["architectures", "cnn"], VIT | {"heads": 3}), ["architectures.cnn.heads", "the width 8", "found 3"]),
    "no depth": (changed(["architectures", "cnn"], without_key(VIT, "depth")), ["architectures.cnn.depth", "found none"]),
    "strides": (changed(["architectures", "cnn", "stride"], [2, 2]), ["architectures.cnn.stride", "each of the 4 blocks"]),
    "no pooling": (changed(["architectures", "cnn"], without_key(TIED, "pooling")), ["architectures.cnn.pooling", "found none"]),
    "optimiser": (changed(["training", "optimiser"], "adm"), ["training.optimiser", "did you mean 'adam'"]),
    "weights chosen by an accuracy that there is not": (
        changed(["runs", "vicreg_rotation", "training", "keep"], "best_validation"),
        ["runs.contrastive_rotation.training.keep", "expected last"],
    ),
    "regulariser by its name only": (
        changed(["runs", "plain", "objective"], "invariance"),
        ["runs.plain.objective", "expected a mapping", "kind: invariance"],
    ),
    "regulariser without weight": (
        changed(["runs", "plain", "objective"], without_key(REGULARISED, "weight")),
        ["runs.plain.objective.weight", "found none"],
    ),
    "distance of a regulariser": (
        changed(["runs", "plain", "objective"], REGULARISED | {"distance": "logits"}),
        ["runs.plain.objective.distance", "did you mean 'logit'"],
    ),
    "group of a regulariser": (
        changed(["runs", "plain", "objective"], REGULARISED | {"group": "translations:x=4"}),
        ["runs.plain.objective.group", "fraction of a pixel"],
    ),
    "grid that does not ascend": (
        changed(["runs", "plain", "objective"], REGULARISED | {"weight": SEARCH | {"grid": [3, 1]}}),
        ["runs.plain.objective.weight.grid", "ascending"],
    ),
    "search by a metric of layers": (
        changed(["runs", "plain", "objective"], REGULARISED | {"weight": SEARCH | {"metric": "channel_eed"}}),
        ["runs.plain.objective.weight.metric", "of the outputs", "channel_eed"],
    ),
    "search without a mark to reach": (
        changed(["runs", "plain", "objective"], REGULARISED | {"weight": without_key(SEARCH, "at_least")}),
        ["runs.plain.objective.weight.at_least", "found none"],
    ),
    "augmentations that nothing learns": (
        changed(["architectures", "cnn"], {"kind": "augerino", "network": "cycliccnn"}),
        ["objective: expected an architecture and an objective of kind augerino together", "cnn and supervised"],
    ),
    "network within a network": (
        changed(["architectures", "cnn"], {"kind": "augerino", "network": "cnn"}),
        ["architectures.cnn.network", "of another kind"],
    ),
    "search for an objective without": (
        changed(["runs", "plain", "objective"], {"kind": "remul", "group": "rotations:4", "adaptive": False, "weight": SEARCH}),
        ["runs.plain.objective.weight", "expected a number for remul"],
    ),
    "place for a set that takes none": (changed(["data", "sets", "digits", "source"], "digits:here"), ["without a place"]),
    "key twice": ("study: demo\nstudy: other\n", ["line 2", "given twice"]),
    "not YAML": ("study: [demo\n", ["expected YAML"]),
    "not a mapping": ("- study\n", ["expected a mapping"]),
    "empty": ("", ["expected a mapping", "nothing"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_sentence_that_names_the_key(tmp_path, name):
    content, words = WRONG[name]
    with pytest.raises(GeedError) as raised:
        resolve(tmp_path, content)
    sentence = str(raised.value)
    assert sentence.startswith(str(tmp_path / "study.yaml"))
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(GeedError, match=r"absent\.yaml: cannot be read"):
        study_plan.load([tmp_path / "absent.yaml"], SCHEMAS)


def test_the_standard_study_has_five_seeds_on_digits_and_three_on_photographs():
    plan = study_plan.load([ROOT / "config.yaml", ROOT / "workflow/studies/standard.yaml"], ROOT / "workflow/schemas")
    assert {"K1", "K2", "K3", "K4", "K5"} <= set(plan.claims)
    assert all(plan.claims[claim]["intervals"] == "student" for claim in ("K1", "K2", "K3", "K4", "K5"))
    for entry in plan.claims["K1"]["comparisons"].values():
        arms = [entry[role] for role in ("plain", "augmented", "equivariant", "untrained")]
        wanted = 3 if plan.runs[entry["plain"]]["data"] == "cifar" else 5
        assert all(len(plan.run_seeds[run]) == wanted for run in arms)
    assert len(plan.corruptions["names"]) == 19


@pytest.mark.slow
def test_the_networks_of_the_standard_study_match_in_size():
    from geed.models.build import build
    from geed.models.network import parameter_count

    plan = study_plan.load([ROOT / "config.yaml", ROOT / "workflow/studies/standard.yaml"], ROOT / "workflow/schemas")
    for entry in plan.claims["K1"]["comparisons"].values():
        channels = 3 if plan.runs[entry["plain"]]["data"] == "cifar" else 1
        spec = {"channels": channels, "size": 33, "classes": 10, "mean": [0.5] * channels, "std": [0.3] * channels}
        sizes = [
            parameter_count(build(spec | {"architecture": plan.runs[entry[role]]["architecture"]}, "size"))
            for role in ("plain", "augmented", "equivariant", "untrained")
        ]
        assert max(sizes) <= 1.01 * min(sizes), entry
