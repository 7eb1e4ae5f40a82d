"""A CPU and a GPU agree: the same training and the same measurements, within tolerances that docs/slurm.md states."""

import numpy as np
import pytest
import torch

import geed
from geed import groups
from geed.data.imageset import ImageSet
from geed.models.build import build
from geed.study import device
from geed.training.loop import fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

STEERABLE = {"kind": "steerable_cnn", "symmetry": "rotations:4", "widths": [4, 6]}
RUN = {
    "name": "tiny",
    "objective": "supervised",
    "augmentation": ["rotations:4"],
    "training": {"epochs": 3, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 1e-4, "snapshots": []},
}


def network(architecture=STEERABLE):
    spec = {"architecture": architecture, "channels": 1, "size": 15, "classes": 3, "mean": [0.5], "std": [0.3]}
    return build(spec, "cuda", 0)


def images(count):
    pixels = torch.rand(count, 1, 15, 15, generator=torch.Generator().manual_seed(count))
    labels = torch.arange(count) % 3
    pixels[labels == 1, :, :7] *= 0.3
    pixels[labels == 2, :, 4:11, 4:11] *= 0.3
    return ImageSet(pixels, labels, torch.arange(count), ("a", "b", "c"), "shapes", "train")


@pytest.fixture(autouse=True)
def _a_gpu():
    assert device.choose("cuda") == "cuda"


def test_training_agrees():
    trained = {}
    for place in ("cpu", "cuda"):
        model = network()
        result = fit(model, images(240), None, RUN, ("cuda", 0), device=place)
        trained[place] = torch.cat([tensor.detach().cpu().flatten() for tensor in model.parameters()]), result.history.loss
    assert np.allclose(trained["cpu"][1], trained["cuda"][1], rtol=1e-3)
    assert torch.allclose(trained["cpu"][0], trained["cuda"][0], rtol=1e-2, atol=1e-2)


def test_measurements_agree_and_the_floor_is_rounding():
    metrics = ["channel_eed/cosine", "field_eed/cosine", "latent_eed/cosine", "output_eed/kl", "saliency_similarity"]
    given = {"group": groups.rotations(4), "metrics": metrics, "layers": list(network().profile)}
    tables = [geed.measure(network().eval(), images(60).images, device=place, **given) for place in ("cpu", "cuda")]
    assert np.allclose(tables[0].value, tables[1].value, rtol=1e-4, atol=1e-5, equal_nan=True)
    floor = tables[1][tables[1].metric == "output_eed"].value.max()
    assert abs(floor) < 1e-6  # with TensorFloat-32 it would not be


def test_lie_derivatives_agree():
    plain = network({"kind": "plain_cnn", "widths": [4, 6]}).eval()
    values = [
        geed.lie_derivative(plain, images(60).images, transforms=["translation_x", "rotation"], device=place).value
        for place in ("cpu", "cuda")
    ]
    assert np.allclose(*values, rtol=1e-3)
