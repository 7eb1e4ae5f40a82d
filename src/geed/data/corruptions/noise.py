"""Noise: every value of an image is disturbed independently of its neighbours."""

import numpy as np

from geed.data.corruptions import Draws


def gaussian_noise(x: np.ndarray, sd: float, draws: Draws, scale: float) -> np.ndarray:
    """Normal noise added: x + N(0, sd²)."""
    return x + sd * _normal(x, draws)


def shot_noise(x: np.ndarray, photons: float, draws: Draws, scale: float) -> np.ndarray:
    """Poisson(photons · x) / photons: the count of light at a given full-scale exposure."""
    return (draws(lambda rng, i: rng.poisson(x[i] * photons)) / photons).astype(np.float32)


def impulse_noise(x: np.ndarray, amount: float, draws: Draws, scale: float) -> np.ndarray:
    """Salt and pepper: a share `amount` of all values becomes 0 or 1, with equal chance."""
    u = draws(lambda rng, i: rng.random(x[i].shape, dtype=np.float32))
    return np.where(u < amount / 2, 0, np.where(u < amount, 1, x)).astype(np.float32)


def speckle_noise(x: np.ndarray, sd: float, draws: Draws, scale: float) -> np.ndarray:
    """Normal noise in proportion to the value: x · (1 + N(0, sd²))."""
    return x + x * sd * _normal(x, draws)


def _normal(x: np.ndarray, draws: Draws) -> np.ndarray:
    return draws(lambda rng, i: rng.standard_normal(x[i].shape, dtype=np.float32))


TABLE = {
    "gaussian_noise": (gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "speckle_noise": (speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
}
