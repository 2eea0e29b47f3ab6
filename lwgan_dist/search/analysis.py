"""What a search says: how the estimated dimension varies over configurations, what it and the objective depend on.

Pure functions of Arrow tables of the schemas in `lwgan_dist.search.tables`. The order of the rows of a table does not
change a bit of what comes out: trials are taken in the order of their numbers.

Only finished trials have a dimension. Trials with one key are one configuration that was carried out once, so they
count once, as the trial with the smallest number.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from lwgan_dist import seeding
from lwgan_dist.reporting.search_page import Facts, SearchTables
from lwgan_dist.search.tables import DIMENSIONS, IMPORTANCES, PARAMETER
from lwgan_dist.study.statistics import group_codes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DECILE_TRIALS = 3
"""Least number of trials in the best decile."""
IMPORTANCE_TRIALS = 10
"""Least number of trials for importances: with fewer, a fold would hold a single one."""
FOLDS = 5
TREES = 100
LEAF = 2
"""Least number of trials in a leaf of a tree: a single one would be followed with its noise."""
PERMUTATIONS = 10


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
    values = np.asarray(objectives, dtype=np.float64)
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    return [int(rank) for rank in ranks]


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
    """How often each dimension is estimated: over all finished trials, and over the best of them.

    The best are the tenth with the smallest objectives, rounded up, at least `DECILE_TRIALS` or all if there are fewer;
    of equal objectives that of the smaller number. With several objectives they are the Pareto front.

    Args:
        trials: of schema TRIALS.
        runs: of schema RUNS; only runs of role trial count.

    Returns:
        Schema DIMENSIONS: all before best_decile, dimensions ascending. The shares of either sum to 1.
    """
    finished = _finished(trials)
    trial, dimension, _ = _trial_runs(trials, runs)
    rows = []
    for name, chosen in (("all", np.ones(len(finished), dtype=np.bool_)), ("best_decile", _best_decile(finished))):
        values, counts = np.unique(dimension[chosen[trial]], return_counts=True)
        total = int(counts.sum())
        rows += [
            {"trials": name, "dimension": value, "runs": count, "share": count / total}
            for value, count in zip(values.tolist(), counts.tolist(), strict=True)
        ]
    return pa.Table.from_pylist(rows, schema=DIMENSIONS)


def agreement(trials: pa.Table, runs: pa.Table) -> float | None:
    """Stability of the estimate: share of the pairs of runs of two different trials that estimate the same dimension.

    With C_d runs of dimension d, of them c_td of trial t, and N and n_t the runs in all and of trial t, that is
    sum_d (C_d^2 - sum_t c_td^2) / (N^2 - sum_t n_t^2): 1 if the estimate does not depend on the configuration. Pairs
    of runs of one trial, which differ by the seed only, do not count.

    Args:
        trials: of schema TRIALS.
        runs: of schema RUNS; only runs of role trial count.

    Returns:
        In [0, 1]; None with fewer than two finished trials.
    """
    trial, dimension, _ = _trial_runs(trials, runs)

    def squares(*keys: Ints) -> int:
        return int((np.bincount(group_codes(*keys)[0]) ** 2).sum())

    pairs = len(trial) ** 2 - squares(trial)
    return (squares(dimension) - squares(trial, dimension)) / pairs if pairs else None


def importances(trials: pa.Table, parameters: Sequence[str], seed: int) -> pa.Table:
    """How much the objective and the estimated dimension depend on each parameter, by a random forest.

    The trials are split into `FOLDS` folds, and each fold is predicted by a forest that was trained on the others. With
    y the targets of all trials, z these predictions and z' those after the values of a parameter were permuted over
    all trials, the importance is::

        R^2(y, z) - R^2(y, z'),   R^2(y, z) = 1 - sum (y - z)^2 / sum (y - mean(y))^2

    averaged over `PERMUTATIONS` permutations, with their standard deviation (n - 1). It is 0 for a parameter that no
    forest uses, and may be below 0 by chance. R^2(y, z) is ``forest_r2``, at most 1, and below 0 where the forests
    predict worse than the mean does: then the importances say nothing. Parameters that vary together (one that is
    searched only where another has some value) share their importance. Where nothing matters, importances vary about 0
    with a standard deviation of about 0.1 with 30 to 60 trials and 0.04 with 200 (4 parameters, by simulation).

    Numbers enter as they are (a forest is indifferent to a logarithm), booleans as 0 and 1, texts as their number in
    the sorted values, so that permuting the one column permutes the parameter as a whole; null is missing, which a
    split of a tree sends to one side. ``spearman`` is over the trials that have a value.

    A target that does not vary depends on nothing: importances 0, ``forest_r2`` and ``spearman`` null.

    Args:
        trials: of schema TRIALS, with the columns of the parameters.
        parameters: paths of the searched fields.
        seed: of the search.

    Returns:
        Schema IMPORTANCES, for each target the parameters in their order. No rows for the target objective with
        several objectives, and none at all with fewer than `IMPORTANCE_TRIALS` finished trials.

    Source: Breiman 2001, Machine Learning 45(1), 5-32, section 10, with folds in place of out-of-bag trials.
    """
    finished = _finished(trials)
    if len(finished) < IMPORTANCE_TRIALS or not parameters:
        return IMPORTANCES.empty_table()
    columns = [finished.column(PARAMETER + parameter) for parameter in parameters]
    features = np.stack([_feature(column) for column in columns], axis=1)
    targets = {"dimension": np.array([np.mean(values) for values in finished.column("dimensions").to_pylist()])}
    if not finished.column("objective").null_count:
        targets = {"objective": _floats(finished.column("objective"))} | targets
    rows = []
    for name, target in targets.items():
        r2, losses = _permutation_losses(features, target, seed)
        rows += [
            {
                "target": name,
                "parameter": parameter,
                "importance": float(losses[index].mean()),
                "importance_sd": float(losses[index].std(ddof=1)),
                "spearman": None if _is_text(columns[index]) else _spearman(features[:, index], target),
                "forest_r2": r2,
                "trials": len(finished),
            }
            for index, parameter in enumerate(parameters)
        ]
    return pa.Table.from_pylist(rows, schema=IMPORTANCES)


def facts(tables: SearchTables, objectives: Sequence[str]) -> Facts:
    """The numbers that the page of a search is about.

    Trials are counted by number, so one that repeats another counts in ``finished``; everything on dimensions counts
    it once, and so does ``cpu_seconds``, which is of all runs in the table of runs. With several objectives there is
    no single best trial: ``best_number`` and ``best_objective`` are None. A difference is best - default; a pair
    without one is left out of its mean. Of a pair in which only one failed, the other is better.

    Args:
        tables: the tables of a search.
        objectives: a label for each objective.
    """
    states = tables.trials.column("state").to_pylist()
    modal = {name: _mode(tables.dimensions, name) for name in ("all", "best_decile")}
    differences = _floats(tables.confirmation.sort_by("index").column("difference").drop_null())
    failed = {
        role: np.asarray(tables.confirmation.column(f"{role}_failure").is_valid()) for role in ("best", "default")
    }
    mean, low, high = paired_interval(differences) if len(differences) else (None, None, None)
    best = None if len(objectives) > 1 else _first(tables.trials, pc.field("best"))
    default = _first(tables.trials, pc.field("origin") == "default")
    truths = set(tables.trials.column("intrinsic_dim").drop_null().to_pylist())
    others = _floats(tables.runs.filter(pc.field("role") != "trial").column("cpu_seconds"))
    seconds = np.concatenate([_trial_runs(tables.trials, tables.runs)[2], others])
    return Facts(
        finished=states.count("finished"),
        stopped=states.count("stopped"),
        failed=states.count("failed"),
        agreement=agreement(tables.trials, tables.runs),
        modal_dimension=modal["all"][0],
        modal_share=modal["all"][1],
        best_modal_dimension=modal["best_decile"][0],
        best_modal_share=modal["best_decile"][1],
        difference=mean,
        difference_low=low if low is not None and math.isfinite(low) else None,
        difference_high=high if high is not None and math.isfinite(high) else None,
        better=int((differences < 0).sum()) + int((failed["default"] & ~failed["best"]).sum()),
        worse=int((differences > 0).sum()) + int((failed["best"] & ~failed["default"]).sum()),
        best_failures=int(failed["best"].sum()),
        default_failures=int(failed["default"].sum()),
        pairs=len(differences),
        best_number=best["number"] if best else None,
        default_objective=default["objective"] if default else None,
        best_objective=best["objective"] if best else None,
        # An exact sum does not depend on the order of the rows.
        cpu_seconds=math.fsum(seconds[~np.isnan(seconds)]),
        objectives=tuple(objectives),
        intrinsic_dim=truths.pop() if len(truths) == 1 else None,
    )


def _floats(column: Any) -> Floats:
    """A numeric or boolean column, null as nan."""
    return np.asarray(column.cast(pa.float64()).to_numpy())


def _finished(trials: pa.Table) -> pa.Table:
    """Finished trials in the order of their numbers; of those with one key the first."""
    rows = trials.filter(pc.field("state") == "finished").sort_by("number")
    _, first = group_codes(np.array(rows.column("key").to_pylist(), dtype=np.str_))
    return rows.take(pa.array(np.sort(first)))


def _trial_runs(trials: pa.Table, runs: pa.Table) -> tuple[Ints, Ints, Floats]:
    """Runs of finished trials: trial (its row in `_finished`), dimension and processor time (nan if unknown).

    A trial that repeats another may have its runs in the table again; of runs with one key and seed the first counts.
    """
    row_of_key = {key: row for row, key in enumerate(_finished(trials).column("key").to_pylist())}
    done = trials.filter(pc.field("state") == "finished")
    row_of_number = {
        number: row_of_key[key]
        for number, key in zip(done.column("number").to_pylist(), done.column("key").to_pylist(), strict=True)
    }
    of_trials = runs.filter(
        (pc.field("role") == "trial") & pc.field("number").isin(pa.array(list(row_of_number), pa.int64()))
    )
    of_trials = of_trials.sort_by([("number", "ascending"), ("index", "ascending")])
    trial = np.array([row_of_number[number] for number in of_trials.column("number").to_pylist()], dtype=np.int64)
    _, first = group_codes(trial, np.asarray(of_trials.column("index").to_numpy()))
    dimension = np.asarray(of_trials.column("dimension").to_numpy())
    return trial[first], dimension[first], _floats(of_trials.column("cpu_seconds"))[first]


def _best_decile(finished: pa.Table) -> Flags:
    """Which rows of `_finished` are the best, see `dimensions`."""
    if finished.column("objective").null_count:
        return np.asarray(_floats(finished.column("best")) == 1)
    size = max(DECILE_TRIALS, -(-len(finished) // 10))
    return np.array(places(_floats(finished.column("objective"))), dtype=np.int64) <= size


def _is_text(column: Any) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _feature(column: Any) -> Floats:
    """Values of a parameter as numbers, see `importances`; null as nan."""
    if not _is_text(column):
        return _floats(column)
    values = column.to_pylist()
    codes = {text: float(code) for code, text in enumerate(sorted(set(values) - {None}))}
    return np.array([codes.get(value, math.nan) for value in values])


def _permutation_losses(features: Floats, target: Floats, seed: int) -> tuple[float | None, Floats]:
    """R^2 of the forests on held-out trials, and its losses, shape (parameters, permutations); see `importances`."""
    rows, parameters = features.shape
    if (target == target[0]).all():
        return None, np.zeros((parameters, PERMUTATIONS))
    state = seeding.derive(seed, "search/importances") % 2**32
    generator = seeding.generator(seed, "search/importances/permutations")
    orders = np.stack([generator.permutation(rows) for _ in range(PERMUTATIONS)])
    predicted = np.empty(rows)
    permuted = np.empty((parameters, PERMUTATIONS, rows))
    for train, held in KFold(FOLDS, shuffle=True, random_state=state).split(features):
        forest = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=state)
        forest.fit(features[train], target[train])
        predicted[held] = forest.predict(features[held])
        # All permutations in one call: a call costs more than the rows of a small search.
        asked = np.tile(features[held].astype(np.float32), (parameters, PERMUTATIONS, 1, 1))
        for index in range(parameters):
            asked[index, :, :, index] = features[orders[:, held], index]
        answers = forest.predict(asked.reshape(-1, parameters))
        permuted[:, :, held] = answers.reshape(parameters, PERMUTATIONS, len(held))
    r2 = float(r2_score(target, predicted))
    spread = ((target - target.mean()) ** 2).sum()
    return r2, r2 - (1 - ((target - permuted) ** 2).sum(axis=2) / spread)


def _spearman(values: Floats, target: Floats) -> float | None:
    """Spearman's rank correlation, in [-1, 1], over the rows with a value; None if either does not vary there."""
    given = ~np.isnan(values)
    values, target = values[given], target[given]
    if len(values) < 3 or (values == values[0]).all() or (target == target[0]).all():
        return None
    return float(stats.spearmanr(values, target).statistic)


def _mode(table: pa.Table, name: str) -> tuple[int | None, float | None]:
    """The most frequent dimension over trials ``name`` of a table of schema DIMENSIONS, of ties the smallest; share."""
    rows = table.filter(pc.field("trials") == name).sort_by([("runs", "descending"), ("dimension", "ascending")])
    return (rows["dimension"][0].as_py(), rows["share"][0].as_py()) if len(rows) else (None, None)


def _first(trials: pa.Table, condition: Any) -> dict[str, Any] | None:
    """The trial of the smallest number for which the condition holds."""
    rows = trials.filter(condition).sort_by("number").slice(0, 1).to_pylist()
    return rows[0] if rows else None
