import numpy as np
import pytest
from synthetic import settings

from geed.claims import propositions
from geed.claims.decision import evaluate
from geed.errors import GeedError


@pytest.fixture(scope="module")
def p31():
    return evaluate("P31", settings("P31"), None, "simulated")


@pytest.fixture(scope="module")
def p32():
    return evaluate("P32", settings("P32"), None, "simulated")


def test_p31_is_witnessed(p31):
    assert p31.result["verdict"] == "reproduced" and p31.result["n_constructions"] == 400
    assert p31.result["estimate"] < 1e-14 and min(p31.result["null"].values()) > 0.5
    cancelling = p31.parts[p31.parts["role"] == "cancelling"]
    assert (cancelling[cancelling["part"] == "features"]["estimate"] > 0.1).all()
    assert (cancelling[cancelling["part"] == "output"]["estimate"] < 1e-14).all()
    assert set(p31.parts["group"]) == {"rotations:4", "reflections", "dihedral:4", "translations:x=3"}


def _p31(p31, part, role, value, **given):
    parts = p31.parts.copy()
    parts.loc[(parts["part"] == part) & (parts["role"] == role) & (parts["construction"] == 7), "estimate"] = value
    return propositions._p31(parts, settings("P31", **given), "simulated").result


def test_p31_has_a_counterexample_where_a_number_says_so(p31):
    assert _p31(p31, "output", "cancelling", 0.2)["part_verdicts"] == {
        "1: invariant f, f1 not": "contradicted",
        "2: f1 invariant, so f": "reproduced",
    }
    assert _p31(p31, "output", "invariant_features", 0.2)["verdict"] == "contradicted"
    assert _p31(p31, "features", "cancelling", 0.05)["verdict"] == "contradicted"  # f1 was invariant too: nothing is witnessed


def test_p31_says_nothing_about_features_that_are_not_invariant(p31):
    parts = p31.parts.copy()
    parts.loc[parts["role"] == "invariant_features", "estimate"] = 0.3
    result = propositions._p31(parts, settings("P31"), "simulated").result
    assert result["part_verdicts"]["2: f1 invariant, so f"] == "inconclusive" and result["verdict"] == "partly"


def test_p32_is_witnessed(p32):
    assert p32.result["verdict"] == "reproduced" and p32.result["n_constructions"] == 400
    by_size = p32.parts.groupby("epsilon")["estimate"]
    assert by_size.max()[0.0] < 1e-14
    assert by_size.min()[0.001] > 1e-4
    assert (np.diff(by_size.mean()) > 0).all()
    ratio = by_size.mean()[0.01] / by_size.mean()[0.001]
    assert ratio == pytest.approx(10, rel=0.02)  # linear in a small perturbation


@pytest.mark.parametrize(
    ("epsilon", "value", "expected"),
    [(0.0, 1e-6, "contradicted"), (0.01, 1e-15, "contradicted"), (1.0, 0.05, "partly")],
)
def test_p32_follows_its_numbers(p32, epsilon, value, expected):
    parts = p32.parts.copy()
    parts.loc[(parts["epsilon"] == epsilon) & (parts["construction"] == 3), "estimate"] = value
    assert propositions._p32(parts, settings("P32"), "simulated").result["verdict"] == expected


def test_the_action_is_that_of_the_group():
    import torch

    from geed import groups

    group, orders = groups.dihedral(4), propositions._permutations("dihedral:4")
    images = torch.randn(3, 36, dtype=torch.float64)
    for k in range(group.order):
        torch.testing.assert_close(images[:, orders[k]], group.act(k, images.unflatten(1, (6, 6))).flatten(1))


@pytest.mark.parametrize("spec", ["rotations:8", "translations:x=4"])
def test_groups_that_do_not_permute_pixels_are_refused(spec):
    with pytest.raises(
        GeedError, match=f"{spec}: expected a group that permutes the pixels of 6×6 images, found one that interpol"
    ):
        propositions._permutations(spec)


def test_two_runs_give_the_same_numbers(p32):
    again = evaluate("P32", settings("P32"), None, "simulated")
    assert again.parts.equals(p32.parts) and again.result == p32.result
