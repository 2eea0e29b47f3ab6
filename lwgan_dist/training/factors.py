"""Groups of coordinates that vary independently of each other.

Where data vary in many directions, rows lie far apart, and neither a graph of neighbours nor a network sees that some
of the directions belong to a curve or to a sphere. If those vary independently of the rest, as in a product of
manifolds, they can be looked at by themselves, and in few directions the same rows lie close together. Independent
component analysis finds the directions up to what belongs together; what does is seen by predicting one from the other.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import NearestNeighbors

Array = NDArray[Any]

MOST_COMPONENTS = 30
"""With more directions above the resolution, no groups are looked for."""

MOST_MEMBERS = 10
"""Larger groups are not looked at by themselves: in so many directions rows lie far apart again."""

PREDICTING_NEIGHBOURS = 40
"""Nearest rows whose mean predicts a coordinate."""

DEPENDENCE = (0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.035)
"""Shares of the variance of a coordinate, or of its square, that another group explains, from which on they belong
together."""


QUADRIC = 0.5
"""Share of the variance of a square that the squares of others explain from which on they belong together .."""

QUADRIC_WEIGHT = 0.3
""".. those of them whose weight, in standard deviations, is above this."""


COLLINEAR = 0.15
"""Singular values of squares below this part of the largest are relations among the others, not data."""


@dataclass(frozen=True)
class Group:
    """Directions that belong together.

    Attributes:
        members: numbers of the components.
        rows: the rows along these directions, centred, along their principal axes, shape (m, len(members)).
    """

    members: tuple[int, ...]
    rows: Array


def independent_groups(rows: Array, resolution: float) -> tuple[list[list[Group]], float]:
    """Ways to split the directions of the rows into groups, from many small groups to few large ones.

    The principal components above the resolution are turned into independent components s_1 .. s_k. Groups A and B are
    joined while the mean over the 10 nearest rows in A explains more than a share of the variance of s_b or of s_b^2
    for some b in B, the most dependent groups first; each share of `DEPENDENCE` gives one way.

    Args:
        rows: shape (m, p), in units of their scale.
        resolution: directions of a smaller standard deviation are left out.

    Returns:
        The ways that have at least two groups, none for rows that vary in less than two directions or in more than
        `MOST_COMPONENTS`; and the variance left out.

    Source: Hyvarinen, Oja 2000 (FastICA); Cardoso 1998, "Multidimensional independent component analysis". Joining by
    prediction is ours.
    """
    m = len(rows)
    centred = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    variances = sizes**2 / m
    count = int((variances > resolution**2).sum())
    rest = float(variances[count:].sum())
    if not 2 <= count <= MOST_COMPONENTS or m <= 2 * PREDICTING_NEIGHBOURS:
        return [], rest
    with warnings.catch_warnings():  # components that are Gaussian have no direction to converge to
        warnings.simplefilter("ignore", ConvergenceWarning)
        components = FastICA(whiten=False, random_state=0).fit_transform(left[:, :count] * np.sqrt(m))
    components /= components.std(axis=0)
    mixing = centred.T @ components / m

    def group(members: tuple[int, ...]) -> Group:
        axes, lengths, _ = np.linalg.svd(components[:, members] @ mixing[:, members].T, full_matrices=False)
        return Group(members, (axes * lengths)[:, : len(members)])

    return [[group(members) for members in way] for way in _ways(components) if len(way) > 1], rest


def _ways(components: Array) -> list[list[tuple[int, ...]]]:
    groups = _quadrics(components)
    explained = {members: _explained(components, members) for members in groups}
    ways: list[list[tuple[int, ...]]] = []
    for share in DEPENDENCE:
        while len(groups) > 1:
            pairs = [(one, other) for one in groups for other in groups if one != other]
            strength = [explained[one][list(other)].max() for one, other in pairs]
            if max(strength) <= share:
                break
            joined = pairs[int(np.argmax(strength))]
            groups = [members for members in groups if members not in joined]
            groups.append(tuple(sorted(joined[0] + joined[1])))
            explained[groups[-1]] = _explained(components, groups[-1])
        if max(map(len, groups)) > MOST_MEMBERS:
            break
        if not ways or ways[-1] != groups:
            ways.append(list(groups))
    return ways


def _quadrics(components: Array) -> list[tuple[int, ...]]:
    """Components whose squares are a linear function of each other, as on spheres, together; the others alone.

    Predicting one from another hardly sees a sphere of many dimensions; all others together explain a square wholly.
    """
    squares = components**2 - (components**2).mean(axis=0)
    squares /= squares.std(axis=0)
    linked = np.eye(squares.shape[1])
    for k in range(len(linked)):
        others = np.delete(np.arange(len(linked)), k)
        weights, *_ = np.linalg.lstsq(squares[:, others], squares[:, k], rcond=COLLINEAR)
        if np.square(squares[:, k] - squares[:, others] @ weights).mean() < 1.0 - QUADRIC:
            linked[k, others[np.abs(weights) > QUADRIC_WEIGHT]] = 1.0
    _, label = connected_components(csr_array(linked), directed=False)
    return [tuple(np.flatnonzero(label == one).tolist()) for one in range(label.max() + 1)]


def _explained(components: Array, members: tuple[int, ...]) -> Array:
    """Share of the variance of every component, or of its square, that these explain."""
    index = NearestNeighbors(n_neighbors=PREDICTING_NEIGHBOURS).fit(components[:, members])
    near = index.kneighbors(return_distance=False)
    shares = np.zeros(components.shape[1])
    for targets in (components, components**2):
        missed = np.square(targets - targets[near].mean(axis=1)).mean(axis=0) / targets.var(axis=0)
        shares = np.maximum(shares, 1.0 - missed / (1.0 + 1.0 / PREDICTING_NEIGHBOURS))
    return shares
