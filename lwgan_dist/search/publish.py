"""What a search leaves for its readers: tables, the best configuration, figures, TensorBoard runs, a summary and a
page, all drawn from the ledger, so the next command may replace them.
"""

import io
import tempfile
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from pydantic import TypeAdapter, ValidationError

from lwgan_dist.config import ExecutionConfig, TrainConfig
from lwgan_dist.configfile import to_yaml
from lwgan_dist.errors import ConfigError
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.reporting.figures import png
from lwgan_dist.reporting.files import replace_folder, to_parquet
from lwgan_dist.reporting.search_figures import ParameterAxis, search_figures
from lwgan_dist.reporting.search_page import Facts, SearchTables, search_html, search_markdown
from lwgan_dist.reporting.tensorboard import write_search
from lwgan_dist.search import analysis
from lwgan_dist.search.config import AshaScheduler, OptunaSearcher
from lwgan_dist.search.objective import label_of
from lwgan_dist.search.queue import Ended
from lwgan_dist.search.rows import search_tables, spent
from lwgan_dist.search.search import Outcome, Search
from lwgan_dist.search.tables import CONFIRMATION, DIMENSIONS, IMPORTANCES, RUNS, TRIALS
from lwgan_dist.storage import Folder

BEST, FRONT, FACTS = "best.yaml", "front", "facts.json"
_FACTS = TypeAdapter(Facts)
FIGURES, SUMMARY, PAGE, TENSORBOARD = "figures", "summary.md", "report.html", "tb"


@dataclass(frozen=True)
class Published:
    """What was written, for those who show it."""

    tables: SearchTables
    facts: Facts
    files: dict[str, str]


def publish(search: Search, outcome: Outcome, title: str) -> Published:
    """Write everything into the folder of the search."""
    folder, tables = search.folder, search_tables(search, outcome)
    objectives = [label_of(weights) for weights in search.config.objectives]
    facts = replace(analysis.facts(tables, objectives), cpu_seconds=spent(outcome))
    _write_tables(search, outcome, tables)
    _write_best(search, outcome, tables)
    figures = search_figures(
        tables.trials, tables.runs, tables.confirmation, tables.dimensions, tables.importances,
        parameters=_axes(search), objectives=objectives,
    )  # fmt: skip
    folder.remove(FIGURES)
    for name, figure in figures.items():
        folder.sub(FIGURES).write(f"{name}.png", png(figure))
    _write_pages(search, outcome, tables, facts, figures, title)
    with tempfile.TemporaryDirectory() as temporary:
        write_search(Path(temporary), tables.trials, figures, list(search.config.space))
        replace_folder(folder, TENSORBOARD, Path(temporary))
    folder.write(FACTS, _FACTS.dump_json(facts, indent=1))  # last: the rest is there
    return Published(tables, facts, search_files(folder))


def read_published(folder: Folder) -> Published:
    """What an earlier command has written.

    Raises:
        ConfigError: it is damaged.
    """
    try:
        return _read(folder)
    except (pa.ArrowInvalid, ValidationError, FileNotFoundError) as error:
        raise ConfigError(f"{folder.location}: the tables of this search are damaged ({error})") from None


def _read(folder: Folder) -> Published:
    found = {}
    for name, schema in (("trials", TRIALS), ("runs", RUNS), ("confirmation", CONFIRMATION),
                         ("dimensions", DIMENSIONS), ("importances", IMPORTANCES)):  # fmt: skip
        file = f"{name}.parquet"
        found[name] = pq.read_table(io.BytesIO(folder.read(file))) if folder.has(file) else schema.empty_table()
    tables = SearchTables(**found)
    return Published(tables, _FACTS.validate_json(folder.read(FACTS)), search_files(folder))


def _write_tables(search: Search, outcome: Outcome, tables: SearchTables) -> None:
    found: dict[str, Any] = {field.name: getattr(tables, field.name) for field in fields(tables)}
    for name, table in found.items():
        if table.num_rows or name in ("trials", "runs"):
            search.folder.write(f"{name}.parquet", to_parquet(table))
        else:
            search.folder.remove_file(f"{name}.parquet")  # of an earlier configuration


def _write_best(search: Search, outcome: Outcome, tables: SearchTables) -> None:
    """``best.yaml``, or with several objectives ``front/trial-<number>.yaml``; nothing earlier stays."""
    folder = search.folder
    folder.remove(FRONT)
    if outcome.best:
        folder.write(BEST, run_file(search, outcome.best).encode())
        return
    folder.remove_file(BEST)
    front = {row["number"] for row in tables.trials.select(["number", "best"]).to_pylist() if row["best"]}
    for ended in outcome.ended:
        if ended.number in front:
            folder.sub(FRONT).write(f"trial-{ended.number:04d}.yaml", run_file(search, ended).encode())


