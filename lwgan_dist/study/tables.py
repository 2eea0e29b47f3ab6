"""The tables of a study, as Arrow schemas; the metadata say what each column holds (`lwgan_dist.results.describe`).

A *cell* is one (data, factors, n, method). ``data`` is the label of the data including the values of the factors that
concern it, ``method`` that of the method including the others, so (data, n, method) names a cell.
"""

from dataclasses import dataclass

import pyarrow as pa

from lwgan_dist.results import described

_text, _int, _float, _bool = pa.string(), pa.int64(), pa.float64(), pa.bool_()


_DESIGN = {
    "data": (_text, "label of the data, with noise and factors of the data"),
    "n": (_int, "rows of the sample"),
    "method": (_text, "LWGAN, LWGAN (rule), either with [factor=value], another model, or a classical estimator"),
}

RUNS = described(
    **_DESIGN,
    replicate=(_int, "number of the sample in the cell, from 0; equal numbers are equal samples in all methods"),
    initialisation=(_int, "number of the run on the sample, from 0"),
    key=(_text, "name of the run in the ledger; methods that judge one fit share it"),
    fingerprint=(_text, "identity of configuration and data, for LWGAN that of `lwgan-dist train`; null of a failure"),
    kind=(_text, "lwgan, model (another one) or classical"),
    factors=(_text, "JSON object: value of each factor"),
    data_seed=(_int, "seed of the sample"),
    seed=(_int, "seed of the run"),
    intrinsic_dim=(_int, "truth; null if unknown"),
    ambient_dim=(_int, "columns of the data; null of a failure"),
    value=(_float, "the estimate as the method gives it; null of a failure that gave none"),
    dimension=(_int, "the estimated dimension: a whole number; null of a failure"),
    correct=(_bool, "dimension equals intrinsic_dim; false of a failure; null if the truth is unknown"),
    failure=(_text, "why there is no dimension; null if there is one"),
    penalty=(_float, "lambda (LWGAN)"),
    score_se=(_float, "standard error of the score at the rank of the smallest score (LWGAN)"),
    margin=(_float, "distance of the two smallest penalised scores over the standard error of it (LWGAN)"),
    score_mean=(pa.list_(_float), "mean score by rank (LWGAN)"),
    score_errors=(pa.list_(_float), "standard error of the mean score by rank (LWGAN)"),
    cpu_seconds=(_float, "processor time of training and scoring, or of the estimator; 0 of a diverged run"),
    wall_seconds=(_float, "the same by the clock"),
    provenance=(_text, "identity of its origin in provenance.parquet; null: not recorded by an older version"),
)
"""``runs.parquet``: a row for each run, of LWGAN runs for each rank rule."""

CELLS = described(
    **_DESIGN,
    kind=(_text, "lwgan, model (another one) or classical"),
    factors=(_text, "JSON object: value of each factor"),
    intrinsic_dim=(_int, "truth; null if unknown, and then all that compares with it"),
    runs=(_int, "runs"),
    samples=(_int, "samples that they are on"),
    failures=(_int, "runs without a dimension; they count as incorrect"),
    correct=(_int, "runs with the true dimension"),
    p_correct=(_float, "correct / runs"),
    wilson_low=(_float, "95 % Wilson interval of P(correct), lower end"),
    wilson_high=(_float, "upper end"),
    exact_low=(_float, "95 % Clopper-Pearson interval of P(correct), lower end"),
    exact_high=(_float, "upper end"),
    sequence_low=(_float, "confidence sequence of P(correct), simultaneous over cells; null without stop_when"),
    sequence_high=(_float, "upper end"),
    p_under=(_float, "share of runs below the truth"),
    p_over=(_float, "share of runs above the truth"),
    bias=(_float, "mean of value - truth over the runs that did not fail"),
    bias_mcse=(_float, "Monte Carlo standard error of the bias"),
    rmse=(_float, "root mean square of value - truth"),
    rmse_mcse=(_float, "its Monte Carlo standard error"),
    modal_dimension=(_int, "the most frequent estimate"),
    modal_count=(_int, "how often"),
    mean_value=(_float, "mean of value over the runs that did not fail"),
    agreement=(_float, "share of pairs of runs on one sample with equal dimension; null with one run a sample"),
    penalty=(_float, "median lambda (LWGAN)"),
    score_se=(_float, "median standard error of the score (LWGAN)"),
    margin=(_float, "median margin (LWGAN)"),
    cpu_seconds=(_float, "mean processor time of a run"),
)
"""``cells.parquet``: a row for each cell, in the order of data, n, method."""

