"""The results of a search: how the estimated dimension varies over configurations, what it and the objective depend on.

Pure functions of Arrow tables of the schemas in `lwgan_dist.search.tables`. The order of the rows of a table does not
change a bit of what comes out: trials are taken in the order of their numbers.

Only finished trials have a dimension, of models that estimate one. Trials with one key are one configuration, which was
run once, so they count once, as the trial with the smallest number.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeRegressor

from lwgan_dist import seeding
from lwgan_dist.reporting.values import Row
from lwgan_dist.search.tables import DIMENSIONS, IMPORTANCES, PARAMETER, SearchTables

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DECILE_TRIALS = 3
"""Least number of trials in the best decile."""
IMPORTANCE_TRIALS = 10
"""Least number of trials for importances: with fewer, a fold would hold a single one."""
FOLDS = 5
TREES, DEPTH = 32, 8
"""Number and largest depth of the trees of each forest."""


@dataclass(frozen=True)
class Facts:
    """The results of a search in numbers; None where there is no such number."""

    finished: int
    stopped: int
    failed: int
    agreement: float | None
    """Share of the pairs of runs from different finished trials with equal estimates."""
    modal_dimension: int | None
    modal_share: float | None
    """Most frequent estimate over the runs of all finished trials, and its share."""
    best_modal_dimension: int | None
    best_modal_share: float | None
    """The same over the best decile of the trials."""
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    """Mean difference of the objective, best trial - default, on fresh seeds, and its 95 % t interval."""
    better: int
    worse: int
    pairs: int
    """Fresh seeds on which the best trial is better, worse, and those on which neither failed."""
    best_failures: int
    default_failures: int
    """Fresh seeds on which either failed."""
    best_number: int | None
    """Number of the best trial; None with several objectives or if none has finished."""
    default_objective: float | None
    best_objective: float | None
    """Objectives of these trials in the search."""
    cpu_seconds: float
    objectives: tuple[str, ...]
    """Labels of what is minimised."""
    intrinsic_dim: int | None


def pareto_front(objectives: ArrayLike) -> Flags:
    """Rows that no other row dominates: none is <= in all objectives and < in one. Equal rows are both in or both out.

    Time n f for n distinct rows and a front of f.

    Args:
        objectives: shape (n, k), k >= 1, minimised; infinite ones are allowed.

    Raises:
        ValueError: a nan, or not two-dimensional.

    Returns:
        Shape (n,).
    """
    values = np.asarray(objectives, dtype=np.float64)
    if values.ndim != 2 or np.isnan(values).any():
        raise ValueError(f"objectives must be of shape (n, k) and not nan, got shape {values.shape}")
    # In lexicographic order a row can be dominated only by an earlier one, and then also by one of the front so far.
    distinct, inverse = np.unique(values, axis=0, return_inverse=True)
    front, size = np.empty_like(distinct), 0
    inside = np.zeros(len(distinct), dtype=np.bool_)
    for index, row in enumerate(distinct):
        if not (front[:size] <= row).all(axis=1).any():
            front[size], inside[index] = row, True
            size += 1
    return np.asarray(inside[inverse.reshape(-1)])


def places(objectives: ArrayLike) -> list[int]:
    """Places 1..n in ascending order of the objective, shape (n,); of equal ones the earlier has the better place."""
    return [int(place) for place in stats.rankdata(objectives, method="ordinal")]


def paired_interval(differences: ArrayLike) -> tuple[float, float, float]:
    """Mean of n differences and its 95 % interval: mean -+ t_{0.975, n - 1} sd / sqrt(n), with sd over n - 1.

    It assumes independent, roughly normal differences. One difference says nothing about the spread, so with n < 2 the
    interval is (-inf, inf); with n = 0 the mean is nan.

    Args:
        differences: shape (n,), one for each pair.

    Returns:
        Mean, lower end, upper end.

    Source: Student 1908, Biometrika 6(1), 1-25.
    """
    values = np.asarray(differences, dtype=np.float64)
    n = len(values)
    if n < 2:
        return float(values[0]) if n else math.nan, -math.inf, math.inf
    mean = float(values.mean())
    half = float(stats.t.ppf(0.975, n - 1)) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def dimensions(trials: pa.Table, runs: pa.Table) -> pa.Table:
    """How often each dimension is estimated: over all finished trials, and over the best of them (`best_trials`).

    Args:
        trials: of schema TRIALS.
        runs: of schema RUNS; only runs of role trial count.

    Returns:
        Schema DIMENSIONS: all before best_decile, dimensions ascending. The shares of either sum to 1.
    """
    every_run, best = _trial_runs(trials, runs), best_trials(trials)
    rows = []
    for name, mine in (("all", every_run), ("best_decile", [run for run in every_run if run["number"] in best])):
        counts = Counter(run["dimension"] for run in mine)
        rows += [
            {"trials": name, "dimension": dimension, "runs": counts[dimension], "share": counts[dimension] / len(mine)}
            for dimension in sorted(counts)
        ]
    return pa.Table.from_pylist(rows, schema=DIMENSIONS)


def best_trials(trials: pa.Table) -> set[int]:
    """Numbers of the best finished trials: the tenth with the smallest objectives, rounded up, at least `DECILE_TRIALS`
    or all if there are fewer; of equal objectives that of the smaller number. With several objectives the Pareto front.
    """
    finished = _finished(trials)
    if any(row["objective"] is None for row in finished):
        return {row["number"] for row in finished if row["best"]}
    size = max(DECILE_TRIALS, -(-len(finished) // 10))
    placed = zip(finished, places([row["objective"] for row in finished]), strict=True)
    return {row["number"] for row, place in placed if place <= size}


def agreement(trials: pa.Table, runs: pa.Table, *, between: bool = True) -> float | None:
    """Share of the pairs of runs that estimate the same dimension: the stability of the estimate.

    With C_d runs of dimension d, of them c_td of trial t, and N and n_t the runs in all and of trial t, it is of pairs
    of different trials sum_d (C_d^2 - sum_t c_td^2) / (N^2 - sum_t n_t^2): 1 if the estimate does not depend on the
    configuration. Pairs of runs of one trial differ by the seed only.

    Args:
        trials: of schema TRIALS.
        runs: of schema RUNS; only runs of role trial count.
        between: pairs of runs of two different trials, else of one trial.

    Returns:
        In [0, 1]; None without such a pair.
    """
    rows = _trial_runs(trials, runs)
    equal, pairs = _pairs(rows, "number", "dimension"), _pairs(rows, "number")
    if between:
        equal, pairs = _pairs(rows, "dimension") - equal, _pairs(rows) - pairs
    return equal / pairs if pairs else None


def _pairs(rows: Sequence[Row], *columns: str) -> int:
    """Number of pairs of rows that agree in all these columns."""
    counts = Counter(tuple(row[name] for name in columns) for row in rows)
    return sum(count * (count - 1) // 2 for count in counts.values())


def importances(trials: pa.Table, parameters: Sequence[str], seed: int) -> pa.Table:
    """How much the objective and the estimated dimension depend on each parameter: fANOVA of random forests.

    The importance is the share of the variance of a forest's predictions that the parameter explains by itself,
    without interactions. The variance is over the values that the trials have: each parameter is drawn by itself, and
    each trial's value of it is equally likely, so that a value that repeats counts as often as it does. A forest is
    fitted to the trials without a fifth of them, five times: the importance is the mean over these fits,
    ``importance_sd`` their standard deviation (n - 1). ``forest_r2`` is R^2 of the predictions of the trials that a
    forest has not seen, at most 1, and below 0 where the forests predict worse than the mean does: then the importances
    are those of noise, which a forest follows as well. Parameters that vary together (one that is searched only where
    another has some value) share their importance.

    A parameter enters by the ranks of its values over the trials, so that its scale does not matter; booleans are 0
    and 1, texts their number in the sorted values, and null comes below all values. ``spearman`` is over the trials
    that have a value.

    A target that does not vary depends on nothing: importances 0, ``forest_r2`` and ``spearman`` null. There is no
    target dimension where the model estimates none.

    Args:
        trials: of schema TRIALS, with the columns of the parameters.
        parameters: paths of the searched fields.
        seed: of the search.

    Returns:
        Schema IMPORTANCES, for each target the parameters in their order. No rows for the target objective with
        several objectives, and none at all with fewer than `IMPORTANCE_TRIALS` finished trials.

    Source: Hutter, Hoos, Leyton-Brown 2014, ICML, PMLR 32, 754-762.
    """
    finished = _finished(trials)
    if len(finished) < IMPORTANCE_TRIALS or not parameters:
        return IMPORTANCES.empty_table()
    columns = [[row[PARAMETER + path] for row in finished] for path in parameters]
    features = np.stack([_feature(column) for column in columns], axis=1)
    ranks = stats.rankdata(np.where(np.isnan(features), -np.inf, features), axis=0)
    targets = {}
    if all(row["dimensions"] for row in finished):
        targets = {"dimension": np.array([np.mean(row["dimensions"]) for row in finished])}
    if all(row["objective"] is not None for row in finished):
        targets = {"objective": np.array([row["objective"] for row in finished], float)} | targets
    rows = []
    for name, target in targets.items():
        r2, shares = _explained(ranks, target, seeding.derive(seed, "search/importances") % 2**32)
        for place, path in enumerate(parameters):
            text = any(isinstance(value, str) for value in columns[place])
            rows.append({
                "target": name,
                "parameter": path,
                "importance": float(shares[:, place].mean()),
                "importance_sd": float(shares[:, place].std(ddof=1)),
                "spearman": None if text else _spearman(features[:, place], target),
                "forest_r2": r2,
                "trials": len(finished),
            })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=IMPORTANCES)


def _explained(ranks: Floats, target: Floats, seed: int) -> tuple[float | None, Floats]:
    """R^2 of the forests on held-out trials, and the shares of the parameters, shape (folds, parameters)."""
    shares, predicted = np.zeros((FOLDS, ranks.shape[1])), np.empty(len(target))
    if (target == target[0]).all():
        return None, shares
    ascending = np.sort(ranks, axis=0)
    for fold, (train, rest) in enumerate(KFold(FOLDS, shuffle=True, random_state=seed).split(ranks)):
        forest = RandomForestRegressor(TREES, max_depth=DEPTH, random_state=seed).fit(ranks[train], target[train])
        predicted[rest] = forest.predict(ranks[rest])
        shares[fold] = forest_shares(forest, ascending)
    return float(r2_score(target, predicted)), shares


def forest_shares(forest: RandomForestRegressor, ascending: Floats) -> Floats:
    """The share of a forest's variance that each parameter explains by itself: the mean over the trees that vary.

    The variance is over parameters that are drawn independently, each from the values in its column.

    Args:
        forest: fitted to the parameters.
        ascending: shape (n, parameters), the values of each parameter, sorted; numbers that float32 represents, as
            scikit-learn splits in it.

    Returns:
        Shape (parameters,), in [0, 1]; a parameter on which no tree splits has exactly 0.
    """
    shares = [share for tree in forest.estimators_ if (share := _tree_shares(tree, ascending)) is not None]
    return np.asarray(np.mean(shares, axis=0)) if shares else np.zeros(ascending.shape[1])


def _tree_shares(fitted: DecisionTreeRegressor, ascending: Floats) -> Floats | None:
    """As `forest_shares`, of one tree; None if it does not vary."""
    tree, n = fitted.tree_, len(ascending)
    leaves, (first, last) = tree.feature < 0, _boxes(fitted, ascending)
    first, last, outputs = first[leaves], last[leaves], tree.value[leaves, 0, 0]
    inside = (last - first) / n
    weights = inside.prod(axis=1)
    centred = outputs - weights @ outputs
    variance = weights @ centred**2
    if variance <= 0:
        return None
    shares = np.zeros(ascending.shape[1])
    for place in set(tree.feature[~leaves].tolist()):
        # The mean over the other parameters at each row: a leaf adds to the rows from its first up to its last.
        parts = centred * weights / inside[:, place]
        steps = np.bincount(first[:, place], parts, n + 1) - np.bincount(last[:, place], parts, n + 1)
        shares[place] = np.mean(np.cumsum(steps)[:n] ** 2) / variance
    return shares


def _boxes(fitted: DecisionTreeRegressor, ascending: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The values that reach a node: ``ascending[first[node, j] : last[node, j], j]``; shapes (nodes, parameters)."""
    tree = fitted.tree_
    first = np.zeros((tree.node_count, ascending.shape[1]), dtype=np.int64)
    last = np.full_like(first, len(ascending))
    for node in np.flatnonzero(tree.feature >= 0):  # parents come before their children
        place, left, right = tree.feature[node], tree.children_left[node], tree.children_right[node]
        first[[left, right]], last[[left, right]] = first[node], last[node]
        cut = np.searchsorted(ascending[:, place], tree.threshold[node], side="right")  # what is equal goes left
        last[left, place] = first[right, place] = cut
    return first, last


