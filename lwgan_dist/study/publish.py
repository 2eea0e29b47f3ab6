"""The files of a study for its readers: tables, figures, TensorBoard runs, a summary and a page, all drawn from the
ledger, so the next command may replace them.
"""

from datetime import UTC, datetime

import pyarrow.compute as pc

from lwgan_dist.reporting import files
from lwgan_dist.storage import Folder
from lwgan_dist.study.figures import study_figures
from lwgan_dist.study.report import study_page
from lwgan_dist.study.study import Outcome, Study
from lwgan_dist.study.tensorboard import write_study


def publish(study: Study, outcome: Outcome, title: str) -> None:
    """Write tables, figures, TensorBoard runs, ``summary.md`` and ``report.html`` into the folder of the study."""
    folder, tables, config = study.folder, outcome.tables, study.config
    files.write_tables(folder, vars(tables), always=("runs", "cells"))
    level = config.solve.target if config.solve else config.level
    figures = study_figures(tables, level, config.bootstrap.mass if config.bootstrap else None)
    files.write_figures(folder, figures)
    page = study_page(
        tables, created=datetime.now(UTC).date(), title=f"Consistency study: {title}",
        notes=study_notes(study, outcome), files=files.relative(folder, study_files(folder)),
    )  # fmt: skip
    files.write_page(folder, page, figures)
    files.write_tensorboard(folder, lambda path: write_study(path, tables.cells, figures))


def study_files(folder: Folder) -> dict[str, str]:
    """The files of a study for its readers, by a description."""
    tables = ("runs", "cells", "solved", "comparisons", "trends", "sensitivity", "bootstrap", "coverage", "provenance")
    names = {"figure": f"{files.FIGURES}/correct.png", **{name: f"{name}.parquet" for name in tables}}
    return files.readers_files(folder, names)


def study_notes(study: Study, outcome: Outcome) -> list[str]:
    """Notes for the reader of the tables."""
    config = study.config
    notes = [
        f"Precision {study.precision}, study seed {config.seed}; configuration in config.yaml, versions in env.json."
    ]
    if config.lwgan.initialisations > 1:
        notes.append(
            f"{config.lwgan.initialisations} LWGAN runs on each sample: P(correct) is over runs, its intervals count "
            "samples; tests and n_95 take the first run on each sample."
        )
    if not config.stop_when and not config.solve:
        notes.append(
            "Intervals, tests and n_95 suppose that the number of replicates was fixed before the results were seen "
            "(stop_when does not)."
        )
    return notes + study_caveats(study, outcome)


def study_caveats(study: Study, outcome: Outcome) -> list[str]:
    """Those of the notes that are about this study in particular."""
    stop, solve, notes = study.config.stop_when, study.config.solve, []
    if older := study.without_neighbours():
        notes.append(
            f"{older} LWGAN runs are of a version that did not look at neighbours: their ranks are not bounded by them."
        )
    if study.part != (1, 1):
        notes.append(
            f"This is part {study.part[0]} of {study.part[1]} of the study, by replicates; "
            "lwgan-dist study merge joins them."
        )
    if solve:
        notes.append(
            f"The n at which P(correct) reaches {solve.target:g} was searched for between {solve.n[0]} and "
            f"{solve.n[1]}: sizes and replicates followed from the results. Comparisons, n_95 and slopes in the tables "
            f"are those of the first replicates at n = {', '.join(map(str, solve.first))}."
        )
    if stop:
        first = {"LWGAN": study.config.lwgan.replicates}
        first |= {group.method: group.replicates for group in study.design.groups if group.kind == "model"}
        first |= {"classical": study.config.classical.replicates}
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
