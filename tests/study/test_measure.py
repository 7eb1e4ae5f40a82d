"""The measuring step: each evaluation sees its own images, and the tables hold what a network makes of them."""

import dataclasses

import pytest
import torch

import geed
from geed import groups
from geed.claims.evidence import Evidence
from geed.data import store
from geed.data.blend import blend
from geed.data.imageset import ImageSet
from geed.errors import GeedError
from geed.metrics.engine import measure
from geed.models import weights
from geed.models.build import build
from geed.study import device, lie
from geed.study.measure import measure_run

CLEAN = {"data": "digits", "groups": ["rotations:4"], "metrics": ["accuracy", "logit_invariance"]}
CLEAN |= {"corrupted": False, "blend": None, "snapshots": False, "limit": None}
AT = [0.0, 0.056, 0.5, 1.0]


def noise(name, n, side=6, seed=0):
    pixels = torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(seed))
    return ImageSet(pixels, torch.arange(n) % 3, torch.arange(n), tuple("abc"), name, "test")


@pytest.fixture
def study(tmp_path):
    """Two prepared sets and two untrained networks; call it with evaluations to measure run `a` or `b`, get the evidence."""
    sets = {"digits": noise("digits", 9), "clothes": noise("clothes", 4, seed=1)}
    for name, images in sets.items():
        store.write(tmp_path / f"{name}.safetensors", {"test": images})
    spec = {"architecture": {"kind": "perceptron", "hidden": 8, "layers": 2}, "channels": 1, "size": 6, "classes": 3}
    models = {}
    for run in "ab":
        models[run] = build(spec | {"mean": [0.5], "std": [0.3]}, run).eval()
        weights.save(models[run], tmp_path / f"{run}.safetensors")
        weights.save_snapshots(models[run], {}, tmp_path / f"{run}.snapshots.safetensors")

    def measured(run="a", **evaluations):
        folder = tmp_path / "measurements" / run / "seed-0"
        measure_run(
            {"name": run, "objective": "none"},
            0,
            {name: CLEAN | evaluation for name, evaluation in evaluations.items()},
            {"names": ["contrast", "brightness"], "severities": [1, 3]},
            weights=tmp_path / f"{run}.safetensors",
            snapshots=tmp_path / f"{run}.snapshots.safetensors",
            data=tmp_path,
            table=folder / "table.parquet",
            per_image=folder / "per_image.parquet",
            device="cpu",
        )
        return Evidence(tmp_path / "measurements", [0])

    measured.sets, measured.models = sets, models
    return measured


def test_blends_are_read_by_the_thousandths_of_their_share(study):
    evidence = study(clean={}, shift={"blend": {"with": "clothes", "at": AT}})
    assert evidence.conditions("a", "shift") == [("blend", 0), ("blend", 56), ("blend", 500), ("blend", 1000)]
    x, y = study.sets["digits"], study.sets["clothes"]
    (partners,) = blend(x, y, [1.0])
    for share, severity in ((0.0, 0), (0.056, 56), (0.5, 500)):
        pixels = (1 - share) * x.images + share * partners.images
        table = measure(study.models["a"], pixels, group=groups.rotations(4), metrics="logit_invariance", per_image=True)
        found = evidence.array(
            "a", "logit_invariance", group="rotations:4", evaluation="shift", corruption="blend", severity=severity
        )
        assert found[0] == pytest.approx(table["values"][0], rel=1e-4)
    clean = evidence.array("a", "logit_invariance", group="rotations:4")
    same = evidence.array("a", "logit_invariance", group="rotations:4", evaluation="shift", corruption="blend", severity=0)
    assert (same == clean).all()


def test_an_evaluation_may_take_some_of_the_corruptions(study, tmp_path):
    clean = study.sets["digits"]
    store.write_corrupted(
        tmp_path / "digits.corrupted.safetensors",
        clean,
        lambda name, severity: clean.images / (severity + (name == "contrast")),
        ["contrast", "brightness"],
        [1, 3],
    )
    evidence = study(every={"corrupted": True}, one={"corrupted": ["brightness"]})
    pairs = [(name, severity) for name in ("contrast", "brightness") for severity in (1, 3)]
    assert evidence.conditions("a", "every") == pairs and evidence.conditions("a", "one") == pairs[2:]
    where = {"group": "rotations:4", "corruption": "brightness", "severity": 3}
    every, one = (evidence.array("a", "logit_invariance", evaluation=name, **where) for name in ("every", "one"))
    assert (every == one).all() and every.any()


def test_every_image_keeps_its_partner_from_the_other_set():
    x, y = noise("digits", 40), noise("clothes", 4, seed=1)
    (partners,) = blend(x, y, [1.0])
    same = (partners.images[:, None] == y.images).all(dim=(-3, -2, -1))
    assert (same.sum(dim=1) == 1).all()
    assert same.any(dim=0).all()
    first = dataclasses.replace(x, images=x.images[:7], labels=x.labels[:7], ids=x.ids[:7])
    (fewer,) = blend(first, y, [1.0])
    assert torch.equal(fewer.images, partners.images[:7])
    assert torch.equal(fewer.labels, x.labels[:7])