COMPARISONS = described(
    data=(_text, "label of the data"),
    n=(_int, "rows of the sample"),
    method_a=(_text, "first method"),
    method_b=(_text, "second method"),
    pairs=(_int, "samples on which both were run (of several runs on a sample, the first)"),
    only_a=(_int, "samples on which only the first is correct"),
    only_b=(_int, "samples on which only the second is correct"),
    p_value=(_float, "exact McNemar test of equal P(correct), two-sided"),
    p_holm=(_float, "the same adjusted by Holm over all rows of this table"),
)
"""``comparisons.parquet``: a row for each pair of methods on each (data, n) of known truth."""

TRENDS = described(
    data=(_text, "label of the data"),
    method=(_text, "method"),
    sizes=(_int, "number of sample sizes"),
    level=(_float, "level of P(correct)"),
    n_level=(_int, "smallest n at which the isotonic fit of P(correct) reaches it; null if none does"),
    n_low=(_float, "95 % bootstrap interval of it, lower end; inf: more than the largest n; null if not monotone"),
    n_high=(_float, "upper end"),
    reached=(_float, "share of bootstrap samples that reach it"),
    monotone=(_bool, "P(correct) may be rising with n; else there is no n_level"),
    isotonic=(pa.list_(_float), "isotonic fit of P(correct) at the sizes in ascending order"),
    se_slope=(_float, "slope of log SE_n on log n (LWGAN)"),
    se_slope_se=(_float, "its standard error"),
    penalty_slope=(_float, "slope of log lambda_n on log n (LWGAN)"),
    penalty_slope_se=(_float, "its standard error"),
)
"""``trends.parquet``: a row for each (data, method)."""

SENSITIVITY = described(
    **_DESIGN,
    exponent=(_float, "penalty exponent a in lambda = c SE^a"),
    constant=(_float, "penalty constant c"),
    runs=(_int, "runs that did not diverge"),
    correct=(_int, "of them, those with the true dimension"),
    modal_dimension=(_int, "the most frequent estimate"),
    changed=(_int, "runs whose estimate is another one than with the rule of the configuration"),
)
"""``sensitivity.parquet``: a row for each LWGAN cell, exponent and constant, judged from the stored scores."""

BOOTSTRAP = described(
    **_DESIGN,
    replicate=(_int, "number of the sample in the cell"),
    initialisation=(_int, "number of the run on the sample"),
    key=(_text, "the run that was bootstrapped"),
    kind=(_text, "parametric or rows"),
    intrinsic_dim=(_int, "truth; null if unknown"),
    dimension=(_int, "estimate of the run itself"),
    resamples=(_int, "refits that gave a dimension"),
    failures=(_int, "refits that did not"),
    ranks=(pa.list_(_int), "ranks that occurred, the most frequent first"),
    counts=(pa.list_(_int), "how often"),
    mode=(_int, "the most frequent rank"),
    mode_frequency=(_float, "its share of the refits"),
    rank_set=(pa.list_(_int), "smallest set of ranks with at least the mass asked for, ascending"),
    mass=(_float, "its share of the refits"),
    covers=(_bool, "the set holds the truth; null if unknown"),
)
"""``bootstrap.parquet``: a row for each LWGAN run and kind of bootstrap, judged by the rule of the configuration."""

