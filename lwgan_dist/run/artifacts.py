"""From the final state of a run to its result and to the files that a reader of it needs."""

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from lwgan_dist.data.blocks import Array, flat
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.fitted import FittedModel, networks_of, tear_of
from lwgan_dist.metrics.heldout import held_out_metrics
from lwgan_dist.metrics.registry import METRICS, default_metrics, floor_of
from lwgan_dist.models.base import Finished
from lwgan_dist.models.configs import LwganModel
from lwgan_dist.models.registry import kind_of
from lwgan_dist.results import RunResult, ScoreTables, TableReading, scores_to_parquet
from lwgan_dist.run.folder import RANK_SCORES_PNG, RESULT_FILE, SAMPLES_PNG, SCORES_FILE, read_result
from lwgan_dist.run.prepare import Prepared
from lwgan_dist.seeding import generator
from lwgan_dist.storage import Folder, remove_tree
from lwgan_dist.training.trainer import TrainingState

SAMPLE_ROWS = 2_000
"""Rows shown in the sample figure."""


def write_all(run: Prepared, folder: Folder, state: TrainingState, metrics: Collection[str] = ()) -> RunResult:
    """Write everything that is drawn from the final state; ``result.json`` comes last.

    Args:
        run: the run.
        folder: of the run.
        state: the final one.
        metrics: names of those that are computed beside the default ones.
    """
    from lwgan_dist.reporting.figures import rank_score_figure  # here: a worker draws nothing
    from lwgan_dist.reporting.look import png

    tables = components_of(state)
    result = result_of(run, folder, state, tables)
    model = model_of(run, state, result.dimension)
    names = {*default_metrics(), *metrics}
    measured = held_out_metrics(model, run.sample, names=names, floors=True) or {}
    result = result.model_copy(update={"metrics": measured, "findings": run.findings})
    model.save(folder.sub("model"))
    folder.write(
        SCORES_FILE,
        scores_to_parquet(
            tables,
            [row.rank for row in result.rank_scores],
            {"fingerprint": run.fingerprint},
            kind_of(run.config).components,
        ),
    )
    figures = {"rank_scores": rank_score_figure(result), "samples": _sample_figure(run, model, result)}
    folder.write(RANK_SCORES_PNG, png(figures["rank_scores"]))
    folder.write(SAMPLES_PNG, png(figures["samples"]))
    _write_tensorboard(run, folder, result, state.meta["losses"], figures)
    folder.write(RESULT_FILE, result.model_dump_json(indent=1).encode())
    return result


def add_metrics(run: Prepared, folder: Folder, names: Collection[str]) -> RunResult:
    """The result of a finished run with these metrics; those that it lacks, or lacks the floor of, are computed and
    written.
    """
    result = read_result(folder)
    missing = [name for name in names if not _is_complete(name, result.metrics)]
    if not missing:
        return result
    model = FittedModel.load(folder.sub("model"))
    more = held_out_metrics(model, run.sample, names=missing, floors=True) or {}
    result = result.model_copy(update={"metrics": result.metrics | more})
    folder.write(RESULT_FILE, result.model_dump_json(indent=1).encode())
    return result


def _is_complete(name: str, metrics: Collection[str]) -> bool:
    """Whether a metric is there, with its floor: results of earlier versions lack it."""
    return name in metrics and (floor_of(name) in metrics or not METRICS[name].has_floor)


def result_of(run: Prepared, folder: Folder, state: TrainingState, tables: ScoreTables) -> RunResult:
    """The result of the scores, by the kind of model and its rule."""
    kind = kind_of(run.config)
    verdict = kind.judge(
        Finished(
            config=run.config,
            sample=run.sample,
            tables=tables,
            start=state.meta.get("start"),
            parts=run.parts,
            fitted=lambda: model_of(run, state, None),
        )
    )
    return RunResult(
        **verdict.judgement.model_dump(),
        model=run.config.model.name,
        max_dimension=kind.latent_dim(run.config),
        score_on=run.config.score.score_on,
        rows=run.sample.rows,
        ambient_dim=run.sample.ambient_dim,
        shape=run.sample.shape,
        intrinsic_dim=run.sample.intrinsic_dim,
        reading=TableReading(**vars(run.sample.reading)) if run.sample.reading else None,
        seed=run.config.seed,
        schedule=kind.schedule(run.config),
        workers=state.meta["workers"],
        tear=verdict.tear,
        parts=verdict.parts,
        iterations=sum(state.meta["lengths"].values()),
        cpu_seconds=round(state.meta["seconds"]["cpu"], 2),
        wall_seconds=round(state.meta["seconds"]["wall"], 2),
        fingerprint=run.fingerprint,
        run_dir=folder.location,
        notes=verdict.notes + notes_on(run),
        standardize=run.config.data.standardize,
    )


