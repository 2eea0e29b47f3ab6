"""The page of a finished run: numbers and tables here, sentences in ``templates/run.jinja``.

It is drawn from the folder, and from the data where they can be read again.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from lwgan_dist.data.blocks import flat
from lwgan_dist.data.sample import Sample
from lwgan_dist.data.standardize import Picked
from lwgan_dist.errors import ConfigError, UserError
from lwgan_dist.fitted import FittedModel
from lwgan_dist.metrics.registry import METRICS, floor_of
from lwgan_dist.reporting import figures as drawn
from lwgan_dist.reporting import files
from lwgan_dist.reporting.answer import answer_sentence, stance, value_of
from lwgan_dist.reporting.components import component_words
from lwgan_dist.reporting.page import Grid, Page
from lwgan_dist.reporting.pictures import TITLES, Shown, pictures
from lwgan_dist.reporting.terminal import describe_evidence
from lwgan_dist.reporting.values import number_text, value_text
from lwgan_dist.results import Replicate, RunResult, scores_from_parquet
from lwgan_dist.run.folder import CONFIG_FILE, ENVIRONMENT_FILE, SCORES_FILE, Environment, read_result, run_files
from lwgan_dist.run.run import Run
from lwgan_dist.seeding import generator
from lwgan_dist.storage import Folder, damage_named
from lwgan_dist.training.checkpoint import Checkpoints

MOST_ROWS = 4_096
"""Rows of the training and of the hold-out part that are looked at."""
WORST_ROWS, DRAWN_COLUMNS, MOST_COLUMNS = 15, 5, 200
"""Lines of the table of rows; columns that are drawn; columns beyond which a table has no comparison of each."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Views:
    """What is drawn of the model and the data; empty where these cannot be read again."""

    figures: Mapping[str, Figure]
    worst: Grid | None = None
    columns: Grid | None = None
    by_chance: float | None = None


def write_report(folder: Folder, beside: Folder | None = None) -> str:
    """Write ``report.html`` into the folder of a finished run; its location.

    Args:
        folder: of the run.
        beside: the folder of another finished run, which is set beside it.

    Raises:
        ConfigError: a folder holds no finished run, or both are the same.
    """
    result = read_result(folder)
    results: dict[str, RunResult] = {}
    if beside is not None:
        results = dict(zip(_names(folder, beside), (result, read_result(beside)), strict=True))
    figures = {"rank_scores": drawn.rank_score_figure(result)}
    if "reconstruction" in result.rank_scores[0].components and folder.has(SCORES_FILE):
        with damage_named(f"{folder.location}/{SCORES_FILE}"):
            tables = scores_from_parquet(folder.read(SCORES_FILE))
        figures |= _some({"splits": drawn.splits_figure(result, tables, "reconstruction")})
    if results:
        figures["beside"] = drawn.beside_figure(results)
    unread, views = _views(folder, result)
    page = _page(folder, result, results, views, unread)
    folder.write(files.PAGE, page.html({**figures, **views.figures}).encode())
    return f"{folder.location}/{files.PAGE}"


def _some(figures: Mapping[str, Figure | None]) -> dict[str, Figure]:
    return {name: figure for name, figure in figures.items() if figure is not None}


def _names(folder: Folder, beside: Folder) -> list[str]:
    """The shortest ends of the paths of two folders that tell them apart.

    Raises:
        ConfigError: they are the same.
    """
    paths = [Path(one.location).parts for one in (folder, beside)]
    if paths[0] == paths[1]:
        raise ConfigError(f"--compare: {beside.location} is the run itself")
    length = next(k for k in range(1, max(map(len, paths)) + 1) if paths[0][-k:] != paths[1][-k:])
    return ["/".join(path[-length:]) for path in paths]


