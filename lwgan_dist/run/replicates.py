"""Further fits of the data of a run, with other seeds and other splits: how much does the estimate depend on them?

Each is an ordinary run in a folder of its own beneath that of the first, ``replicates/seed-<seed>``, so that a fit that
was interrupted goes on, and one that is finished is not repeated.
"""

from lwgan_dist.config import ExecutionConfig, RunConfig
from lwgan_dist.errors import DataError, NonFiniteLossError, UnreadableError
from lwgan_dist.reporting.terminal import ProgressLine
from lwgan_dist.results import Fits, Replicate, RunResult
from lwgan_dist.run.folder import amend_result, read_result
from lwgan_dist.run.run import Run
from lwgan_dist.storage import Folder

REPLICATES = "replicates"


def replicated(config: RunConfig, number: int) -> RunConfig:
    """The configuration of a further fit: its number is added to the seed of the run and to that of the data, which
    splits the rows, chooses some of them under ``data.n``, and of known manifolds draws another sample.
    """
    data = config.data.model_copy(update={"seed": config.data.seed + number})
    return config.model_copy(update={"seed": config.seed + number, "data": data})


def train_replicates(
    run: Run, folder: Folder, execution: ExecutionConfig, fits: int, *, label: str | None = None, verbose: bool = False
) -> RunResult:
    """The result of a finished run with what so many fits say together, written into its folder; those that an earlier
    command has added count too.

    Args:
        run: the finished run.
        folder: of it.
        execution: of each fit.
        fits: the first among them; at least 1.
        label: in the lines of progress; None for none.
        verbose: show Ray's messages.

    Raises:
        ConfigError, RunFailedError, ClusterError: as `Run.train`, but for a fit that diverges or a split that cannot be
            estimated from, which are recorded.
    """
    first = read_result(folder)
    known = {one.seed: one for one in first.fits.replicates} if first.fits else {}
    for number in range(1, fits):
        config = replicated(run.config, number)
        if config.seed not in known:
            with ProgressLine(f"{label}, fit {number + 1} of {fits}", shown=label is not None) as line:
                known[config.seed] = _fit(run, config, folder, execution, line, verbose)
    assert first.dimension is not None  # of a model that estimates one
    together = Fits.of(first.dimension, first.rank_set, list(known.values())) if known else None
    return first if together == first.fits else amend_result(folder, fits=together)


def _fit(
    first: Run, config: RunConfig, folder: Folder, execution: ExecutionConfig, line: ProgressLine, verbose: bool
) -> Replicate:
    name = f"{REPLICATES}/seed-{config.seed}"
    try:
        run = Run(config, first.array, columns=first.sample.columns if first.array is not None else None)
        result = run.train(
            folder.sub(REPLICATES).sub(f"seed-{config.seed}"), execution,
            on_progress=line.update, on_findings=lambda: None, verbose=verbose,
        )  # fmt: skip
    except UnreadableError:
        raise
    except (DataError, NonFiniteLossError) as error:
        line.say(f"{name}: {error}")
        return Replicate(seed=config.seed, run_dir=name, failure=str(error))
    return Replicate(
        seed=config.seed, run_dir=name, dimension=result.dimension, rank_set=result.rank_set,
        other_dimension=result.other_dimension,
    )  # fmt: skip
