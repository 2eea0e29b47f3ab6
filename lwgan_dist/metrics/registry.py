"""The metrics. One that is registered here with ``default`` is computed for every run, and appears by itself in
``result.json``, in the terminal, in TensorBoard, in the tables of a search and among what a search can minimise; any
other is computed where it is named.
"""

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from lwgan_dist.data.blocks import flat
from lwgan_dist.errors import ConfigError
from lwgan_dist.metrics import distances, features
from lwgan_dist.metrics.distances import energy_distance, sliced_wasserstein
from lwgan_dist.metrics.drawn import Drawn
from lwgan_dist.seeding import generator

INCEPTION_WEIGHTS = "LWGAN_DIST_INCEPTION_WEIGHTS"
"""Environment variable: path of the weights of the Inception network, which the user supplies."""


@dataclass(frozen=True)
class Metric:
    """A measure of how good a model is.

    Attributes:
        name: in files, tables and configurations.
        phrase: in a sentence.
        doc: what it is, for the documentation of tables.
        compute: its value.
        larger_is_better: then a search minimises its negative.
        needs_encoder: it is of codes or of reconstructed rows, and models without encoder have none.
        needs_images: it is of rows that are images.
        needs_inception: it needs the weights of the Inception network.
        default: it is computed for every run, and a search can minimise it; otherwise where it is named, and from
            equally many held-out, generated and, for its floor, other real rows.
        target: the best value, where neither larger nor smaller is better.
        has_floor: whether a second real sample in place of the generated rows gives its noise floor.
    """

    name: str
    phrase: str
    doc: str
    compute: Callable[[Drawn], float]
    larger_is_better: bool = False
    needs_encoder: bool = False
    needs_images: bool = False
    needs_inception: bool = False
    default: bool = True
    target: float | None = None
    has_floor: bool = True

    def badness(self, value: float) -> float:
        """The smaller the better."""
        if self.target is not None:
            return abs(value - self.target)
        return -value if self.larger_is_better else value

    def mismatch(self, has_encoder: bool, shape: tuple[int, ...]) -> str | None:
        """Why it is not of a model and of rows of this shape; None if it is."""
        if self.needs_encoder and not has_encoder:
            return "needs a model with an encoder"
        if self.needs_images and len(shape) not in (2, 3):
            return f"needs images, rows of shape (height, width) or (channels, height, width), not {shape}"
        return None

    def obstacle(self, has_encoder: bool, shape: tuple[int, ...]) -> str | None:
        """Why it cannot be computed on this machine, of a model and of rows of this shape; None if it can."""
        mismatch = self.mismatch(has_encoder, shape)
        if mismatch:
            return mismatch
        if self.needs_inception and not os.environ.get(INCEPTION_WEIGHTS):
            return f"needs the weights of the Inception network: {INCEPTION_WEIGHTS}=FILE"
        return None


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "energy_distance",
            "energy distance of generated rows",
            "energy distance of generated and held-out rows, at the estimated rank",
            lambda drawn: energy_distance(drawn.holdout, drawn.generated),
        ),
        Metric(
            "sliced_wasserstein",
            "sliced Wasserstein distance",
            "sliced Wasserstein distance of generated and held-out rows, at the estimated rank",
            lambda drawn: sliced_wasserstein(
                drawn.holdout, drawn.generated, generator(drawn.seed, "quality/directions")
            ),
        ),
        Metric(
            "reconstruction",
            "reconstruction error",
            "mean reconstruction error of held-out rows, at the estimated rank",
            lambda drawn: float(np.linalg.norm(flat(drawn.holdout - drawn.reconstructed), axis=1).mean()),
            needs_encoder=True,
            has_floor=False,
        ),
        Metric(
            "w1",
            "Wasserstein distance W1",
            "exact Wasserstein distance W1 of generated and held-out rows, equally many, at the estimated rank",
            lambda drawn: distances.wasserstein(drawn.between, 1),
            default=False,
        ),
        Metric(
            "w2",
            "Wasserstein distance W2",
            "exact Wasserstein distance W2 of generated and held-out rows, equally many, at the estimated rank",
            lambda drawn: distances.wasserstein(drawn.between, 2),
            default=False,
        ),
        Metric(
            "mmd",
            "squared MMD",
            "squared maximum mean discrepancy of generated and held-out rows, at the estimated rank; unbiased",
            lambda drawn: distances.mmd_squared(drawn.within_holdout, drawn.within_generated, drawn.between),
            default=False,
        ),
        Metric(
            "density",
            "density",
            "density of generated rows among held-out rows (k = 5), at the estimated rank; 1 for equal distributions",
            lambda drawn: distances.density_and_coverage(drawn.within_holdout, drawn.between)[0],
            larger_is_better=True,
            default=False,
        ),
        Metric(
            "coverage",
            "coverage",
            "share of held-out rows near which there is a generated one (k = 5), at the estimated rank",
            lambda drawn: distances.density_and_coverage(drawn.within_holdout, drawn.between)[1],
            larger_is_better=True,
            default=False,
        ),
        Metric(
            "nn_accuracy",
            "1-NN accuracy",
            "leave-one-out accuracy of the nearest neighbour in telling generated from held-out rows, at the estimated "
            "rank; .5 is best",
            lambda drawn: distances.nearest_neighbour_accuracy(
                drawn.within_holdout, drawn.within_generated, drawn.between
            ),
            default=False,
            target=0.5,
        ),
        Metric(
            "latent_mmd",
            "squared MMD of codes",
            "squared maximum mean discrepancy of codes of held-out rows and the latent distribution, at the estimated "
            "rank; unbiased",
            lambda drawn: drawn.latent_mmd(),
            needs_encoder=True,
            default=False,
        ),
        Metric(
            "fd_cnn",
            "FD (small network)",
            "Frechet distance of generated and held-out images in features of a small network, at the estimated rank",
            lambda drawn: drawn.frechet_of_images(),
            needs_images=True,
            default=False,
        ),
        Metric(
            "fd_random",
            "FD (random features)",
            "Frechet distance of generated and held-out rows in random Fourier features, at the estimated rank",
            lambda drawn: drawn.frechet(features.random_features),
            default=False,
        ),
        Metric(
            "fd_pca",
            "FD (50 principal components)",
            "Frechet distance of generated and held-out rows in 50 principal components, at the estimated rank",
            lambda drawn: drawn.frechet(features.principal_components),
            default=False,
        ),
        Metric(
            "fid",
            "FID",
            "Frechet Inception distance of generated and held-out images, at the estimated rank",
            lambda drawn: distances.frechet(*(outputs[0] for outputs in drawn.inception_outputs)),
            needs_images=True,
            needs_inception=True,
            default=False,
        ),
        Metric(
            "inception_score",
            "Inception Score",
            "Inception Score of generated images, at the estimated rank",
            lambda drawn: distances.inception_score(drawn.inception_outputs[1][1]),
            larger_is_better=True,
            needs_images=True,
            needs_inception=True,
            default=False,
        ),
    )
}
"""By name, in the order in which they are shown."""


def floor_of(name: str) -> str:
    """Under which name the noise floor of a metric stands beside it."""
    return f"{name}_floor"


def default_metrics() -> list[str]:
    """Names of those that are computed for every run."""
    return [name for name, metric in METRICS.items() if metric.default]


def refuse_inapplicable(names: Collection[str], has_encoder: bool, shape: tuple[int, ...]) -> None:
    """Refuse metrics that do not apply.

    Args:
        names: of the metrics.
        has_encoder: whether the model has one.
        shape: of a row.

    Raises:
        ConfigError: one does not apply, or there is none of the name.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"metric {name}: there is none of this name, but {', '.join(METRICS)}")
        obstacle = METRICS[name].obstacle(has_encoder, shape)
        if obstacle:
            raise ConfigError(f"metric {name}: {obstacle}")
