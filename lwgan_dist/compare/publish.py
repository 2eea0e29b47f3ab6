"""The files of a comparison for its readers, all drawn from its ledger and its kept networks, so the next command may
replace them.
"""

from datetime import UTC, datetime

from matplotlib.figure import Figure

from lwgan_dist.compare.comparison import Comparison, Outcome
from lwgan_dist.compare.design import PlannedRun
from lwgan_dist.compare.figures import generalisation_figure, metrics_figure
from lwgan_dist.compare.report import compare_page
from lwgan_dist.compare.tables import COMPARED, RATES, RUNS, CompareTables
from lwgan_dist.compare.tensorboard import write_comparison
from lwgan_dist.compare.work import MODELS, kept
from lwgan_dist.data.sample import load_sample
from lwgan_dist.metrics.heldout import MOST_ROWS
from lwgan_dist.reporting import files
from lwgan_dist.reporting.pictures import Shown, pictures
from lwgan_dist.storage import Folder

MOST_PICTURED = 6
"""Data sets that have figures of their models."""
_FLOORS_OF_FEW = {"energy_distance": "a little more scattered", "sliced_wasserstein": "a little too large"}
_TABLES = ("runs", "compare", "rates")


def publish(comparison: Comparison, outcome: Outcome, title: str) -> None:
    """Write tables, figures, TensorBoard runs, ``summary.md`` and ``report.html`` into the folder of the comparison."""
    folder, tables = comparison.folder, outcome.tables
    files.write_tables(folder, vars(tables), always=("runs", "compare"))
    drawn = {"metrics": metrics_figure(tables.compare), "generalisation": generalisation_figure(tables.compare)}
    figures = {name: figure for name, figure in drawn.items() if figure is not None}
    pictured = _pictured(comparison)
    for place, of_data in enumerate(pictured.values(), 1):
        figures |= {f"{kind}_{place}": figure for kind, figure in of_data.items()}
    files.write_figures(folder, figures)
    page = compare_page(
        tables, comparison.design.reference, created=datetime.now(UTC).date(), title=f"Comparison: {title}",
        notes=notes(comparison, outcome), files=files.relative(folder, compare_files(folder)), pictured=list(pictured),
    )  # fmt: skip
    files.write_page(folder, page, figures)
    files.write_tensorboard(folder, lambda path: write_comparison(path, tables.compare, figures))


def compare_files(folder: Folder) -> dict[str, str]:
    """The files of a comparison for its readers, by a description."""
    names = {"figure": f"{files.FIGURES}/metrics.png", **{name: f"{name}.parquet" for name in _TABLES}}
    return files.readers_files(folder, names)


def read_tables(folder: Folder) -> CompareTables:
    """The tables that a command wrote.

    Raises:
        ConfigError: they are damaged.
    """
    schemas = {"runs": RUNS, "compare": COMPARED, "rates": RATES}
    tables = {
        name: folder.read_table(f"{name}.parquet", schema) if folder.has(f"{name}.parquet") else schema.empty_table()
        for name, schema in schemas.items()
    }
    return CompareTables(**tables)


def notes(comparison: Comparison, outcome: Outcome) -> list[str]:
    """Notes for the reader of the tables."""
    config = comparison.config
    return [
        f"Precision {comparison.precision}, seed {config.seed}; configuration in config.yaml, versions in env.json.",
        *caveats(comparison, outcome),
    ]


def caveats(comparison: Comparison, outcome: Outcome) -> list[str]:
    """Those of the notes that are about this comparison in particular."""
    design, found = comparison.design, []
    if any(cell.table_digest for cell in design.cells):
        found.append("Samples of a table are choices of its rows: intervals are given the table.")
        found += [
            f"The floor of {name} is on a table of as many rows as it was trained on, where these are fewer than the "
            f"{MOST_ROWS:,} that are generated; then it is {effect}."
            for name, effect in _FLOORS_OF_FEW.items()
            if name in comparison.config.metrics
        ]
    left_out = {
        (cell.data, label) for cell in design.cells for label in design.labels
    } - {(cell.data, cell.model) for cell in design.cells}  # fmt: skip
    for data, label in sorted(left_out):
        found.append(f"{label} is left out on {data}: its latent size would be below 1.")
    if outcome.unfinished:
        found.append(
            f"{len(outcome.unfinished)} runs have not finished and are missing here; the same command tries them again."
        )
    return found


def _pictured(comparison: Comparison) -> dict[str, dict[str, Figure]]:
    """Figures of the models of the first replicate at the largest n, by data."""
    design, figures = comparison.design, dict[str, dict[str, Figure]]()
    for data in list(dict.fromkeys(cell.data for cell in design.cells))[:MOST_PICTURED]:
        n = max(cell.n for cell in design.cells if cell.data == data)
        runs = [design.run(cell, 0) for cell in design.cells if (cell.data, cell.n) == (data, n)]
        shown = [one for one in (_shown(comparison, run) for run in runs) if one is not None]
        if shown:
            figures[data] = pictures(load_sample(runs[0].config.data), shown)
    return figures


def _shown(comparison: Comparison, run: PlannedRun) -> Shown | None:
    there = kept(comparison.folder.sub(MODELS).sub(run.key))
    if there is None:
        return None
    model, losses = there
    record = next(iter(comparison.ledger.records([run.key])), None)
    if record is None or record.rank is None:
        return None
    return Shown(run.cell.model, model, run.cell.rank or record.rank, record.ranks, losses)