def facts(tables: SearchTables, objectives: Sequence[str], cpu_seconds: float) -> Facts:
    """The numbers that the page of a search is about.

    Trials are counted by number, so one that repeats another counts in ``finished``; everything on dimensions counts
    it once. With several objectives there is no single best trial: ``best_number`` and ``best_objective`` are None. A
    difference is best - default; a pair without one is left out of its mean. Of a pair in which only one failed, the
    other is better.

    Args:
        tables: the tables of a search.
        objectives: a label for each objective.
        cpu_seconds: processor time of everything that the search has run.
    """
    trials = sorted(tables.trials.to_pylist(), key=lambda row: row["number"])
    states = Counter(row["state"] for row in trials)
    modal, best_modal = (_mode(tables.dimensions, name) for name in ("all", "best_decile"))
    pairs = sorted(tables.confirmation.to_pylist(), key=lambda row: row["index"])
    differences = [row["difference"] for row in pairs if row["difference"] is not None]
    failed = [(row["best_failure"] is not None, row["default_failure"] is not None) for row in pairs]
    mean, low, high = paired_interval(differences)
    best = None if len(objectives) > 1 else next((row for row in trials if row["best"]), None)
    default = default_trial(trials)
    truths = {row["intrinsic_dim"] for row in trials} - {None}
    return Facts(
        finished=states["finished"],
        stopped=states["stopped"],
        failed=states["failed"],
        agreement=agreement(tables.trials, tables.runs),
        modal_dimension=modal[0],
        modal_share=modal[1],
        best_modal_dimension=best_modal[0],
        best_modal_share=best_modal[1],
        difference=mean if differences else None,
        difference_low=low if math.isfinite(low) else None,
        difference_high=high if math.isfinite(high) else None,
        better=sum(value < 0 for value in differences) + failed.count((False, True)),
        worse=sum(value > 0 for value in differences) + failed.count((True, False)),
        best_failures=sum(one for one, _ in failed),
        default_failures=sum(other for _, other in failed),
        pairs=len(differences),
        best_number=best["number"] if best else None,
        default_objective=default["objective"] if default else None,
        best_objective=best["objective"] if best else None,
        cpu_seconds=cpu_seconds,
        objectives=tuple(objectives),
        intrinsic_dim=truths.pop() if len(truths) == 1 else None,
    )