COVERAGE = described(
    **_DESIGN,
    kind=(_text, "parametric or rows"),
    runs=(_int, "runs that were bootstrapped"),
    covers=(_int, "of them, those whose set holds the truth; null if it is unknown, as all that compares with it"),
    p_covers=(_float, "covers / runs"),
    wilson_low=(_float, "95 % Wilson interval of P(covers)"),
    wilson_high=(_float, "upper end"),
    exact_low=(_float, "95 % Clopper-Pearson interval of P(covers)"),
    exact_high=(_float, "upper end"),
    mean_set_size=(_float, "mean number of ranks in the set"),
    p_mode_correct=(_float, "share of runs whose most frequent rank is the truth"),
)
"""``coverage.parquet``: a row for each LWGAN cell and kind of bootstrap."""

SOLVED = described(
    data=(_text, "label of the data"),
    method=(_text, "method"),
    intrinsic_dim=(_int, "truth"),
    target=(_float, "of P(correct)"),
    outcome=(
        _text,
        "solved: the interval is as narrow as asked for; at most: the target is reached at the smallest n; more: not "
        "at the largest; falls: P(correct) falls with n; undecided: no more runs are allowed; unfinished: a run did "
        "not finish",
    ),
    n=(_int, "estimate of the n at which P(correct) reaches the target; null if it is not between the sizes"),
    n_low=(_float, "interval: it is above this n; 0: perhaps below the smallest; null where P(correct) falls"),
    n_high=(_float, "and not above this one; inf: perhaps above the largest"),
    confidence=(_float, "probability with which the interval holds it, whenever the search stops"),
    runs=(_int, "runs of the search"),
    sizes=(pa.list_(_int), "n at which there are runs"),
    size_runs=(pa.list_(_int), "runs at these n"),
    size_correct=(pa.list_(_int), "of them, those with the true dimension"),
)
"""``solved.parquet``: a row for each (data, method) that the n was searched for, in the order of the configuration."""

PROVENANCE = described(
    provenance=(_text, "identity of the origin, as in the table of runs; null: not recorded by an older version"),
    runs=(_int, "runs of this origin; a fit that several rank rules judge counts once"),
    commit=(_text, "commit of the checkout, with + for local changes; null outside a checkout"),
    host=(_text, "name of the machine"),
    platform=(_text, "operating system"),
    processor=(_text, "model of the processor"),
    processors=(_int, "their number"),
    accelerator=(_text, "model of the first GPU that the process saw; null without one"),
    versions=(_text, "of Python and of the packages that a number may depend on"),
)
"""``provenance.parquet``: a row for each origin of runs, the most frequent first."""

LEADERBOARD = described(
    **_DESIGN,
    kind=(_text, "lwgan, model (another one) or classical"),
    intrinsic_dim=(_int, "truth"),
    runs=(_int, "runs"),
    draws=(_int, "independent samples that they are on: what the interval counts"),
    failures=(_int, "runs without a dimension; they count as incorrect"),
    p_correct=(_float, "share of the runs with the true dimension"),
    low=(_float, "95 % interval of P(correct), lower end"),
    high=(_float, "upper end"),
    interval=(_text, "Clopper-Pearson, or confidence sequence where replicates were added on demand"),
    mean_error=(_float, "mean of |value - truth| over the runs that did not fail"),
    mean_error_mcse=(_float, "its Monte Carlo standard error; null of one sample"),
    cpu_seconds=(_float, "mean processor time of a run"),
    best=(_text, "the method that is most often right on this data and n"),
    p_best=(
        _float,
        "exact McNemar test against it on equal samples, adjusted by Holm over all pairs; null of itself, and where "
        "methods were not compared",
    ),
)
"""``leaderboard.parquet`` of ``study publish``: a row for each (data, n, method) of known truth, the best first."""


@dataclass(frozen=True)
class StudyTables:
    """The tables of a study; the last five may be missing or empty."""

    runs: pa.Table
    cells: pa.Table
    comparisons: pa.Table
    trends: pa.Table
    sensitivity: pa.Table | None = None
    bootstrap: pa.Table | None = None
    coverage: pa.Table | None = None
    solved: pa.Table | None = None
    provenance: pa.Table | None = None
