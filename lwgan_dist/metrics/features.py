"""Features of rows: the spaces in which Frechet distances are taken. NumPy and SciPy only."""

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from lwgan_dist.data.blocks import Array, flat
from lwgan_dist.errors import RunFailedError
from lwgan_dist.seeding import generator

SIDE = 28
"""Height and width of the images that the network sees."""

WEIGHTS = Path(__file__).with_name("features.safetensors")
SHA256 = "2ac11a4a771d3c8c25744d621fa016fcf4e01055f06b3daee1db61a6f36d4683"
"""The network's, made by ``tests/benchmarks/train_features.py``."""

RANDOM_FEATURES = 64

COMPONENTS = 50

_IMAGES_AT_ONCE = 128


def grey(images: Array) -> NDArray[np.float64]:
    """Grey images of 28 x 28, shape (n, 28, 28).

    Channels are averaged. Another height or width is averaged by area: a new pixel is the mean of the old ones under
    it, each weighted with the area that they share.

    Args:
        images: shape (n, h, w) or (n, channels, h, w).
    """
    images = images.mean(axis=1) if images.ndim == 4 else images
    height, width = (_averages(side) for side in images.shape[1:])
    return np.asarray(height @ images @ width.T)


def _averages(side: int) -> NDArray[np.float64]:
    """Shares of the old pixels of a line in the new ones, shape (28, side)."""
    new, old = np.arange(SIDE + 1) * side / SIDE, np.arange(side)
    shared = np.minimum(new[1:, None], old + 1) - np.maximum(new[:-1, None], old)
    return np.asarray(np.maximum(shared, 0.0) * SIDE / side)


def network_features(images: Array) -> NDArray[np.float64]:
    """The 64 features of a small network that tells 20 kinds of images apart, shape (n, 64).

    It has three convolutions of 3 x 3 with 16, 32 and 64 channels, each followed by the maximum over 2 x 2 pixels, and
    a layer of 64 rectified units, the features. It was trained on the ten classes of Fashion-MNIST and the ten digits
    of mnist_5k, see docs/guide/metrics.md.

    Args:
        images: shape (n, 28, 28) in [0, 1], bright on dark.

    Raises:
        RunFailedError: the weights in the package are damaged.
    """
    weights = _weights()
    parts = [_features(images[i : i + _IMAGES_AT_ONCE], weights) for i in range(0, len(images), _IMAGES_AT_ONCE)]
    return np.concatenate(parts).astype(np.float64)


def class_scores(images: Array) -> NDArray[np.float64]:
    """Scores of the 20 kinds, shape (n, 20), the classes of Fashion-MNIST and then the digits: to check the network."""
    weights = _weights()
    return np.asarray(network_features(images) @ weights["classes.weight"].T + weights["classes.bias"])


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    from safetensors.numpy import load

    content = WEIGHTS.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise RunFailedError(f"{WEIGHTS}: is damaged, its SHA-256 is not the right one; install lwgan-dist again")
    return load(content)


def _features(images: Array, weights: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    x = images.astype(np.float32)[:, None]
    for name in ("conv1", "conv2", "conv3"):
        patches = sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))
        x = np.tensordot(weights[f"{name}.weight"], patches, ([1, 2, 3], [1, 4, 5])).swapaxes(0, 1)
        x = np.maximum(x + weights[f"{name}.bias"][:, None, None], 0.0)
        height, width = x.shape[2] // 2, x.shape[3] // 2
        x = x[:, :, : 2 * height, : 2 * width].reshape(*x.shape[:2], height, 2, width, 2).max(axis=(3, 5))
    return np.asarray(np.maximum(flat(x) @ weights["features.weight"].T + weights["features.bias"], 0.0))


def random_features(rows: Array, reference: Array) -> NDArray[np.float64]:
    """64 random Fourier features sqrt(2 / 64) cos(w.x / h + b), shape (n, 64), always the same for p columns.

    Their inner products approximate exp(-||x - y||^2 / (2 h^2)); h^2 is the total variance of the reference.

    Args:
        rows: shape (n, p).
        reference: rows that give the width h, shape (m, p).

    Source: Rahimi and Recht 2007.
    """
    rng = generator(0, "metrics/random features")
    directions = rng.standard_normal((rows.shape[1], RANDOM_FEATURES))
    width = np.sqrt(reference.var(axis=0).sum()) or 1.0
    phases = rng.uniform(0.0, 2.0 * np.pi, RANDOM_FEATURES)
    return np.asarray(np.sqrt(2.0 / RANDOM_FEATURES) * np.cos(rows @ directions / width + phases))


def principal_components(rows: Array, reference: Array) -> NDArray[np.float64]:
    """Coordinates along the first 50 principal components of the reference, as far as it varies along them, shape
    (n, <= 50); rows of at most 50 columns as they are, for a rotation changes no Frechet distance.

    Args:
        rows: shape (n, p).
        reference: rows whose components they are, shape (m, p).
    """
    from scipy.linalg import eigh

    mean, m, p = reference.mean(axis=0), *reference.shape
    if p <= COMPONENTS:
        return np.asarray(rows, dtype=np.float64)
    centred, size = (reference - mean).astype(np.float64), min(m, p)
    gram = centred.T @ centred if p <= m else centred @ centred.T
    values, vectors = eigh(gram, subset_by_index=(max(0, size - COMPONENTS), size - 1))
    varies = values > 1e-10 * values[-1]
    axes = vectors if p <= m else centred.T @ (vectors / np.sqrt(np.where(varies, values, 1.0)))
    return np.asarray((rows - mean) @ axes[:, varies])