def has_estimates(trials: Sequence[Row]) -> bool:
    """Whether the model estimates a dimension, as far as its finished trials tell."""
    finished = [row for row in trials if row["state"] == "finished"]
    return not finished or any(row["dimension"] is not None for row in finished)


def default_trial(trials: Sequence[Row]) -> Row | None:
    """The trial of the default configuration, if it was tried."""
    return next((row for row in trials if row["origin"] == "default"), None)


def ranked(trials: Sequence[Row]) -> list[Row]:
    """Finished trials, the best first; of several objectives, the front first, then by the first objective."""

    def first(row: Row) -> float:
        goal = goal_of(row, 0)
        return goal if goal is not None and math.isfinite(goal) else math.inf

    done = [row for row in trials if row["state"] == "finished"]
    return sorted(done, key=lambda row: (row["place"] or 0, not row["best"], first(row), row["number"]))


def goal_of(trial: Row, place: int) -> float | None:
    """The objective of this place, None if there is none."""
    goals = trial["objectives"]
    return goals[place] if goals and place < len(goals) else None


def _finished(trials: pa.Table) -> list[Row]:
    """Finished trials in the order of their numbers; of those with one key the first."""
    rows = sorted(trials.filter(pc.field("state") == "finished").to_pylist(), key=lambda row: row["number"])
    once: dict[str, Row] = {}
    for row in rows:
        once.setdefault(row["key"], row)
    return list(once.values())


