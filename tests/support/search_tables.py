"""Tables of a made-up search that agree with each other, with the schemas of `lwgan_dist.search.tables`."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import stdtrit

from lwgan_dist.search.analysis import Facts
from lwgan_dist.search.figures import ParameterAxis
from lwgan_dist.search.tables import (
    CONFIRMATION,
    DIMENSIONS,
    IMPORTANCES,
    MEASURES,
    PARAMETER,
    RUNS,
    TRIALS,
    SearchTables,
)

Draw = Callable[[np.random.Generator, Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Parameter:
    """How the values of a parameter come about; ``draw`` is given those before it."""

    axis: ParameterAxis
    kind: pa.DataType
    default: Any
    draw: Draw


def parameter(path: str, default: Any, draw: Draw, *, log: bool = False, categorical: bool = False) -> Parameter:
    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    return Parameter(ParameterAxis(path, log, categorical), kinds[type(default)], default, draw)


def space() -> list[Parameter]:
    """A parameter of each type, one of them conditional."""
    return [
        parameter("objective.mmd_weight", 1.0, lambda r, _: float(10 ** r.uniform(-1, 1)), log=True),
        parameter("networks.width", 64, lambda r, _: int(r.choice([16, 32, 64, 128])), categorical=True),
        parameter("schedule.name", "fast", lambda r, _: str(r.choice(["fast", "paper"])), categorical=True),
        parameter(
            "schedule.generator_ema", 0.99,
            lambda r, seen: float(r.uniform(0.9, 0.999)) if seen["schedule.name"] == "fast" else None,
        ),
        parameter("data.rotate", False, lambda r, _: bool(r.integers(2)), categorical=True),
    ]  # fmt: skip


def wide(number: int = 12) -> list[Parameter]:
    """Many parameters with long names that hold what matplotlib, Markdown and HTML would take as markup."""
    return [
        *space(),
        *(
            parameter(
                f"section_{i}.a_rather_long_name$_{i}", 1e-3, lambda r, _: float(10 ** r.uniform(-6, 0)), log=True
            )
            for i in range(number - 5)
        ),
    ]


@dataclass(frozen=True)
class Search:
    trials: pa.Table
    runs: pa.Table
    confirmation: pa.Table
    dimensions: pa.Table
    importances: pa.Table
    axes: list[ParameterAxis]
    objectives: tuple[str, ...]

    def tables(self) -> SearchTables:
        return SearchTables(self.trials, self.runs, self.confirmation, self.dimensions, self.importances)

    def facts(self, **changed: Any) -> Facts:
        return _facts(self, changed)


def search(
    trials: int = 30,
    parameters: list[Parameter] | None = None,
    objectives: tuple[str, ...] = ("energy_distance + reconstruction",),
    seeds: int = 1,
    truth: int | None = 2,
    sensitive: bool = True,
    stopping: float = 0.15,
    failing: float = 0.08,
    reason: str = "the loss diverged at iteration 300",
    confirmed: int = 5,
    seed: int = 1,
) -> Search:
    """The tables of a search in which a small mmd_weight gives a poor fit, and (if sensitive) too high a dimension."""
    rng = np.random.default_rng(seed)
    parameters = space() if parameters is None else parameters
    rows, runs = [], []
    for number in range(trials):
        values: dict[str, Any] = {}
        for each in parameters:
            values[each.axis.path] = each.default if number == 0 else each.draw(rng, values)
        fate = rng.random()
        state = "failed" if fate < failing else "stopped" if fate < failing + stopping else "finished"
        if number == 0 and failing < 1:
            state = "finished"
        row: dict[str, Any] = {
            "number": number, "key": f"trial/{number}", "origin": "default" if number == 0 else "proposed",
            "state": state, "failure": reason if state == "failed" else None, "best": False,
            "reports": [0.5, 0.4], "intrinsic_dim": truth,
            **{PARAMETER + path: value for path, value in values.items()},
        }  # fmt: skip
        if state == "finished":
            mine = [_run(rng, number, index, values, truth or 2, sensitive) for index in range(seeds)]
            runs += mine
            told = [run["dimension"] for run in mine]
            means = {name: float(np.mean([run[name] for run in mine])) for name in MEASURES}
            one = means["energy_distance"] + means["reconstruction"]
            goals = [one] if len(objectives) == 1 else [means["energy_distance"], means["cpu_seconds"]]
            goals += [means["reconstruction"]] * (len(objectives) - len(goals))
            row |= means | {
                "objectives": goals, "objective": one if len(goals) == 1 else None,
                "dimension": min(d for d, c in Counter(told).items() if c == max(Counter(told).values())),
                "dimensions": told,
            }  # fmt: skip
        rows.append(row)
    _rank(rows, len(objectives))
    schema = pa.schema([*TRIALS, *(pa.field(PARAMETER + each.axis.path, each.kind) for each in parameters)])
    return Search(
        pa.Table.from_pylist(rows, schema),
        pa.Table.from_pylist(runs, RUNS),
        pa.Table.from_pylist(_confirmation(rng, rows, confirmed), CONFIRMATION),
        pa.Table.from_pylist(_dimensions(rows, runs), DIMENSIONS),
        pa.Table.from_pylist(_importances(rng, rows, parameters), IMPORTANCES),
        [each.axis for each in parameters],
        objectives,
    )


def changed(table: pa.Table, column: str, values: list[Any]) -> pa.Table:
    """The table with other values in this column."""
    place = table.schema.get_field_index(column)
    return table.set_column(place, table.schema.field(column), pa.array(values, table.schema.field(column).type))


def _run(
    rng: np.random.Generator, number: int, index: int, values: Mapping[str, Any], truth: int, sensitive: bool
) -> dict[str, Any]:
    weight = values.get("objective.mmd_weight", 1.0)
    off = abs(math.log10(weight) - 0.4)
    dimension = truth + int(sensitive and weight < 0.35 and rng.random() < 0.75)
    return {
        "number": number, "role": "trial", "index": index, "fingerprint": f"{number:016d}", "data_seed": 100 + index,
        "seed": 200 + index, "dimension": dimension,
        "energy_distance": 0.01 + 0.03 * off + float(rng.gamma(2, 0.003)),
        "sliced_wasserstein": 0.02 + 0.05 * off + float(rng.gamma(2, 0.005)),
        "reconstruction": 0.02 + float(rng.gamma(2, 0.002)) + 0.004 * (values.get("schedule.name") == "paper"),
        "miss": float(dimension != truth), "dimension_error": float(abs(dimension - truth)),
        "cpu_seconds": 10.0 + values.get("networks.width", 64) / 4 + float(rng.uniform(0, 5)),
    }  # fmt: skip


def _rank(rows: list[dict[str, Any]], objectives: int) -> None:
    done = [row for row in rows if row["state"] == "finished"]
    if objectives == 1:
        for place, row in enumerate(sorted(done, key=lambda row: row["objective"])):
            row |= {"place": place + 1, "best": place == 0}
        return
    for row in done:
        others = [np.array(other["objectives"]) for other in done if other is not row]
        mine = np.array(row["objectives"])
        row["best"] = not any((other <= mine).all() and (other < mine).any() for other in others)


def _decile(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    done = sorted((row for row in rows if row.get("place")), key=lambda row: row["place"])
    return done[: max(3, math.ceil(len(done) / 10))]


def _dimensions(rows: list[dict[str, Any]], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    best = {row["number"] for row in _decile(rows)}
    table = []
    for name, mine in (("all", runs), ("best_decile", [run for run in runs if run["number"] in best])):
        for dimension, count in sorted(Counter(run["dimension"] for run in mine).items()):
            table.append({"trials": name, "dimension": dimension, "runs": count, "share": count / len(mine)})
    return table


def _confirmation(rng: np.random.Generator, rows: list[dict[str, Any]], pairs: int) -> list[dict[str, Any]]:
    best = next((row for row in rows if row.get("place") == 1), None)
    default = rows[0].get("objective")
    if best is None or default is None:
        return []
    table = []
    for index in range(pairs):
        a, b = best["objective"] + float(rng.normal(0.004, 0.004)), default + float(rng.normal(0, 0.004))
        table.append({"index": index, "best": a, "default": b, "difference": a - b,
                      "best_dimension": best["dimension"], "default_dimension": rows[0]["dimension"]})  # fmt: skip
    return table


def _importances(
    rng: np.random.Generator, rows: list[dict[str, Any]], parameters: list[Parameter]
) -> list[dict[str, Any]]:
    done = sum(row["state"] == "finished" for row in rows)
    if done < 3:
        return []
    table = []
    for target, r2 in (("objective", 0.63), ("dimension", -0.12)):
        for place, each in enumerate(parameters):
            table.append({
                "target": target, "parameter": each.axis.path, "importance": float(rng.exponential(0.6 / (1 + place))),
                "importance_sd": float(rng.uniform(0.01, 0.06)),
                "spearman": None if each.kind == pa.string() else float(rng.uniform(-1, 1)), "forest_r2": r2,
                "trials": done,
            })  # fmt: skip
    return table


def _facts(made: Search, changed: Mapping[str, Any]) -> Facts:
    trials, runs = made.trials.to_pylist(), made.runs.to_pylist()
    states = Counter(row["state"] for row in trials)
    pairs = [a["dimension"] == b["dimension"] for a, b in combinations(runs, 2) if a["number"] != b["number"]]
    modes: dict[str, tuple[int | None, float | None]] = {"all": (None, None), "best_decile": (None, None)}
    for row in made.dimensions.to_pylist():
        if row["share"] > (modes[row["trials"]][1] or 0.0):
            modes[row["trials"]] = row["dimension"], row["share"]
    told = [row["difference"] for row in made.confirmation.to_pylist()]
    mean = float(np.mean(told)) if told else None
    half = float(stdtrit(len(told) - 1, 0.975) * np.std(told, ddof=1) / len(told) ** 0.5) if len(told) > 1 else None
    best = next((row for row in trials if row["place"] == 1), None)
    facts: dict[str, Any] = {
        "finished": states["finished"], "stopped": states["stopped"], "failed": states["failed"],
        "agreement": sum(pairs) / len(pairs) if pairs else None,
        "modal_dimension": modes["all"][0], "modal_share": modes["all"][1],
        "best_modal_dimension": modes["best_decile"][0], "best_modal_share": modes["best_decile"][1],
        "difference": mean, "difference_low": None if half is None else mean - half,
        "difference_high": None if half is None else mean + half,
        "better": sum(d < 0 for d in told), "worse": sum(d > 0 for d in told), "pairs": len(told),
            "best_failures": 0, "default_failures": 0,
        "best_number": best["number"] if best else None,
        "default_objective": trials[0]["objective"] if trials else None,
        "best_objective": best["objective"] if best else None, "cpu_seconds": sum(r["cpu_seconds"] for r in runs),
        "objectives": made.objectives, "intrinsic_dim": trials[0]["intrinsic_dim"] if trials else None,
    }  # fmt: skip
    return Facts(**facts | dict(changed))
