"""Tables and figures from what `bench_estimates.py` left.

    python tests/benchmarks/report_estimates.py [--from runs/estimates] [--to docs/estimates]

Writes ``tables.md``, ``*.png`` and ``runs.parquet`` (a row for each run and rank). Rules for the rank are judged anew
from the stored components, without refitting.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from estimate_cases import SUITES

from lwgan_dist.config import ScoreConfig
from lwgan_dist.data.standardize import Standardizer
from lwgan_dist.method.rank_selection import choose_rank
from lwgan_dist.models.lwgan.embedding import START_RESOLUTION, distinct, geodesic_start
from lwgan_dist.results import choice_of
from lwgan_dist.study.proportions import clopper_pearson_interval

Row = dict[str, Any]
TOYS = ("swissroll_curve", "s_curve", "hyperplane")


def read(folder: Path) -> list[Row]:
    rows = [json.loads(path.read_text()) for path in sorted((folder / "rows").glob("*.json"))]
    for row in rows:
        row["components"] = {split: np.array(table) for split, table in row["components"].items()}
        row["scores"] = {split: table.sum(axis=2) for split, table in row["components"].items()}
    return rows


def judged(row: Row, split: str = "train", first: int | None = None, **rule: Any) -> int:
    """The rank by another rule, or by that of a run from other evaluations."""
    return choice_of(row["components"][split][:first], 1.0, ScoreConfig.model_validate(rule), row["n"]).rank


def right(rows: Iterable[Row], estimate: Callable[[Row], int] = lambda row: row["estimate"]) -> tuple[int, int]:
    hits = [estimate(row) == row["truth"] for row in rows]
    return sum(hits), len(hits)


def share(hits: int, of: int) -> str:
    interval = clopper_pearson_interval(hits, of)
    return f"{hits} of {of} ({interval.lower:.2f}..{interval.upper:.2f})"


def table(head: list[str], body: Iterable[Iterable[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in line) + " |" for line in body]
    return "\n".join(lines)


def groups(rows: Iterable[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def counts(values: Iterable[int]) -> str:
    """Such as "2: 9, 3: 1"."""
    seen, number = np.unique(list(values), return_counts=True)
    return ", ".join(f"{v}: {c}" for v, c in zip(seen, number, strict=True))


def median(values: Iterable[float]) -> float:
    return float(np.median(list(values)))


def toy_order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return (TOYS.index(key[0]), *key[1:])


def accuracy(rows: list[Row]) -> str:
    cells = groups(rows, "data", "noise", "n")
    body = []
    for key in sorted(cells, key=toy_order):
        cell = cells[key]
        over = [row["scores"]["train"].mean(0) for row in cell]
        truth = cell[0]["truth"]
        margin = median(min(np.delete(s, truth - 1)) - s[truth - 1] for s in over)
        body.append(
            [*key, truth, share(*right(cell)), counts(row["estimate"] for row in cell),
             share(*right(cell, lambda row: judged(row, "holdout"))), f"{margin:+.3f}",
             f"{median(row['cpu'] for row in cell):.0f}"]
        )  # fmt: skip
    head = ["data", "noise", "n", "truth", "right (95 % interval)", "estimates", "right on hold-out rows",
            "median margin", "CPU s"]  # fmt: skip
    return table(head, body)


def beside_classical(rows: list[Row]) -> str:
    cells = groups(rows, "data", "noise", "n")
    names = list(rows[0]["classical"])
    body = []
    for key in sorted(cells, key=lambda k: (cells[k][0]["suite"] == "others", k[0], k[1], k[2])):
        cell = cells[key]
        line = [*key, cell[0]["truth"], f"{right(cell)[0]} of {len(cell)}"]
        line.append(counts(row["estimate"] for row in cell))
        for name in names:
            values = [row["classical"][name]["estimate"] for row in cell]
            hits = sum(np.isfinite(v) and round(v) == cell[0]["truth"] for v in values)
            line.append(f"{hits} of {len(cell)} ({np.nanmedian(values):.2f})")
        body.append(line)
    return table(["data", "noise", "n", "truth", "LWGAN right", "its estimates", *names], body)


def cost(rows: list[Row], paper: Row) -> str:
    body = []
    for (data, precision), cell in groups(rows, "data", "precision").items():
        mine, theirs = median(row["cpu"] for row in cell), paper[data][precision]
        body.append([data, precision, len(cell), f"{mine:.1f}", f"{theirs:.0f}", f"1 / {theirs / mine:.0f}"])
    return table(["data", "precision", "runs", "`fast`, CPU s", "`paper`, CPU s", "ratio"], sorted(body))


def changes(rows: list[Row], reference: list[Row]) -> str:
    """Each variant against the reference on the same sample and seed."""
    base = {(row["data"], row["seed"]): row for row in reference}
    body = []
    for (variant,), cell in groups(rows, "variant").items():
        pairs = [(row, base[row["data"], row["seed"]]) for row in cell if (row["data"], row["seed"]) in base]
        line = [variant, f"{right(cell)[0]} of {len(cell)}"]
        line.append(f"{sum(a['estimate'] == b['estimate'] for a, b in pairs)} of {len(pairs)}")
        for data in TOYS:
            ours = [row for row in cell if row["data"] == data]
            if not ours:
                line.append("not run")
                continue
            error = median(row["components"]["train"][:, row["truth"] - 1, 1].mean() for row in ours)
            line.append(f"{counts(row['estimate'] for row in ours)} ({error:.3f})")
        line.append(f"{median(a['cpu'] / b['cpu'] for a, b in pairs):.2f}")
        body.append(line)
    return table(["variant", "right", "same as reference", *TOYS, "CPU ratio"], body)


RULES: dict[str, dict[str, Any]] = {
    **{f"resolution {r:g}": {"penalty": "resolution", "resolution": r} for r in (0.0, 0.02, 0.04, 0.08, 0.16)},
    **{f"reference, {c:g} SE^0.8": {"penalty": "reference", "penalty_constant": c} for c in (0.5, 1.0, 2.0, 3.0, 5.0)},
    "reference, SE^0.7": {"penalty": "reference", "penalty_exponent": 0.7},
    "reference, SE^0.9": {"penalty": "reference", "penalty_exponent": 0.9},
    **{f"rate, {c:g} n^-0.4": {"penalty": "rate", "penalty_constant": c} for c in (0.1, 0.3, 0.6, 1.0)},
    **{f"fixed {c:g}": {"penalty": "fixed", "penalty_constant": c} for c in (0.0, 0.01, 0.02, 0.05)},
}


def rules(rows: list[Row]) -> str:
    parts = groups(rows, "suite", "n")
    order = sorted(parts, key=lambda key: (key[0] == "others", key[1]))
    body = []
    for name, rule in RULES.items():
        for split in ("train", "holdout"):
            line = [name, split]
            for key in order:
                hits, of = right(parts[key], lambda row, split=split, rule=rule: judged(row, split, **rule))
                line.append(f"{hits} of {of}")
            body.append(line)
    return table(["rule", "rows", *(f"{suite}, n = {n}" for suite, n in order)], body)


def evaluations(rows: list[Row]) -> str:
    body = []
    for first in (5, 10, 20):
        line: list[Any] = [first]
        for split in ("train", "holdout"):
            hits, of = right(rows, lambda row, split=split, first=first: judged(row, split, first))
            line.append(f"{hits} of {of}")
        line.append(f"{median(choose_rank(row['scores']['train'][:first]).penalty for row in rows):.4f}")
        body.append(line)
    return table(["evaluations", "right on training rows", "right on hold-out rows", "median SE^0.8"], body)


def decodability() -> str:
    """Of the geodesic start by rank, in units of the squared scale, for one sample of every manifold: what the start
    alone says.
    """
    body = []
    for case in (c for suite in ("toys", "others") for c in SUITES[suite]() if c.seed == 0 and c.n == 2000):
        rows = distinct(Standardizer.fit(case.rows(), "global").apply(case.rows())[:1500])
        start = geodesic_start(rows, 6, 10, START_RESOLUTION)
        errors = (f"{error:.4f}" for error in start.decodability)
        body.append([case.data.name, case.noise, case.data.truth, *errors, start.tear.pieces])
    return table(["data", "noise", "truth", *(str(k) for k in range(1, 7)), "pieces"], body)


def quality(rows: list[Row], paper: list[Row]) -> str:
    names = ("sliced_w1", "sliced_w1_floor", "energy", "energy_floor")
    body = [
        [data, f"`fast`, {kind}", len(cell), *(f"{median(row['quality'][name] for row in cell):.4f}" for name in names)]
        for (data, kind), cell in groups(rows, "data", "kind").items()
    ]
    body += [[row["data"], "`paper`, fresh rows", 1, *(f"{row['quality'][n]:.4f}" for n in names)] for row in paper]
    return table(["data", "schedule, rows", "runs", "sliced W1", "its floor", "energy distance", "its floor"], body)


def scaling(rows: list[Row], figure: Path) -> str:
    axes = {"rows": "n", "columns": "columns", "max_dimension": "max_dimension"}
    body = []
    drawing, panels = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
    for panel, (variant, field) in zip(panels, axes.items(), strict=True):
        cell = sorted((row for row in rows if row["variant"] == variant), key=lambda row: row[field])
        x, y = np.array([row[field] for row in cell]), np.array([row["cpu_with_files"] for row in cell])
        slopes = np.diff(np.log(y)) / np.diff(np.log(x))
        for row, slope in zip(cell, [None, *slopes], strict=True):
            told = "" if slope is None else f"{slope:.2f}"
            body.append([variant, row[field], f"{row['cpu_with_files']:.0f}", told, row["estimate"]])
        panel.loglog(x, y, "o-")
        panel.set_xticks(x, [f"{value:,}" for value in x], minor=False)
        panel.set_xticks([], minor=True)
        panel.set_yticks([20, 30, 50, 100], ["20", "30", "50", "100"])
        panel.set_yticks([], minor=True)
        panel.set(xlabel=variant.replace("_", " "))
    panels[0].set(ylabel="CPU seconds")
    drawing.savefig(figure, dpi=110)
    plt.close(drawing)
    return table(["grows", "to", "CPU s", "exponent from the one before", "estimate (truth 2)"], body)


def draw_scores(rows: list[Row], figure: Path) -> None:
    """Score by rank less the score at the true rank, every run of n = 2,000; far above 0 it is cut off."""
    drawing, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for panel, data in zip(panels, TOYS, strict=True):
        cell = [row for row in rows if row["data"] == data and row["n"] == 2000]
        for noise, color in ((0.0, "C0"), (0.02, "C1"), (0.05, "C2")):
            for i, row in enumerate(r for r in cell if r["noise"] == noise):
                mean = row["scores"]["train"].mean(0)
                ranks = np.arange(1, len(mean) + 1)
                label = f"noise {noise:g}" if i == 0 else None
                panel.plot(ranks, mean - mean[row["truth"] - 1], color=color, lw=0.8, alpha=0.7, label=label)
        panel.axvline(cell[0]["truth"], color="0.7", lw=0.8, zorder=0)
        panel.axhline(0, color="0.7", lw=0.8, zorder=0)
        panel.set(title=f"{data} (dimension {cell[0]['truth']})", xlabel="rank", xticks=ranks)
        panel.set(ylim=(-0.05, 0.35))
        panel.legend(frameon=False, fontsize=8)
    panels[0].set(ylabel="score - score at the true rank")
    drawing.savefig(figure, dpi=110)
    plt.close(drawing)


def draw_constants(rows: list[Row], figure: Path) -> None:
    """Share of right estimates against the constant of lambda = c SE^0.8."""
    constants = np.geomspace(0.1, 20, 40)
    drawing, panel = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for (suite, n), cell in sorted(groups(rows, "suite", "n").items()):
        shares = []
        for constant in constants:
            hits, of = right(cell, lambda row, c=constant: judged(row, penalty="reference", penalty_constant=float(c)))
            shares.append(hits / of)
        panel.semilogx(constants, shares, label=f"{suite}, n = {n} ({len(cell)} runs)")
    panel.axvline(1.0, color="0.7", lw=0.8)
    panel.set(xlabel="c in lambda = c SE^0.8", ylabel="share of right estimates", ylim=(0, 1.02))
    panel.legend(frameon=False, fontsize=8)
    drawing.savefig(figure, dpi=110)
    plt.close(drawing)


def write_runs(rows: list[Row], path: Path) -> None:
    """A row for each run, split and rank: mean components, mean score and its standard error."""
    flat = []
    for row in rows:
        keys = ("suite", "data", "variant", "n", "noise", "seed", "truth", "estimate", "precision", "cpu")
        for split, components in row["components"].items():
            means, scores = components.mean(0), row["scores"][split]
            for rank, (c, r, p, m) in enumerate(means, 1):
                told = {key: row[key] for key in keys}
                told |= {"split": split, "rank": rank, "critic": c, "reconstruction": r, "gradient_penalty": p}
                told |= {"mmd": m, "score": scores[:, rank - 1].mean()}
                told["se"] = scores[:, rank - 1].std(ddof=1) / np.sqrt(len(scores))
                flat.append(told)
    frame = pd.DataFrame(flat)
    numbers = frame.select_dtypes("float64").columns
    frame.astype(dict.fromkeys(numbers, "float32")).to_parquet(path, compression="zstd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", default="runs/estimates")
    parser.add_argument("--to", default="docs/estimates")
    told = parser.parse_args()
    source, target = Path(told.source), Path(told.to)
    target.mkdir(parents=True, exist_ok=True)
    rows = read(source)
    suites = {name: [row for row in rows if row["suite"] == name] for name in {row["suite"] for row in rows}}
    toys, others = suites["toys"], suites["others"]
    standard = [row for row in suites["robustness"] if row["variant"] == "as it is"]
    for row in toys:
        row["kind"] = f"n = {row['n']}"
    for row in suites["stream"]:
        row["kind"] = "fresh rows" + (f", {row['variant']}" if row["variant"] else "")
    clean = [row for row in toys if row["noise"] == 0]
    paper_costs = json.loads((source / "paper_seconds.json").read_text())
    paper_quality = json.loads(path.read_text()) if (path := source / "paper_quality.json").exists() else []
    float32 = [row for row in suites["robustness"] if row["variant"] == "float32"]
    sections = {
        "Accuracy on the toys": accuracy(toys),
        "Cost": cost([row for row in toys if row["n"] == 2000] + float32, paper_costs),
        "Beside the classical estimators": beside_classical(toys + others),
        "Robustness": changes(suites["robustness"], standard),
        "Variants of the schedule": changes(suites["variants"], standard),
        "Rules for the rank": rules(toys + others),
        "Number of evaluations": evaluations(toys),
        "Decodability of the geodesic start": decodability(),
        "Quality of generated rows": quality([*clean, *suites["stream"]], paper_quality),
        "Scaling": scaling(suites["scaling"], target / "scaling.png"),
    }
    draw_scores(toys, target / "scores.png")
    draw_constants(toys + others, target / "constants.png")
    write_runs(rows, target / "runs.parquet")
    text = "# Tables\n\nWritten by `tests/benchmarks/report_estimates.py` from the runs of `make estimates`.\n"
    text += "".join(f"\n## {title}\n\n{body}\n" for title, body in sections.items())
    (target / "tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