def _views(folder: Folder, result: RunResult) -> tuple[list[str], Views]:
    """What is drawn with the data, or why they could not be read again."""
    try:
        run = Run.of(folder)
    except (UserError, OSError) as error:
        return [f"What is drawn from the data is left out: {error}"], Views({})
    model = FittedModel.load(folder.sub("model"))
    state = Checkpoints(folder.sub("checkpoints")).newest()
    losses = [] if state is None else state.meta["losses"]
    ranks = [row.rank for row in result.rank_scores]
    shown = Shown(result.model, model, model.dimension, ranks, losses)
    figures = pictures(run.sample, [shown])
    errors = _row_errors(run.sample, model) if model.encodes and run.sample.stream is None else {}
    if errors:
        named = {"training rows": errors["train"], "hold-out rows": errors["holdout"]}
        figures["rows"] = drawn.row_errors_figure({name: e for name, e in named.items() if len(e)}, model.dimension)
    columns, chance = None, None
    if len(run.sample.shape) == 1 and 1 < run.sample.ambient_dim <= MOST_COLUMNS:
        columns, chance, figures["columns"] = _columns(run.sample, model, result.seed)
    return [], Views(figures, _worst(run.sample, errors), columns, chance)


def _row_errors(sample: Sample, model: FittedModel) -> dict[str, Array]:
    """||x - G(Q(x))|| of the first rows of each part, standardised."""
    errors = {}
    for split in ("train", "holdout"):
        rows = sample.standardizer.undo(getattr(sample, split)[:MOST_ROWS])
        again = model.decode(model.encode(rows)) if len(rows) else rows
        errors[split] = np.linalg.norm(flat((rows - again) / sample.standardizer.scale), axis=1)
    return errors


def _worst(sample: Sample, errors: Mapping[str, Array]) -> Grid | None:
    """The rows with the largest errors, with their place among those that were read."""
    lines = []
    for split, label in (("train", "training"), ("holdout", "hold-out")):
        rows = getattr(sample, split)
        if split in errors and isinstance(rows, Picked):
            median = float(np.median(errors[split])) if len(errors[split]) else 0.0
            lines += [
                (error, [str(rows.picks[place]), label, f"{error:.4f}", f"{error / max(median, 1e-12):.1f}"])
                for place, error in enumerate(errors[split].tolist())
            ]
    lines.sort(key=lambda line: -line[0])
    header = ["row", "part", "reconstruction error", "times the median of its part"]
    return Grid(header, [texts for _, texts in lines[:WORST_ROWS]], left=2) if lines else None


def _columns(sample: Sample, model: FittedModel, seed: int) -> tuple[Grid, float, Figure]:
    """The distributions of the columns of the data and of generated rows, the most different first."""
    count = min(MOST_ROWS, len(sample.train)) or MOST_ROWS
    real = sample.standardizer.undo(sample.draw(generator(seed, "columns of the page"), count))
    made = model.generate(count, seed=seed)
    distances = np.array([ks_2samp(real[:, i], made[:, i]).statistic for i in range(real.shape[1])])
    order = np.argsort(-distances, kind="stable")
    lines = [
        [model.columns[i], f"{distances[i]:.3f}", *(number_text(float(of(rows[:, i]))) for of in (np.mean, np.std)
                                                     for rows in (real, made))]
        for i in order
    ]  # fmt: skip
    header = ["column", "distance", "mean", "generated", "standard deviation", "generated"]
    first = order[:DRAWN_COLUMNS]
    figure = drawn.columns_figure(real[:, first], made[:, first], [model.columns[i] for i in first])
    return Grid(header, lines), 1.63 * np.sqrt(2 / count), figure  # 1.63: the 1 % point of Kolmogorov's distribution


def _page(
    folder: Folder, result: RunResult, results: Mapping[str, RunResult], views: Views, unread: Sequence[str]
) -> Page:
    environment = folder.read_json(ENVIRONMENT_FILE, Environment) if folder.has(ENVIRONMENT_FILE) else Environment()
    content = {
        "answer": answer_sentence(result),
        "warnings": [*(str(finding) for finding in result.findings), *result.notes, *unread],
        "scores": _scores(result),
        "beside": _beside(results) if results else None,
        "evidence": describe_evidence(result),
        "competitors": _competitors(result),
        "fits": _fits(result),
        "rank": result.dimension or result.max_dimension,
        "worst": views.worst,
        "shown": [kind for kind in TITLES if kind in views.figures],
        "columns": views.columns,
        "by_chance": number_text(views.by_chance),
        "metrics": _metrics(result),
        "provenance": _provenance(result, environment),
        "config": folder.read(CONFIG_FILE).decode(errors="replace") if folder.has(CONFIG_FILE) else "",
        "files": files.relative(folder, run_files(folder)),
    }
    captions = TITLES | {
        "rank_scores": "Score by rank, its components and the dimension by resolution",
        "beside": "Scores of both runs by rank; the chosen dimensions are shaded",
        "splits": "Reconstruction error by rank on training and on hold-out rows",
        "rows": "Share of the rows with at most this reconstruction error",
        "columns": "Quantiles of the generated columns against those of the data, of the most different ones",
    }
    title = f"Run: {Path(folder.location).name}"
    return Page("run/templates/run.jinja", title, datetime.now(UTC).date(), content, captions)


