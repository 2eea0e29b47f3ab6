"""The files of a search for its readers: tables, the best configuration, figures, TensorBoard runs, a summary and a
page, all drawn from the ledger, so the next command may replace them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter

from lwgan_dist.config import ExecutionConfig, TrainConfig
from lwgan_dist.configfile import to_yaml
from lwgan_dist.metrics.registry import METRICS
from lwgan_dist.reporting import files
from lwgan_dist.search import analysis
from lwgan_dist.search.analysis import Facts
from lwgan_dist.search.config import AshaScheduler, OptunaSearcher, SearchConfig
from lwgan_dist.search.figures import ParameterAxis, search_figures
from lwgan_dist.search.objective import label_of
from lwgan_dist.search.report import search_page
from lwgan_dist.search.rows import search_tables, spent
from lwgan_dist.search.search import Outcome, Search
from lwgan_dist.search.tables import CONFIRMATION, DIMENSIONS, IMPORTANCES, RUNS, TRIALS, SearchTables
from lwgan_dist.search.tensorboard import write_search
from lwgan_dist.search.trial_queue import Ended
from lwgan_dist.storage import Folder

BEST, FRONT, FACTS = "best.yaml", "front", "facts.json"
_FACTS = TypeAdapter(Facts)
_SCHEMAS = {
    "trials": TRIALS, "runs": RUNS, "confirmation": CONFIRMATION, "dimensions": DIMENSIONS, "importances": IMPORTANCES,
}  # fmt: skip


@dataclass(frozen=True)
class Published:
    """The files that were written, for those who show them."""

    tables: SearchTables
    facts: Facts
    files: dict[str, str]


def publish(search: Search, outcome: Outcome, title: str) -> Published:
    """Write everything into the folder of the search."""
    folder, config, (tables, facts) = search.folder, search.config, _drawn(search, outcome)
    files.write_tables(folder, vars(tables), always=("trials", "runs"))
    _write_best(search, outcome, tables)
    figures = search_figures(tables, search_axes(config), facts.objectives)
    files.write_figures(folder, figures)
    page = search_page(
        tables, facts, created=datetime.now(UTC).date(), title=f"Search: {title}",
        notes=search_notes(search, outcome), files=files.relative(folder, search_files(folder)),
    )  # fmt: skip
    files.write_page(folder, page, figures)
    files.write_tensorboard(folder, lambda path: write_search(path, tables.trials, figures, list(config.space)))
    folder.write(FACTS, _FACTS.dump_json(facts, indent=1))  # last: then everything else has been written
    return Published(tables, facts, search_files(folder))


def drawn(search: Search, outcome: Outcome) -> Published:
    """What would be written, without the files."""
    return Published(*_drawn(search, outcome), {})


def _drawn(search: Search, outcome: Outcome) -> tuple[SearchTables, Facts]:
    tables = search_tables(search, outcome)
    labels = [label_of(weights) for weights in search.config.objectives]
    return tables, analysis.facts(tables, labels, spent(outcome))


def read_published(folder: Folder) -> Published:
    """The files that an earlier command has written.

    Raises:
        ConfigError: it is damaged.
    """
    tables = {}
    for name, schema in _SCHEMAS.items():
        file = f"{name}.parquet"
        tables[name] = folder.read_table(file, schema) if folder.has(file) else schema.empty_table()
    return Published(SearchTables(**tables), folder.read_json(FACTS, Facts), search_files(folder))


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
    """A file for ``lwgan-dist train`` with the first run of a finished trial, and its results as a comment."""
    record, objectives = ended.record, ended.outcome.objectives
    assert record
    assert objectives
    run = record.runs[0]
    config = search.trial(ended.proposal.values).run(0)
    computed = {"cpus_per_worker": record.threads, "workers": record.workers, "use_gpu": record.use_gpu}
    execution = search.config.execution.model_copy(update={**computed, "address": None})
    labels = [label_of(weights) for weights in search.config.objectives]
    estimate = "" if run["dimension"] is None else f"estimated dimension {run['dimension']}, "
    lines = [
        f"# Trial {ended.number} of a search, its run number 0 of {len(record.runs)}:",
        "#   lwgan-dist train THIS_FILE",
        *(f"# {label}, mean over its runs: {value!r}" for label, value in zip(labels, objectives, strict=True)),
        f"# this run: {estimate}fingerprint {run['fingerprint']}",
    ]
    lines += [f"#   {name} {run[name]!r}" for name in METRICS if run.get(name) is not None]
    if search.unit != config.data.standardize:
        lines.append(f"# (measured in units of standardize: {search.unit}; `train` measures in its own)")
    content = to_yaml(TrainConfig(**config.model_dump(), execution=ExecutionConfig(**execution.model_dump())))
    return "\n".join(lines) + f"\n\n{content}"


def search_axes(config: SearchConfig) -> list[ParameterAxis]:
    """How figures lay out the searched fields."""
    return [
        ParameterAxis(path, parameter.kind == "loguniform" or parameter.log, parameter.kind == "choice")
        for path, parameter in config.space.items()
    ]


def search_files(folder: Folder) -> dict[str, str]:
    """The files of a search for its readers, by a description."""
    figure = "dimension.png" if "dimension.png" in folder.sub(files.FIGURES).names() else "slices.png"
    names = {
        "best run": BEST, "front": FRONT, "figure": f"{files.FIGURES}/{figure}", "trials": "trials.parquet",
        "runs": "runs.parquet", "comparison": "confirmation.parquet", "dimensions": "dimensions.parquet",
        "importances": "importances.parquet",
    }  # fmt: skip
    return files.readers_files(folder, names)


def search_notes(search: Search, outcome: Outcome) -> list[str]:
    """Notes for the reader of the tables."""
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
    if "model.latent_dim" in config.space and any("reconstruction" in weights for weights in config.objectives):
        notes.append(
            "model.latent_dim is searched for an objective with the reconstruction error, which falls with the latent "
            "size: this favours large ones."
        )
    if isinstance(config.scheduler, AshaScheduler):
        note = "Which trials were stopped depends on the order in which they came to the rungs"
        without = "; stopped trials have no estimate and are missing from its distribution."
        notes.append(note + (without if config.run.model.estimates_dimension else "."))
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
