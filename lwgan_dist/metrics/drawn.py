"""What metrics are computed from: generated rows beside rows that the model was not trained on, and their distances."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lwgan_dist.data.blocks import Array, flat
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.metrics import distances, features


@dataclass(frozen=True)
class Drawn:
    """What a metric is computed from, in the units of a standardisation.

    Attributes:
        holdout: held-out rows, shape (m, *shape).
        generated: rows that the model generated, shape (n, *shape).
        reconstructed: the held-out rows, encoded and decoded, shape (m, *shape); no rows of a model without encoder.
        seed: for metrics that draw random numbers.
        codes: of the held-out rows, shape (m, r); None of a model without encoder.
        latent: draws of the latent distribution, shape (m, r).
        unit: the standardisation; by default none.
        inception: features and logits of images by Inception, see `lwgan_dist.metrics.inception`.
    """

    holdout: Array
    generated: Array
    reconstructed: Array
    seed: int
    codes: Array | None = None
    latent: Array | None = None
    unit: Standardizer | None = None
    inception: Callable[[Array], tuple[Array, Array]] | None = None

    def first(self, count: int) -> "Drawn":
        """The first rows of each kind."""
        names = ("holdout", "generated", "reconstructed", "codes", "latent")
        kinds = {name: getattr(self, name) for name in names}
        return replace(self, **{name: rows[:count] for name, rows in kinds.items() if rows is not None})

    @cached_property
    def within_holdout(self) -> Array:
        """Distances of held-out rows, shape (m, m)."""
        return _within(self.holdout)

    @cached_property
    def within_generated(self) -> Array:
        """Distances of generated rows, shape (n, n)."""
        return _within(self.generated)

    @cached_property
    def between(self) -> Array:
        """Distances of held-out to generated rows, shape (m, n)."""
        return _between(self.holdout, self.generated)

    @cached_property
    def images(self) -> tuple[Array, Array]:
        """Held-out and generated images in [0, 1]: the least and the largest held-out value in the units of the data
        become 0 and 1, and what is generated beyond them is cut off.
        """
        held, made = (self.unit.undo(rows) if self.unit else rows for rows in (self.holdout, self.generated))
        low, high = held.min(), held.max()
        held, made = (np.clip((rows - low) / (high - low or 1.0), 0.0, 1.0) for rows in (held, made))
        return held, made

    @cached_property
    def inception_outputs(self) -> list[tuple[Array, Array]]:
        """Features and logits of held-out images, and of generated ones."""
        assert self.inception is not None
        return [self.inception(rows) for rows in self.images]

    def frechet(self, space: Callable[[Array, Array], Array]) -> float:
        """Frechet distance in a space of features, a function of rows and of the held-out rows."""
        held = flat(self.holdout)
        return distances.frechet(space(held, held), space(flat(self.generated), held))

    def frechet_of_images(self) -> float:
        """Frechet distance in the features of the small network."""
        return distances.frechet(*(features.network_features(features.grey(rows)) for rows in self.images))

    def latent_mmd(self) -> float:
        """Squared MMD of codes and latent draws, in whose scale the kernel is."""
        assert self.codes is not None
        assert self.latent is not None
        latent, codes = self.latent, self.codes
        return distances.mmd_squared(_within(latent), _within(codes), _between(latent, codes))


def _within(rows: Array) -> Array:
    from scipy.spatial.distance import pdist, squareform

    return np.asarray(squareform(pdist(flat(rows))))


def _between(rows: Array, others: Array) -> Array:
    from scipy.spatial.distance import cdist

    return np.asarray(cdist(flat(rows), flat(others)))