def _scores(result: RunResult) -> Grid:
    words = component_words(result)
    by_resolution = result.resolution is not None
    header = ["rank", "score", "± SE", *(["refused by"] if by_resolution else []), *(w.label for w in words.values())]
    lines = []
    for row in result.rank_scores:
        refused = "-" if row.refused is None or row.refused <= 0 else f"{row.refused:.4f}"
        judged = [refused] if by_resolution else []
        chosen = f"{row.rank}{' (chosen)' if row.rank == result.dimension else ''}"
        numbers = [f"{row.components[name]:.4f}" for name in words]
        lines.append([chosen, f"{row.score:.4f}", f"{row.se:.4f}", *judged, *numbers])
    return Grid(header, lines)


def _competitors(result: RunResult) -> Grid | None:
    """What classical estimators say, and whether they agree."""
    lines = [
        [one.name, value_of(one), value_text(one.dimension), one.failure or value_text(stance(result, one)),
         f"{one.cpu_seconds:.2f}"]
        for one in result.competitors
    ]  # fmt: skip
    return Grid(["estimator", "value", "rounded", "beside the answer", "CPU seconds"], lines) if lines else None


def _fits(result: RunResult) -> Grid | None:
    """The first fit and its replicates."""
    if result.fits is None:
        return None
    first = Replicate(
        seed=result.seed, dimension=result.dimension, rank_set=result.rank_set, other_dimension=result.other_dimension,
        run_dir=".",
    )  # fmt: skip
    lines = [
        [str(one.seed), value_text(one.dimension), value_text(_span(one.rank_set)), value_text(one.other_dimension),
         one.failure or one.run_dir]
        for one in (first, *result.fits.replicates)
    ]  # fmt: skip
    return Grid(["seed", "dimension", "rank set", "on the other rows", "run folder"], lines)


def _span(ranks: Sequence[int] | None) -> str | None:
    return f"{ranks[0]} to {ranks[-1]}" if ranks else None


def _beside(results: Mapping[str, RunResult]) -> Grid:
    """What two runs say, a column each."""
    facts = [_facts(result) for result in results.values()]
    names = dict.fromkeys(name for one in facts for name in one)
    return Grid(["fact", *results], [[name, *(value_text(one.get(name)) for one in facts)] for name in names])


def _facts(result: RunResult) -> dict[str, Any]:
    return {
        "dimension": result.dimension,
        "rank set": _span(result.rank_set),
        "dimension on the other rows": result.other_dimension,
        "model": result.model,
        "largest rank": result.max_dimension,
        "rule": result.rule,
        "resolution": result.resolution,
        "rows": result.rows,
        "columns": result.ambient_dim,
        "schedule": result.schedule,
        "seed": result.seed,
        "iterations": result.iterations,
        "CPU seconds": result.cpu_seconds,
        "fingerprint": result.fingerprint,
        **result.metrics,
    }


def _metrics(result: RunResult) -> Grid | None:
    names = [name for name in METRICS if name in result.metrics]
    if not names:
        return None
    lines = [
        [METRICS[name].phrase, number_text(result.metrics[name]), number_text(result.metrics.get(floor_of(name)))]
        for name in names
    ]
    return Grid(["metric", "value", "floor"], lines)


def _provenance(result: RunResult, environment: Environment) -> Grid:
    facts = {
        "command": shlex.join(environment.command),
        "fingerprint": result.fingerprint,
        "data, SHA-256": environment.run.data_sha256 if environment.run else None,
        "commit": environment.git,
        "versions": ", ".join(f"{name} {number}" for name, number in environment.versions.items()),
        "machine": ", ".join(f"{name} {value}" for name, value in environment.machine.items()),
        "seed": result.seed,
        "workers": result.workers,
        "processor time": f"{result.cpu_seconds:.0f} s, {result.wall_seconds:.0f} s by the clock",
    }
    return Grid(["fact", "value"], [[name, value_text(value or None)] for name, value in facts.items()], left=2)