def model_of(run: Prepared, state: TrainingState, dimension: int | None) -> FittedModel:
    """The fitted model at a rank, by default the largest."""
    dimension = dimension or kind_of(run.config).latent_dim(run.config)
    networks = networks_of(run.config, run.sample.shape, state.tensors)
    return FittedModel(
        networks, run.config, run.sample.standardizer, run.sample.columns, dimension, tear_of(state.tensors)
    )


def components_of(state: TrainingState) -> ScoreTables:
    """Every component of the score by part of the rows, shape (evaluations, ranks, components)."""
    return {split: np.array(table) for split, table in state.meta["components"].items()}


def notes_on(run: Prepared) -> list[str]:
    """What the reader of a result should know about the data."""
    notes, model = [], run.config.model
    if (
        run.config.data.standardize == "pixels"
        and run.config.score.penalty == "resolution"
        and isinstance(model, LwganModel)
    ):
        scale = Standardizer.fit(run.sample.train, "global").scale.flat[0]
        notes.append(
            f"under data.standardize: pixels black and white are 0.998 apart and the data have a scale of {scale:.3g}: "
            f"score.resolution {run.config.score.resolution:g} is {run.config.score.resolution / scale:.2g} of it"
        )
    return notes


def _sample_figure(run: Prepared, model: FittedModel, result: RunResult) -> Any:
    from lwgan_dist.reporting.figures import picture_figure, sample_figure

    rng, is_image = generator(run.config.seed, "sample figure"), len(run.sample.shape) in (2, 3)
    rows = run.sample.draw(rng, min(SAMPLE_ROWS, len(run.sample.train) or SAMPLE_ROWS))
    data = run.sample.standardizer.undo(rows[:PICTURES] if is_image else rows)
    if is_image:
        return picture_figure(_pictures(data, model, result))
    generated = model.generate(len(rows), seed=run.config.seed)
    return sample_figure(flat(data), flat(generated), model.dimension, model.columns)


PICTURES, PICTURE_LINES = 24, 6
"""Images of the data that are drawn, and lines of pictures in the figure."""


def _pictures(data: Array, model: FittedModel, result: RunResult) -> dict[str, Array]:
    """Images of the data, their reconstructions, generated ones, and in each column one draw at some of the ranks."""
    height = min(PICTURE_LINES, len(data))
    width = len(data) // height

    def lines(pictures: Array) -> Array:
        return pictures[: height * width].reshape(height, width, *data.shape[1:])

    grids = {"data": lines(data)}
    if model.networks.encoder is not None:
        grids[f"reconstructed at rank {model.dimension}"] = lines(model.decode(model.encode(data)))
    grids[f"generated at rank {model.dimension}"] = lines(model.generate(len(data), seed=result.seed))
    if len(result.rank_scores) > 1:
        ranks = np.unique(np.linspace(1, model.latent_dim, height).round().astype(int))
        codes = generator(result.seed, "generate").standard_normal((width, model.latent_dim))
        white = np.full((height - len(ranks), width, *data.shape[1:]), np.inf)
        by_rank = [model.decode(codes[:, :rank]) for rank in ranks]
        grids[f"ranks {', '.join(map(str, ranks))}"] = np.concatenate([np.stack(by_rank), white])
    return grids


def _write_tensorboard(run: Prepared, folder: Folder, result: RunResult, losses: Any, figures: dict[str, Any]) -> None:
    """From the recorded history, replacing what was written live: no step appears twice after a resume."""
    from lwgan_dist.reporting.tensorboard import write_run

    with tempfile.TemporaryDirectory() as temporary:
        write_run(Path(temporary), run.config, result, losses, figures)
        if folder.local is not None:
            remove_tree(folder.local / "tb", ignore_errors=True)
        for path in sorted(Path(temporary).rglob("*")):
            if path.is_file():
                folder.sub("tb").write(path.name, path.read_bytes())
