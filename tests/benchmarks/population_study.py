"""The study of the population: is the estimate right on manifolds that nobody tuned for, and against which others?

    python tests/benchmarks/population_study.py write
    lwgan-dist study tune_configs/study/population_development.yaml
    python tests/benchmarks/population_study.py calibrate runs/population_development
    lwgan-dist study tune_configs/study/population.yaml
    python tests/benchmarks/population_study.py report runs/population docs/population

`write` makes the two configurations; `calibrate` computes the factor of the rank set from development members; `report`
makes the tables of docs/population from members that nobody looked at before.

Strata: (chart | closed) x (dimension 1-3 | 4-6 | 7-10) x (noise 0, 2, 5 % of the scale) x (d + 1, 20, 100 columns), one
member of each stratum in every block of 54. The members of the report are those reserved for it, and no others.
"""

import itertools
import math
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import binomtest

from lwgan_dist.campaign.ledger import Ledger
from lwgan_dist.config import PopulationData
from lwgan_dist.configfile import read_config
from lwgan_dist.data.simulated.population import DEVELOPMENT_END, Member, member, report_members
from lwgan_dist.results import RANK_SET_FACTOR, other_dimension, rank_set, resolved_ranks
from lwgan_dist.seeding import generator
from lwgan_dist.storage import Folder
from lwgan_dist.study.config import StudyConfig
from lwgan_dist.study.design import Design
from lwgan_dist.study.record import RunRecord

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "tune_configs" / "study"
DEVELOPMENT = range(400, 454)
"""Members of the calibration, of which every second is taken: not looked at before it, and below the end of the
development members."""
assert DEVELOPMENT.stop <= DEVELOPMENT_END
DIMENSIONS = [(1, 3), (4, 6), (7, 10)]
STRATA = list(itertools.product(["chart", "closed"], DIMENSIONS, [0, 0.02, 0.05], ["d+1", 20, 100]))
BLOCKS_SEEN, BLOCKS = 6, 1
"""Blocks that were looked at before the defaults were changed, and blocks of the table."""
ESTIMATORS = [
    "TwoNN",
    "MLE",
    "MiND",
    "CorrInt",
    "lPCA",
    "DANCo",
    "ABIDE",
    "Gride",
    "PCA+ABIDE",
    "PCA+TwoNN",
    "Isomap",
    "Start",
]
HEAD = """# lwgan-dist study tune_configs/study/{name}.yaml
#
# {what}
# Written by tests/benchmarks/population_study.py. Time: some 50 CPU seconds an LWGAN run.
sizes: [2000]
"""
REPORTED = f"""lwgan:
  replicates: 1
  rules:
    authors' rule: {{penalty: reference}}
    without critic: {{critic: false}}
    hold-out: {{score_on: holdout}}
    without neighbours: {{neighbours: false}}
classical:
  replicates: 1
  estimators: [{", ".join(ESTIMATORS)}]
data:
"""


def draws(members: Iterable[int]) -> list[dict]:
    """Member, stratum and what of it is fixed."""
    found = []
    for number, stratum in zip(members, itertools.cycle(STRATA), strict=False):
        topology, (low, high), noise, columns = stratum
        dim = int(generator(number, "stratum/dim").integers(low, high + 1))
        ambient = dim + 1 if columns == "d+1" else columns
        found.append({
            "population": number, "topology": topology, "dim": dim, "noise": noise, "ambient_dim": ambient,
            "dims": f"{low}-{high}", "columns": str(columns), "label": f"member {number}",
        })  # fmt: skip
    return found


def member_of(draw: dict) -> Member:
    """The manifold of a draw."""
    told = {name: draw[name] for name in ("population", "topology", "dim", "ambient_dim")}
    return member(PopulationData.model_validate(told))


def reported() -> list[dict]:
    """The draws of the table, in a random order, so that a study that was cut off is a random part of it."""
    blocks = (BLOCKS_SEEN + BLOCKS) * len(STRATA)
    chosen = draws(report_members("population", blocks))[BLOCKS_SEEN * len(STRATA) :]
    return [chosen[i] for i in generator(0, "population/order").permutation(len(chosen))]


def write() -> None:
    """Both configurations."""
    what = f"Is the estimate right on manifolds that nobody tuned for? {BLOCKS * len(STRATA)} members, n = 2,000."
    _write("population", what, REPORTED, reported())
    what = "Development members: calibrates the rank set (docs/rule)."
    _write("population_development", what, "lwgan:\n  replicates: 1\ndata:\n", draws(DEVELOPMENT)[::2])


def _write(name: str, what: str, methods: str, chosen: list[dict]) -> None:
    lines = [
        f"  - {{population: {d['population']}, label: {d['label']}, topology: {d['topology']}, dim: {d['dim']}, "
        f"noise: {d['noise']}, ambient_dim: {d['ambient_dim']}, "
        f"settings: {{networks.latent_dim: {min(12, d['ambient_dim'])}}}}}\n"
        for d in chosen
    ]
    (CONFIGS / f"{name}.yaml").write_text(HEAD.format(name=name, what=what) + methods + "".join(lines))


FACTORS = np.geomspace(1.0, 50.0, 400)
LEVEL = 0.9