def test_blends_are_made_one_at_a_time():
    drawn = []
    shares = (drawn.append(share) or share for share in AT)
    blends = blend(noise("digits", 3), noise("clothes", 2), shares)
    next(blends)
    assert drawn == AT[:1]


def test_sets_of_other_sizes_cannot_be_blended():
    with pytest.raises(GeedError, match=r"expected images of clothes of the shape \(1, 6, 6\) of digits, found \(1, 8, 8\)"):
        next(blend(noise("digits", 3), noise("clothes", 3, side=8), AT))


def test_the_dispersion_stands_in_the_table_once_for_every_group(study):
    evidence = study(clean={"groups": ["rotations:4", "reflections"], "limit": 5})
    rows = evidence.values("a").query("metric == 'output_dispersion'")
    assert list(rows["group"]) == ["rotations:4", "reflections"]
    assert rows["value"].nunique() == 1
    assert set(rows["n_images"]) == {5}


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose("auto") == device.choose("cpu") == "cpu"
    with pytest.raises(GeedError, match="'cuda' was asked for, but torch finds no CUDA device"):
        device.choose("cuda")


def test_every_hidden_layer_of_a_perceptron_is_measured(study, tmp_path):
    import pandas as pd

    study(layers={"metrics": ["latent_eed/cosine", "accuracy"]})
    table = pd.read_parquet(tmp_path / "measurements/a/seed-0/table.parquet")
    found = table[table.metric == "latent_eed"]
    assert list(zip(found.layer, found.depth, strict=True)) == [("blocks.1", 0.5), ("blocks.2", 1.0)]
    assert found.value.between(-1, -0.01).all()
    assert table[table.metric == "accuracy"].depth.tolist() == [1.0]


LIE = {"transforms": ["translation_x", "rotation"], "layerwise": True, "steps": [0.05], "limit": 4}


def test_lie_derivatives_are_rows_of_the_same_tables(study):
    evidence = study(clean={"lie": LIE})
    model, images = study.models["a"], study.sets["digits"].images[:4]
    table = evidence.values("a")
    for name in LIE["transforms"]:
        where = {"group": f"lie:{name}"}
        whole = geed.lie_derivative(model, images, [name], per_image=True)
        assert evidence.array("a", "lie_derivative", "mean_abs", **where)[0] == pytest.approx(whole["values"][0], rel=1e-5)
        finite = geed.difference_quotient(model, images, [name], [0.05], per_image=True)
        assert evidence.array("a", "difference_quotient", "0.05", **where)[0] == pytest.approx(finite["values"][0], rel=1e-5)
        layers = geed.layerwise_lie_derivative(model, images, [name], per_image=True)
        relu = layers[layers["module"] == "ReLU"]["values"].sum()
        assert evidence.array("a", "lie_layerwise", "activation", **where)[0] == pytest.approx(relu, rel=1e-4)
        types = sum(evidence.array("a", "lie_layerwise", kind, **where) for kind in lie.TYPES)
        assert types[0] == pytest.approx(layers[layers["value"].notna()]["values"].sum(), rel=1e-4)
        own = table[(table["group"] == f"lie:{name}") & (table["metric"] == "lie_layerwise") & (table["layer"] != "")]
        assert own["value"].sum() == pytest.approx(types.mean(), rel=1e-5)
    assert table[table["metric"] == "parameters"]["value"].item() == sum(p.numel() for p in model.parameters())


def test_types_of_layers():
    spec = {"channels": 1, "size": 8, "classes": 3, "mean": [0.5], "std": [0.3]}
    cnn = build(spec | {"architecture": {"kind": "plain_cnn", "widths": [2, 2], "stride": [2, 2], "downsampling": "stride"}}, "a")
    blurred = build(spec | {"architecture": {"kind": "plain_cnn", "widths": [2, 2], "downsampling": "blur_pool"}}, "a")
    vit = build(spec | {"architecture": {"kind": "vit", "patch": 4, "width": 4, "depth": 1, "heads": 2}}, "a")
    block = ["strided_convolution", "normalisation", "activation"]
    assert [lie.type_of(module) for module in cnn.blocks[1]] == block
    assert [lie.type_of(module) for module in blurred.blocks[1]] == ["convolution", "normalisation", "activation", "pooling"]
    modules = [vit.patch_embed.proj, vit.blocks[0].attn, vit.blocks[0].mlp.act, vit.blocks[0].norm1, vit]
    assert [lie.type_of(module) for module in modules] == [
        "patch_embedding",
        "attention",
        "activation",
        "normalisation",
        "other",
    ]
