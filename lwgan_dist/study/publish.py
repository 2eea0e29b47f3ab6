"""What a study leaves for its readers: tables, figures, TensorBoard runs, a summary and a page, all drawn from the
ledger, so the next command may replace them.
"""

import tempfile
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.compute as pc

from lwgan_dist.reporting.figures import png
from lwgan_dist.reporting.files import replace_folder, to_parquet
from lwgan_dist.reporting.study_figures import study_figures
from lwgan_dist.reporting.study_page import html_page, markdown_summary
from lwgan_dist.reporting.tensorboard import write_study
from lwgan_dist.storage import Folder
from lwgan_dist.study.study import Outcome, Study

FIGURES, SUMMARY, PAGE, TENSORBOARD = "figures", "summary.md", "report.html", "tb"


def publish(study: Study, outcome: Outcome, title: str) -> None:
    """Write tables, figures, TensorBoard runs, ``summary.md`` and ``report.html`` into the folder of the study."""
    folder, tables = study.folder, outcome.tables
    for field in fields(tables):
        table = getattr(tables, field.name)
        if (table is not None and table.num_rows) or field.name in ("runs", "cells"):
            folder.write(f"{field.name}.parquet", to_parquet(table))
        else:
            folder.remove_file(f"{field.name}.parquet")  # of an earlier configuration
    config = study.config
    figures = study_figures(
        tables.runs, tables.cells, tables.trends, tables.sensitivity, tables.bootstrap, tables.coverage,
        level=config.level, mass=config.bootstrap.mass if config.bootstrap else None,
    )  # fmt: skip
    folder.remove(FIGURES)
    for name, figure in figures.items():
        folder.sub(FIGURES).write(f"{name}.png", png(figure))
    notes = study_notes(study, outcome)
    created, heading = datetime.now(UTC).date(), f"Consistency study: {title}"
    names = {what: path.removeprefix(f"{folder.location}/") for what, path in study_files(folder).items()}
    pictures = {name: f"{FIGURES}/{name}.png" for name in figures}
    summary = markdown_summary(tables, created=created, title=heading, notes=notes, files=names, figures=pictures)
    page = html_page(tables, created=created, title=heading, notes=notes, files=names, figures=figures)
    folder.write(SUMMARY, summary.encode())
    folder.write(PAGE, page.encode())
    with tempfile.TemporaryDirectory() as temporary:
        write_study(Path(temporary), tables.runs, tables.cells, figures)
        replace_folder(folder, TENSORBOARD, Path(temporary))


def study_files(folder: Folder) -> dict[str, str]:
    """What a reader of a study may want to open, by what it is."""
    names = {"page": PAGE, "summary": SUMMARY, "figure": f"{FIGURES}/correct.png", "runs": "runs.parquet",
             "cells": "cells.parquet", "comparisons": "comparisons.parquet", "trends": "trends.parquet",
             "sensitivity": "sensitivity.parquet", "bootstrap": "bootstrap.parquet", "coverage": "coverage.parquet",
             "TensorBoard": TENSORBOARD}  # fmt: skip
    there = {*folder.names(), *(f"{FIGURES}/{name}" for name in folder.sub(FIGURES).names())}
    return {what: f"{folder.location}/{name}" for what, name in names.items() if name in there | {SUMMARY, PAGE}}


def study_notes(study: Study, outcome: Outcome) -> list[str]:
    """What a reader of the tables should know."""
    config = study.config
    notes = [
        f"Precision {study.precision}, study seed {config.seed}; configuration in config.yaml, versions in env.json."
    ]
    if config.lwgan.initialisations > 1:
        notes.append(
            f"{config.lwgan.initialisations} LWGAN runs on each sample: P(correct) is over runs, its intervals count "
            "samples; tests and n_95 take the first run on each sample."
        )
    if not config.stop_when:
        notes.append(
            "Intervals, tests and n_95 suppose that the number of replicates was fixed before the results were seen "
            "(stop_when does not)."
        )
    return notes + study_caveats(study, outcome)


def study_caveats(study: Study, outcome: Outcome) -> list[str]:
    """Those of the notes that are about this study in particular."""
    stop, notes = study.config.stop_when, []
    if stop:
        first = {"LWGAN": study.config.lwgan.replicates, "classical": study.config.classical.replicates}
        counts = " and ".join(f"{count} ({kind})" for kind, count in first.items() if count)
        notes.append(
            "Replicates were added on demand. Comparisons, n_95 and the coverage of a bootstrap are those of the first "
            f"{counts} replicates, whose number was fixed beforehand."
        )
        cells = outcome.tables.cells
        width = pc.subtract(cells["sequence_high"], cells["sequence_low"])
        wide = cells.num_rows - (pc.sum(pc.less_equal(width, stop.interval_width)).as_py() or 0)
        if wide:
            notes.append(
                f"{wide} of {cells.num_rows} cells have an interval wider than {stop.interval_width:g} still: they "
                f"have {stop.max_replicates} replicates, the most allowed, or their truth is unknown, or a run did not "
                "finish."
            )
    if any(group.table_digest for group in study.design.groups):
        notes.append(
            "Samples of a table are choices of its rows: intervals and tests are given the table and say nothing about "
            "other rows; samples share rows. The whole table is one sample."
        )
    if outcome.unfinished:
        notes.append(
            f"{len(outcome.unfinished)} of {outcome.planned} runs have not finished and are missing here; the same "
            "command tries them again."
        )
    return notes
