"""Groups of coordinates that vary independently of each other.

Where data vary in many directions, rows lie far apart, and neither a graph of neighbours nor a network sees that some
of the directions belong to a curve or to a sphere. If those vary independently of the rest, as in a product of
manifolds, they can be looked at by themselves, and in few directions the same rows lie close together. Independent
component analysis finds the directions up to what belongs together; what does is seen by predicting one from the other.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

Array = NDArray[Any]

MOST_COMPONENTS = 30
"""With more directions above the resolution, no groups are looked for."""

MOST_MEMBERS = 10
"""Larger groups are not looked at by themselves: in so many directions rows lie far apart again."""

PREDICTING_NEIGHBOURS = 40
"""Nearest rows whose mean predicts a coordinate."""

DEPENDENCE = 0.035
"""Share of the variance of a coordinate, or of its square, that another group explains, from which on they may belong
together."""

QUADRIC = 0.5
"""Share of the variance of a square that the squares of others explain from which on they belong together .."""

QUADRIC_WEIGHT = 0.3
""".. those of them whose weight, in standard deviations, is above this."""

ROUNDING = 1e-6
"""Standard deviation, of columns of the order of 1, that is no variation."""

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


@dataclass(frozen=True)
class Hierarchy:
    """Groups of directions, and in which order they may be joined.

    Attributes:
        groups: the smallest ones; all directions are in one of them.
        joins: pairs to join one after the other, the most dependent first, and what arises.
        rest: the variance along directions that are in no group, below the resolution.
    """

    groups: list[Group]
    joins: list[tuple[Group, Group, Group]]
    rest: float


def independent_groups(rows: Array, resolution: float) -> Hierarchy:
    """The directions in which rows vary, in groups by their dependence.

    The principal components above the resolution are turned into independent components s_1 .. s_k. Those whose squares
    are a linear function of each other are a group from the beginning (`QUADRIC`). Groups A and B are joined while the
    mean over the 40 nearest rows in A explains more than `DEPENDENCE` of the variance of s_b or of s_b^2 for some b in
    B.

    Args:
        rows: shape (m, p), in units of their scale.
        resolution: directions of a smaller standard deviation are left out.

    Returns:
        No groups for rows that vary in less than two directions or in more than `MOST_COMPONENTS`.

    Source: Hyvarinen, Oja 2000 (FastICA); Cardoso 1998, "Multidimensional independent component analysis". Joining by
    prediction is ours.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    m = len(rows)
    centred = rows - rows.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    variances = sizes**2 / m
    count = int((variances > resolution**2).sum())
    rest = float(variances[count:].sum())
    if not 2 <= count <= MOST_COMPONENTS or m <= 2 * PREDICTING_NEIGHBOURS:
        return Hierarchy([], [], rest)
    with warnings.catch_warnings():  # components that are Gaussian have no direction to converge to
        warnings.simplefilter("ignore", ConvergenceWarning)
        components = FastICA(whiten=False, random_state=0).fit_transform(left[:, :count] * np.sqrt(m))
    if not np.isfinite(components).all():
        return Hierarchy([], [], rest)
    components /= components.std(axis=0)
    mixing = (left[:, :count] * sizes[:count]).T @ components / m  # along the principal axes, so in few columns

    def group(members: tuple[int, ...]) -> Group:
        axes, lengths, _ = np.linalg.svd(components[:, members] @ mixing[:, members].T, full_matrices=False)
        return Group(members, (axes * lengths)[:, : len(members)])

    quadrics = [group(members) for members in _quadrics(components)]
    return Hierarchy(quadrics, list(_joins(components, quadrics, group)), rest)


def _joins(
    components: Array, groups: list[Group], joined: Callable[[tuple[int, ...]], Group]
) -> Iterator[tuple[Group, Group, Group]]:
    """Joins the most dependent pair until no group explains another; groups of `MOST_MEMBERS` are not joined."""
    left = {group.members: group for group in groups}
    explained = {members: _explained(components, members) for members in left}
    while True:
        strength = {
            (one, other): explained[one][list(other)].max()
            for one in left
            for other in left
            if one != other and len(one) + len(other) <= MOST_MEMBERS
        }
        if not strength or max(strength.values()) <= DEPENDENCE:
            return
        one, other = max(strength, key=lambda pair: strength[pair])
        both = joined(tuple(sorted(one + other)))
        explained[both.members] = _explained(components, both.members)
        yield left.pop(one), left.pop(other), both
        left[both.members] = both


def _quadrics(components: Array) -> list[tuple[int, ...]]:
    """Components whose squares are a linear function of each other, as on spheres, together; the others alone.

    Predicting one from another hardly sees a sphere of many dimensions; all others together explain a square wholly.
    """
    squares = components**2 - (components**2).mean(axis=0)
    squares = squares / np.where(_varies(components**2), squares.std(axis=0), np.inf)  # 0 where it is rounding
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
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=PREDICTING_NEIGHBOURS).fit(components[:, members])
    near = index.kneighbors(return_distance=False)
    shares = np.zeros(components.shape[1])
    for targets in (components, components**2):
        missed = np.square(targets - targets[near].mean(axis=1)).mean(axis=0)
        variance = np.where(_varies(targets), targets.var(axis=0), 1.0)
        explained = 1.0 - missed / variance / (1.0 + 1.0 / PREDICTING_NEIGHBOURS)
        shares = np.maximum(shares, np.where(_varies(targets), explained, 0.0))
    return shares


def _varies(targets: Array) -> NDArray[np.bool_]:
    """Whether columns, of the order of 1, vary by more than rounding: the square of a column of -1 and 1 does not."""
    return np.asarray(targets.std(axis=0) > ROUNDING)