def _trial_runs(trials: pa.Table, runs: pa.Table) -> list[Row]:
    """Runs of finished trials with an estimate, each with the number of its trial in `_finished`.

    A trial that repeats another may have its runs in the table again; of runs with one key and seed the first counts.
    """
    first = {row["key"]: row["number"] for row in _finished(trials)}
    done = trials.select(["number", "key", "state"]).to_pylist()
    number = {row["number"]: first[row["key"]] for row in done if row["state"] == "finished"}
    table = runs.select(["number", "role", "index", "dimension"]).to_pylist()
    mine = [run for run in table if run["role"] == "trial" and run["number"] in number and run["dimension"] is not None]
    once: dict[tuple[int, int], Row] = {}
    for run in sorted(mine, key=lambda run: (run["number"], run["index"])):
        trial = number[run["number"]]
        once.setdefault((trial, run["index"]), run | {"number": trial})
    return [once[place] for place in sorted(once)]


def _feature(column: Sequence[Any]) -> Floats:
    """Values of a parameter as numbers, see `importances`; null as nan."""
    values = set(column) - {None}
    codes = {text: code for code, text in enumerate(sorted(values))} if any(isinstance(v, str) for v in values) else {}
    return np.array([math.nan if value is None else codes.get(value, value) for value in column], float)


def _spearman(values: Floats, target: Floats) -> float | None:
    """Spearman's rank correlation, in [-1, 1], over the rows with a value; None if either does not vary there."""
    given = ~np.isnan(values)
    values, target = values[given], target[given]
    if len(values) < 3 or (values == values[0]).all() or (target == target[0]).all():
        return None
    return float(stats.spearmanr(values, target).statistic)


def _mode(table: pa.Table, name: str) -> tuple[int | None, float | None]:
    """The most frequent dimension over trials ``name`` of a table of schema DIMENSIONS, of ties the smallest; share."""
    rows = [row for row in table.to_pylist() if row["trials"] == name]
    best = min(rows, key=lambda row: (-row["runs"], row["dimension"]), default={"dimension": None, "share": None})
    return best["dimension"], best["share"]
