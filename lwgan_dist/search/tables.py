"""The tables of a search, as Arrow schemas; the metadata say what each column holds (`lwgan_dist.results.describe`).

A *trial* is a configuration that was tried, with its number; it has one run for each seed.
"""

from dataclasses import dataclass

import pyarrow as pa

from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.results import described

_text, _int, _float, _bool = pa.string(), pa.int64(), pa.float64(), pa.bool_()


PARAMETER = "parameters."
"""Prefix of the columns that hold the values of the searched fields."""

MEASURES = {
    **{name: (_float, metric.doc) for name, metric in METRICS.items() if metric.default},
    "miss": (_float, "1 if the estimate is not the truth, else 0; null without estimate or known truth"),
    "dimension_error": (_float, "|estimate - truth|; null without estimate or known truth"),
    "cpu_seconds": (_float, "processor time of training and scoring"),
}

TRIALS = described(
    number=(_int, "of the trial, in the order of the proposals"),
    key=(_text, "name of the trial in the ledger; equal configurations have one name and are run once"),
    origin=(_text, "default, paper, given (an initial point), or proposed"),
    state=(_text, "finished, stopped (by the scheduler) or failed"),
    failure=(_text, "why a failed trial has no objective; null else"),
    objectives=(pa.list_(_float), "what is minimised, means over the seeds; null unless finished"),
    objective=(_float, "the same if it is one; null unless finished"),
    place=(_int, "1 for the best finished trial by objective; null with several objectives or unless finished"),
    best=(_bool, "the best trial, or one of the Pareto front"),
    reports=(pa.list_(_float), "interim objectives that the scheduler saw"),
    dimension=(
        _int,
        "most frequent estimate over the seeds, of ties the smallest; null unless finished, or of a model without one",
    ),
    dimensions=(pa.list_(_int), "estimates by seed"),
    intrinsic_dim=(_int, "truth; null if unknown"),
    **{name: (kind, f"mean over the seeds of: {doc}") for name, (kind, doc) in MEASURES.items()},
)
"""``trials.parquet``: a row for each trial; further columns `PARAMETER` + path (float, int, bool or text) hold the
values of the searched fields, null where a condition excludes the field."""

RUNS = described(
    number=(_int, "of the trial, of several of one key the first; null of a comparison with the default"),
    role=(_text, "trial, or in a comparison best or default"),
    index=(_int, "of the seed in the trial or the comparison, from 0"),
    fingerprint=(_text, "identity of configuration and data, that of `lwgan-dist train`"),
    data_seed=(_int, "seed of the sample"),
    seed=(_int, "seed of the run"),
    dimension=(_int, "the estimated dimension; null of a model that estimates none"),
    **MEASURES,
)
"""``runs.parquet``: a row for each finished run of a finished trial and of the comparison."""

CONFIRMATION = described(
    index=(_int, "of the pair: both runs have the same sample, split and seed, not used in the search"),
    best=(_float, "objective of the best trial's configuration"),
    default=(_float, "objective of the default configuration"),
    difference=(_float, "best - default: below 0 the best trial is better; null if one of them failed"),
    best_failure=(_text, "why the best trial's configuration has no objective; null if it has one"),
    default_failure=(_text, "the same of the default"),
    best_dimension=(_int, "estimate of the best trial's configuration"),
    default_dimension=(_int, "estimate of the default configuration"),
)
"""``confirmation.parquet``: a row for each fresh seed."""

DIMENSIONS = described(
    trials=(_text, "all (finished) or best_decile (of them by objective, at least 3)"),
    dimension=(_int, "an estimated dimension"),
    runs=(_int, "runs that gave it"),
    share=(_float, "of all runs of these trials"),
)
"""``dimensions.parquet``: the distribution of the estimate over trials."""

IMPORTANCES = described(
    target=(_text, "objective or dimension"),
    parameter=(_text, "path of the searched field"),
    importance=(_float, "share of the variance of a forest's predictions that it explains by itself (fANOVA)"),
    importance_sd=(_float, "standard deviation over five fits, each without a fifth of the trials"),
    spearman=(_float, "rank correlation with the target; null where the values have no order or do not vary"),
    forest_r2=(_float, "R^2 of the forests on trials they were not fitted to: unless above 0, importances say nothing"),
    trials=(_int, "finished trials that this rests on"),
)
"""``importances.parquet``: a row for each target and parameter."""


@dataclass(frozen=True)
class SearchTables:
    """The tables of a search."""

    trials: pa.Table
    runs: pa.Table
    confirmation: pa.Table
    dimensions: pa.Table
    importances: pa.Table
