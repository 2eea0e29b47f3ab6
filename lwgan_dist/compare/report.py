"""The page of a comparison, from its tables: numbers and tables here, sentences in ``templates/compare.jinja``."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from lwgan_dist.compare.tables import CompareTables, doc_of
from lwgan_dist.reporting.page import Grid, Page
from lwgan_dist.reporting.pictures import TITLES
from lwgan_dist.reporting.values import Row, counted, distinct, finite, number_text, one_line, value_text

MOST_FAILURES = 50


def compare_page(
    tables: CompareTables, reference: str, *, created: date, title: str = "Comparison", notes: Sequence[str] = (),
    files: Mapping[str, str] | None = None, pictured: Sequence[str] = (),
) -> Page:  # fmt: skip
    """The page of a comparison; sections without content are left out.

    Args:
        tables: of the comparison.
        reference: label of the model from which differences are taken.
        created, title: of the page.
        notes: sentences of the caller for the first section.
        files: path by what is in it.
        pictured: labels of the data that have figures of fitted models, in their order.
    """
    runs, compared = tables.runs.to_pylist(), tables.compare.to_pylist()
    metrics = distinct(compared, "metric")
    places = list(enumerate(pictured, 1))
    content = {
        "notes": notes,
        "files": files or {},
        "data": distinct(runs, "data"),
        "sizes": sorted({row["n"] for row in runs}),
        "replicates": len({row["replicate"] for row in runs}),
        "reference": reference,
        "runs": _runs(runs),
        "metrics": list(means(compared)),
        "differences": list(differences(compared)),
        "docs": {name: doc_of(name) for name in metrics},
        "rates": rates(tables.rates.to_pylist()),
        "pictured": places,
        "kinds": TITLES,
        "failures": _failures(runs),
    }
    captions = {"metrics": "Metrics by model", "generalisation": "Distance to rows drawn anew against n"}
    captions |= {f"{kind}_{place}": f"{text}: {label}" for place, label in places for kind, text in TITLES.items()}
    return Page("compare/templates/compare.jinja", title, created, content, captions)


def _runs(runs: Sequence[Row]) -> Grid:
    """What was run of each model on each data and n, with the ranks at which it was used."""
    lines = []
    for (data, n), model, mine in _cells(runs):
        done = [row for row in mine if row["failure"] is None]
        ranks = sorted({row["rank"] for row in done})
        sizes = sorted({row["latent_dim"] for row in done})
        seconds = sum(row["cpu_seconds"] for row in done) / max(len(done), 1)
        estimates = sorted(row["dimension"] for row in done if row["dimension"] is not None)
        lines.append([
            data, str(n), value_text(mine[0]["intrinsic_dim"]), model, ", ".join(map(str, sizes)) or "-",
            ", ".join(map(str, ranks)) or "-", ", ".join(map(str, estimates)) or "-", str(len(done)),
            str(len(mine) - len(done)), f"{seconds:.3g}",
        ])  # fmt: skip
    header = ["data", "n", "truth", "model", "latent size", "used at", "estimates", "runs", "failed", "CPU s a run"]
    return Grid(header, lines, left=1)


def _cells(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, int], str, list[Row]]]:
    for data, n in dict.fromkeys((row["data"], row["n"]) for row in rows):
        here = [row for row in rows if (row["data"], row["n"]) == (data, n)]
        for model in distinct(here, "model"):
            yield (data, n), model, [row for row in here if row["model"] == model]


def means(compared: Sequence[Row]) -> Iterator[tuple[str, Grid]]:
    """A table of model x metric for every (data, n): mean and interval; the floor is the last line."""
    for title, rows in _by_data(compared):
        metrics = distinct(rows, "metric")
        lines = []
        for model in distinct(rows, "model"):
            mine = {row["metric"]: row for row in rows if row["model"] == model}
            lines.append(
                [model, *(_text(mine[name], "mean", "low", "high") if name in mine else "-" for name in metrics)]
            )
        floors = {row["metric"]: row["floor"] for row in rows}
        if any(finite(floor) for floor in floors.values()):
            lines.append(["floor", *(number_text(floors[name]) for name in metrics)])
        yield title, Grid(["model", *metrics], lines)


def differences(compared: Sequence[Row]) -> Iterator[tuple[str, Grid]]:
    """A table of model x metric for every (data, n): mean paired difference to the reference, and interval."""
    ends = ("difference", "difference_low", "difference_high")
    for title, rows in _by_data(compared):
        metrics, lines = distinct(rows, "metric"), []
        for model in distinct(rows, "model"):
            mine = {row["metric"]: row for row in rows if row["model"] == model and row["pairs"]}
            if mine:
                lines.append([model, *(_text(mine[name], *ends) if name in mine else "-" for name in metrics)])
        if lines:
            yield title, Grid(["model", *metrics], lines)


def _by_data(compared: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for data, n in dict.fromkeys((row["data"], row["n"]) for row in compared):
        yield f"{data}, n = {n}", [row for row in compared if (row["data"], row["n"]) == (data, n)]


def _text(row: Row, value: str, low: str, high: str) -> str:
    """``0.0712 [0.0621, 0.0803]``."""
    if not finite(row[value]):
        return "-"
    interval = f" [{number_text(row[low])}, {number_text(row[high])}]" if finite(row[low]) else ""
    return f"{number_text(row[value])}{interval}"


def rates(rows: Sequence[Row]) -> Grid | None:
    """The slopes of the distance above its floor; None of a single n."""
    lines = [
        [row["data"], row["model"], row["metric"].removeprefix("fresh_"),
         _text(row, "slope", "slope_low", "slope_high"),
         ", ".join(map(str, row["sizes"])) or "-", number_text(row["last"])]
        for row in rows
    ]  # fmt: skip
    header = ["data", "model", "distance", "slope", "n above the floor", "distance - floor at the largest n"]
    return Grid(header, lines, left=3) if lines else None


def _failures(runs: Sequence[Row]) -> Grid | None:
    failed = list({row["key"]: row for row in runs if row["failure"] is not None}.values())
    names = ["data", "n", "model", "replicate", "seed"]
    lines = [[*(str(row[name]) for name in names), one_line(row["failure"])] for row in failed[:MOST_FAILURES]]
    if len(failed) > MOST_FAILURES:
        lines.append([f"and {counted(len(failed) - MOST_FAILURES, 'run')} more", "", "", "", "", ""])
    return Grid([*names, "reason"], lines, left=6) if lines else None