def least_factors(study: Path) -> list[tuple[int, float, int]]:
    """Of every LWGAN run of a study: truth, the least factor of a rank set that holds it (infinity for none), and the
    size of the set in use.
    """
    config = read_config(StudyConfig, str(study / "config.yaml"), ())
    precision = Folder.at(str(study)).read_json("env.json", dict)["study"]["precision"]
    design = Design(config, precision)
    groups = {run.key: group for group in design.groups if group.rules for run in design.runs(group, range(1))}
    found = []
    for record in Ledger(Folder.at(str(study)).sub("ledger"), RunRecord).records(groups):
        group, tables = groups[record.key], record.components()
        score = next(iter(group.rules.values()))
        ranks = resolved_ranks(tables["train"], group.config.objective.mmd_weight, score)
        neighbours = record.neighbours
        other = other_dimension(tables, score, neighbours)
        covering = (f for f in FACTORS if group.intrinsic_dim in rank_set(ranks, score, other, neighbours, f))
        size = len(rank_set(ranks, score, other, neighbours))
        found.append((group.intrinsic_dim, next(covering, math.inf), size))
    return found


def calibrate(study: Path) -> None:
    """The factor by split conformal prediction: the ceil((m + 1) .9)-th smallest of the m least factors."""
    factors = sorted(factor for _, factor, _ in least_factors(study))
    count = math.ceil((len(factors) + 1) * LEVEL)
    print(f"{len(factors)} runs; factor {factors[count - 1]:.3f} (the {count}-th smallest); in use {RANK_SET_FACTOR}")


MARGINALS: dict[str, Callable[[dict], str]] = {
    "dimension": lambda draw: draw["dims"],
    "topology": lambda draw: draw["topology"],
    "noise": lambda draw: f"{draw['noise']:g}",
    "columns": lambda draw: draw["columns"],
    "bending": lambda draw: member_of(draw).bending,
}


def report(study: Path, out: Path) -> None:
    """Tables of P(correct) by stratum and method, and the comparisons, from the runs of the finished study."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("runs.parquet", "config.yaml", "env.json"):
        shutil.copy(study / name, out / name)
    by_draw: dict[str, dict[str, bool]] = {}
    for row in pq.read_table(study / "runs.parquet", columns=["data", "method", "correct"]).to_pylist():
        by_draw.setdefault(row["data"], {})[row["method"]] = row["correct"]
    chosen = [draw for draw in reported() if draw["label"] in by_draw]
    methods = sorted(
        {method for told in by_draw.values() for method in told},
        key=lambda method: (not method.startswith("LWGAN"), -sum(told[method] for told in by_draw.values())),
    )
    numbers = [draw["population"] for draw in chosen]
    lines = [f"{len(chosen)} draws, members {min(numbers)} to {max(numbers)}, n = 2,000.", ""]
    lines += _table("all draws", chosen, lambda _: "all", methods, by_draw)
    for title, key in MARGINALS.items():
        lines += _table(title, chosen, key, methods, by_draw)
    lines += ["| LWGAN against | only LWGAN right | only the other right | exact McNemar p |", "|---|---|---|---|"]
    for method in (method for method in methods if method != "LWGAN"):
        pairs = [(by_draw[draw["label"]]["LWGAN"], by_draw[draw["label"]][method]) for draw in chosen]
        ours, theirs = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
        p = binomtest(ours, ours + theirs).pvalue if ours + theirs else 1.0
        lines.append(f"| {method} | {ours} | {theirs} | {p:.2g} |")
    lines += ["", *_rank_sets(least_factors(study))]
    (out / "tables.md").write_text("\n".join(lines) + "\n")


def _rank_sets(found: list[tuple[int, float, int]]) -> list[str]:
    """Coverage and mean size of the rank sets, by dimension."""
    lines = ["| rank sets | hold the truth | mean size |", "|---|---|---|"]
    for title, low, high in [("all", 1, 10), *((f"dimension {low}-{high}", low, high) for low, high in DIMENSIONS)]:
        some = [(factor, size) for truth, factor, size in found if low <= truth <= high]
        covered = sum(factor <= RANK_SET_FACTOR for factor, _ in some)
        interval = binomtest(covered, len(some)).proportion_ci(method="exact")
        size = np.mean([size for _, size in some])
        lines.append(f"| {title} | {covered}/{len(some)} {interval.low:.2f}-{interval.high:.2f} | {size:.1f} |")
    return lines


def _table(
    title: str, chosen: list[dict], key: Callable[[dict], str], methods: list[str], by_draw: dict[str, dict[str, bool]]
) -> list[str]:
    groups = sorted({key(draw) for draw in chosen}, key=lambda group: (len(group), group))
    lines = [f"| {title} | " + " | ".join(groups) + " |", "|---|" + "---|" * len(groups)]
    for method in methods:
        cells = []
        for group in groups:
            told = [by_draw[draw["label"]][method] for draw in chosen if key(draw) == group]
            low, high = binomtest(sum(told), len(told)).proportion_ci(method="exact")
            cells.append(f"{sum(told)}/{len(told)} {low:.2f}-{high:.2f}")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return [*lines, ""]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write"]:
            write()
        case ["calibrate", study]:
            calibrate(Path(study))
        case ["report", study, out]:
            report(Path(study), Path(out))
        case _:
            sys.exit(__doc__)