def run_file(search: Search, ended: Ended) -> str:
    """A file for ``lwgan-dist train`` with the first run of a finished trial, and what it will say."""
    record, objectives = ended.record, ended.outcome.objectives
    assert record
    assert objectives
    run = record.runs[0]
    config = search.trial(ended.proposal.values).run(0)
    computed = {"cpus_per_worker": record.threads, "workers": record.workers, "use_gpu": record.use_gpu}
    execution = search.config.execution.model_copy(update={**computed, "address": None})
    labels = [label_of(weights) for weights in search.config.objectives]
    lines = [
        f"# Trial {ended.number} of a search, its run number 0 of {len(record.runs)}:",
        "#   lwgan-dist train THIS_FILE",
        *(f"# {label}, mean over its runs: {value!r}" for label, value in zip(labels, objectives, strict=True)),
        f"# this run: estimated dimension {run['dimension']}, fingerprint {run['fingerprint']}",
    ]
    lines += [f"#   {name} {run[name]!r}" for name in METRICS if run.get(name) is not None]
    if search.unit != config.data.standardize:
        lines.append(f"# (measured in units of standardize: {search.unit}; `train` measures in its own)")
    content = to_yaml(TrainConfig(**config.model_dump(), execution=ExecutionConfig(**execution.model_dump())))
    return "\n".join(lines) + f"\n\n{content}"


def _axes(search: Search) -> list[ParameterAxis]:
    return [
        ParameterAxis(path, parameter.kind == "loguniform" or parameter.log, parameter.kind == "choice")
        for path, parameter in search.config.space.items()
    ]


def _write_pages(
    search: Search, outcome: Outcome, tables: SearchTables, facts: Facts, figures: dict[str, Figure], title: str
) -> None:
    folder, notes = search.folder, search_notes(search, outcome)
    created, heading = datetime.now(UTC).date(), f"Search: {title}"
    names = {what: path.removeprefix(f"{folder.location}/") for what, path in search_files(folder).items()}
    pictures = {name: f"{FIGURES}/{name}.png" for name in figures}
    summary = search_markdown(tables, facts, created=created, title=heading, notes=notes, files=names, figures=pictures)
    page = search_html(tables, facts, created=created, title=heading, notes=notes, files=names, figures=figures)
    folder.write(SUMMARY, summary.encode())
    folder.write(PAGE, page.encode())


def search_files(folder: Folder) -> dict[str, str]:
    """What a reader of a search may want to open, by what it is."""
    names = {
        "page": PAGE, "summary": SUMMARY, "best run": BEST, "front": FRONT, "figure": f"{FIGURES}/dimension.png",
        "trials": "trials.parquet", "runs": "runs.parquet", "comparison": "confirmation.parquet",
        "dimensions": "dimensions.parquet", "importances": "importances.parquet",
        "TensorBoard": TENSORBOARD,
    }  # fmt: skip
    there = {*folder.names(), *(f"{FIGURES}/{name}" for name in folder.sub(FIGURES).names())}
    written = there | {SUMMARY, PAGE, TENSORBOARD}
    return {what: f"{folder.location}/{name}" for what, name in names.items() if name in written}


def search_notes(search: Search, outcome: Outcome) -> list[str]:
    """What a reader of the tables should know."""
    config = search.config
    count = config.seeds_per_trial
    notes = [
        f"Searcher {config.searcher.name}, scheduler {config.scheduler.name}, seed {config.seed}, precision "
        f"{search.precision}; configuration in config.yaml, versions in env.json.",
        f"Objectives are means over {count} run{'s' if count > 1 else ''} of a trial, on the same samples and seeds "
        f"for all trials, in units of the standardisation {search.unit!r}. That of the best of many trials is too good "
        "by chance: what it is worth shows on fresh seeds.",
    ]
    if isinstance(config.searcher, OptunaSearcher):
        notes.append(
            f"Proposals of Optuna ({config.searcher.sampler}) rest on the trials before: they crowd where results were "
            "good, so shares of estimates are not those of a random configuration."
        )
    return notes + search_caveats(search, outcome)


def search_caveats(search: Search, outcome: Outcome) -> list[str]:
    """Those of the notes that are about this search in particular."""
    config, notes = search.config, []
    paths = sorted(path for path in config.space if path.startswith("score.penalty"))
    if paths and any("reconstruction" in weights for weights in config.objectives):
        notes.append(
            f"{paths[0]} is searched for an objective with the reconstruction error, which falls with the rank: this "
            "favours rules that choose large ranks. With known truth, miss judges the rule."
        )
    if isinstance(config.scheduler, AshaScheduler):
        notes.append(
            "Which trials were stopped depends on the order in which they came to the rungs; stopped trials have no "
            "estimate and are missing from its distribution."
        )
    if config.fresh_seeds and outcome.best and not outcome.pairs:
        notes.append("The best trial is the default: there was nothing to compare on fresh seeds.")
    if len(config.objectives) > 1:
        notes.append("Several objectives have no single best trial: nothing was compared on fresh seeds.")
    if search.trial({}).table_digest and outcome.pairs:
        notes.append("Fresh seeds are other splits of the same table: its rows have been seen in the search.")
    failed = sum(bool(record and record.failure) for pair in outcome.pairs for record in (pair.best, pair.default))
    if failed:
        notes.append(
            f"{failed} runs of the comparison on fresh seeds failed; their reasons are in confirmation.parquet."
        )
    if outcome.unfinished:
        notes.append(
            f"{len(outcome.unfinished)} trials or runs did not finish and are missing here; the same command tries "
            "them again."
        )
    return notes
