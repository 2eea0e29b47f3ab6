"""Deliberate faults, each of which the tests that are named beside it have to notice: ``make mutants``.

A fault replaces a text, which is in its file exactly once, in a copy of the sources; the tests, which pass without it
(``make test``), then have to fail there. ``python tests/benchmarks/mutants.py WORD...`` tries those whose names hold
one of the words. The exit status is 1 if a fault goes unnoticed, or if a text is not in its file exactly once.
"""

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = ("lwgan_dist", "tests", "tune_configs", "docs", "pyproject.toml", "CONTRIBUTING.md", "README.md")
FAILED = 1
"""What pytest ends with if tests fail; anything else, such as nothing found to run, notices no fault."""


@dataclass(frozen=True)
class Mutant:
    """One fault: what it breaks, where, and who notices."""

    name: str
    file: str
    text: str
    replacement: str
    tests: str


MUTANTS = [
    Mutant(
        "one neighbourhood is enough to refuse a rank", "method/neighbours.py",
        "(values < _least(rank + 1, len(rows))).all()", "(values < _least(rank + 1, len(rows))).any()",
        "method/test_neighbours.py",
    ),
    Mutant(
        "copies of rows are neighbours", "method/neighbours.py",
        "> MOST_COPIES).any()", "> 1.0).any()",
        "method/test_neighbours.py",
    ),
    Mutant(
        "rows in order are a sample", "method/neighbours.py",
        "if near.mean() > MOST_IN_ORDER", "if near.mean() > 1.0 + MOST_IN_ORDER",
        "method/test_neighbours.py",
    ),
    Mutant(
        "the bound is that of another resolution", "method/neighbours.py",
        'side="right")) - 1]', 'side="right")) - 9]',
        "test_results.py",
    ),
    Mutant(
        "neighbours raise a rank", "results.py",
        "return rank if bound is None else min(rank, bound)", "return rank if bound is None else bound",
        "test_results.py",
    ),
    Mutant(
        "who asks for no bound gets one", "results.py",
        "resolution) if score.neighbours else None", "resolution) if score.penalty else None",
        "test_results.py",
    ),
    Mutant(
        "a search for n wagers that P is above the target on curves below it too", "study/crossing.py",
        "above = share * np.where(high, ratio, 1.0) @ weights", "above = share * ratio @ weights",
        "study/test_crossing.py -k wager",
    ),
    Mutant(
        "another round begins whatever the networks have learned", "models/lwgan/model.py",
        "last_round or errors[0] <= self._start_scale() * (self._decoded() + BEHIND)", "last_round",
        "models/lwgan/test_rounds.py",
    ),
    Mutant(
        "the second round begins at the learning rate at which the first has ended", "training/stage.py",
        "return (iteration % self.round_length) / self.round_length", "return iteration / self.iterations",
        "models/lwgan/test_rounds.py",
    ),
    Mutant(
        "a run of one round has another name than before there were rounds", "config.py",
        '    ("schedule", "embedding_rounds"): 1,\n', "",
        "test_config.py",
    ),
    Mutant(
        "a table has another name than before there were labels", "config.py",
        '    ("data", "labels"): None,\n', "",
        "test_config.py",
    ),
    Mutant(
        "a picture may be cut after its pixels", "data/files/pictures.py",
        "    if not ended:", "    if False:",
        "data/files/test_image_files.py -k prefix",
    ),
    Mutant(
        "a picture of 16 bits in colour is read as one of 8", "data/files/pictures.py",
        'if content.startswith(_PNG) and content[24] == 16:', "if False:",
        "data/files/test_image_files.py -k 8_bits",
    ),
    Mutant(
        "a packed IDX file may hold more than its header says", "data/files/idx_files.py",
        "declared - left + len(stream.read(1))", "declared - left",
        "data/files/test_image_files.py -k promises",
    ),
    Mutant(
        "the checksums of a dataset are not compared", "data/importing.py",
        " or _sha256(folder / name) != sha256", "",
        "data/test_importing.py -k differ",
    ),
    Mutant(
        "a comma in a text makes thousands of fractions", "data/files/text/written_numbers.py",
        'enumerate(columns) if _are_numbers(fields, ".") or _are_numbers(fields, ",")]', "enumerate(columns)]",
        "data/files/text/test_written_numbers.py",
    ),
    Mutant(
        "thousands among small numbers are read as fractions without a word", "data/files/text/written_numbers.py",
        "len(either) >= _LEAST_DOUBTFUL and", "False and",
        "data/files/text/test_written_numbers.py",
    ),
    Mutant(
        "a number may begin its thousands with 0", "data/files/text/written_numbers.py",
        "[1-9][0-9]{{0,2}}({mark}", "[0-9]{{1,3}}({mark}",
        "data/files/text/test_written_numbers.py",
    ),
    Mutant(
        "rows that lacked their number are read by some and not by others", "data/settle.py",
        "if table.reading.dropped_rows:", "if False:",
        "data/findings/test_findings.py -k lacks_only",
    ),
    Mutant(
        "columns of different units are divided by one scale", "data/settle.py",
        '"per_column" if units else "global"', '"global"',
        "data/findings/test_findings.py",
    ),
    Mutant(
        "the rows that are explained best are called the worst", "run/report.py",
        "lines.sort(key=lambda line: -line[0])", "lines.sort(key=lambda line: line[0])",
        "run/test_report.py -k worst",
    ),
    Mutant(
        "in a wide set any competitor agrees", "reporting/answer.py",
        '"agrees" if abs(competitor.dimension - dimension) <= 1 else "in the set"', '"agrees"',
        "reporting/test_answer.py",
    ),
    Mutant(
        "competitors see repeated rows", "study/competitors.py",
        "return np.asarray(rows[np.sort(places)])", "return np.asarray(rows)",
        "study/test_competitors.py -k repeated",
    ),
    Mutant(
        "of several estimates that as many fits say the largest is the answer", "results.py",
        "key=lambda estimate: votes[estimate]", "key=lambda estimate: (votes[estimate], estimate)",
        "reporting/test_answer.py -k several",
    ),
    Mutant(
        "a further fit has the split of the first", "run/replicates.py",
        'update={"seed": config.data.seed + number}', 'update={"seed": config.data.seed}',
        "run/test_replicates.py -k ordinary",
    ),
    Mutant(
        "what lies behind a link in a folder is changed", "storage.py",
        "if local.is_symlink():\n                raise", "if False:\n                raise",
        "test_storage.py",
    ),
    Mutant(
        "true is taken for 1", "configbase.py",
        'raise PydanticKnownError("int_type")', "pass",
        "test_limits.py",
    ),
    Mutant(
        "text among the numbers of a column leaves the column out", "data/files/text/csv_layout.py",
        "if 2 * texts > filled:", "if texts:",
        "data/files/test_table_kinds.py -k text",
    ),
    Mutant(
        "any number of rows may be dropped without a word", "data/missing.py",
        "LARGEST_SHARE = 0.2", "LARGEST_SHARE = 1.0",
        "data/files/test_table_kinds.py -k missing",
    ),
    Mutant(
        "the split does not depend on the seed", "data/sample.py",
        'generator(config.seed, "split").permutation(n)', "np.arange(n)",
        "data/test_sample.py",
    ),
    Mutant(
        "a study forgets the hold-out rows in a fingerprint", "campaign/judging.py",
        "min(round(config.data.holdout_fraction * fit.rows), fit.rows - 2)", "0",
        "study/test_fingerprints.py",
    ),
    Mutant(
        "a study forgets the rank rule in a fingerprint", "study/rows.py",
        'fingerprint_of(run.config.model_copy(update={"score": rule}), record)', "fingerprint_of(run.config, record)",
        "study/test_fingerprints.py",
    ),
    Mutant(
        "the rank rule takes the smallest excess, not the first rank without one", "method/rank_selection.py",
        "int(np.flatnonzero(self.excess(resolution, factor) <= 0)[0])",
        "int(self.excess(resolution, factor).argmin())",
        "method/test_resolution.py",
    ),
    Mutant(
        "the resolution is allowed to the error, not to its square", "method/rank_selection.py",
        "np.hypot(errors, noise) - errors", "noise",
        "method/test_resolution.py",
    ),
    Mutant(
        "the penalty of the resolution rule has exponent 1", "method/rank_selection.py",
        "errors**self.exponent", "errors",
        "method/test_resolution.py",
    ),
    Mutant(
        "the penalty of the reference rule has exponent 1", "method/rank_selection.py",
        "float(standard_error[mean.argmin()]) ** exponent", "float(standard_error[mean.argmin()])",
        "method/test_rank_selection.py",
    ),
    Mutant(
        "the penalty of the rate rule shrinks as fast as the error", "method/rank_selection.py",
        "RATE_EXPONENT = 0.4", "RATE_EXPONENT = 0.5",
        "method/test_rank_selection.py",
    ),
    Mutant(
        "C has the wrong sign in the score", "method/rank_selection.py",
        "return critic + reconstruction", "return -critic + reconstruction",
        "method/test_rank_selection.py",
    ),
    Mutant(
        "C has the wrong sign in the loss of the critic", "models/lwgan/losses.py",
        "return -difference + self._weight", "return difference + self._weight",
        "method/test_literal.py -k critic_loss",
    ),
    Mutant(
        "the gradient penalty draws norms to 0", "method/objective.py",
        "(norms - 1.0).square()", "norms.square()",
        "method/test_objective.py",
    ),
    Mutant(
        "kernels of the MMD have half their bandwidth", "method/mmd.py",
        "constant = 2.0 * latent_dim * scale", "constant = latent_dim * scale",
        "method/test_golden.py",
    ),
    Mutant(
        "the MMD divides by n^2", "method/mmd.py",
        "return within / (n * (n - 1))", "return within / (n * n)",
        "method/test_mmd.py",
    ),
    Mutant(
        "workers with a larger share overlap", "training/distributed.py",
        " + min(self.worker_index, rest)", "",
        "training/test_workers.py -k shares",
    ),
    Mutant(
        "the seed of a run is not in its key", "campaign/drawn.py",
        "{self._middle}{seed}{self._tail}", "{self._middle}{self._tail}",
        "study/test_plan.py",
    ),
    Mutant(
        "what two groups share is computed twice", "study/plan.py",
        "kept[begin:end] = np.repeat(new, each)", "kept[begin:end] = True",
        "study/test_plan.py",
    ),
    Mutant(
        "merge reads while others write", "study/merge.py",
        "locks.enter_context(_left_alone(source))", "_left_alone(source)",
        "study/test_merge.py",
    ),
    Mutant(
        "what an interruption finds finished is lost", "study/work.py",
        "    finally:\n        entries.write()\n", "    finally:\n        pass\n",
        "study/test_plan.py",
    ),
    Mutant(
        "rank rules are in the key of a run", "study/design.py",
        'identity["score"].pop(name, None)', "pass",
        "study/test_design.py",
    ),
    Mutant(
        "Wilson's interval is too wide", "study/proportions.py",
        "half = z * np.sqrt(k * (1 - k / np.maximum(n, 1)) + z**2 / 4)",
        "half = z * np.sqrt(k * (1 - k / np.maximum(n, 1)) + z**2)",
        "study/test_proportions.py -k wilson",
    ),
    Mutant(
        "the exact interval is one-sided above", "study/proportions.py",
        "np.maximum(n - k, 1), 1 - alpha / 2)", "np.maximum(n - k, 1), 1 - alpha)",
        "study/test_proportions.py -k clopper",
    ),
    Mutant(
        "names of random streams run into each other", "seeding.py",
        '"\\x1f".join', '"".join',
        "test_seeding.py",
    ),
    Mutant(
        "the first moment of an optimizer is lost in a resume", "training/trainer.py",
        "{k: v.to(parameter.device, copy=True) for", '{k: v * (k != "exp_avg") for',
        "training/test_checkpoint.py -k every_break_point",
    ),
    Mutant(
        "the checks of a plateau are lost in a resume", "models/lwgan/model.py",
        'self._checks = [list(errors) for errors in meta["checks"]]', "self._checks = []",
        "models/lwgan/test_plateau.py -k resumed_anywhere",
    ),
    Mutant(
        "a plateau does not end its stage", "training/trainer.py",
        " or self.model.has_ended(stage, iteration)", "",
        "models/lwgan/test_plateau.py -k ends_the_first_stage",
    ),
    Mutant(
        "a damaged checkpoint is taken", "training/checkpoint.py",
        "if _entry(content[file]) != entry:", "if False:",
        "training/test_checkpoint.py -k damaged_newest",
    ),
    Mutant(
        "whatever has a gap is torn", "models/lwgan/embedding.py",
        "if gap <= resolution**2 or", "if gap <= 0 or",
        "models/lwgan/test_tears.py -k gap_below",
    ),
    Mutant(
        "two clumps are torn like a closed manifold", "models/lwgan/embedding.py",
        " or decoded.min() < min(NEARLY * reached, reached - 4.0 * resolution**2):", ":",
        "models/lwgan/test_tears.py -k two_clumps",
    ),
    Mutant(
        "the start needs half the resolution's square", "models/lwgan/embedding.py",
        "<= 2.0 * resolution**2)[0])", "<= resolution**2)[0])",
        "models/lwgan/test_factors.py -k needed",
    ),
    Mutant(
        "points between rows are rows", "models/lwgan/vicinity.py",
        "rng.random(len(picks))", "0 * rng.random(len(picks))",
        "models/lwgan/test_vicinity.py -k nearest",
    ),
    Mutant(
        "a fingerprint does not depend on the data", "config.py",
        "json.dumps([SCHEMA_VERSION, identity, data_digest],", "json.dumps([SCHEMA_VERSION, identity],",
        "test_config.py -k fingerprint",
    ),
    Mutant(
        "a fingerprint depends on where a table lies", "config.py",
        'for name in ("path", *_READING):', "for name in _READING:",
        "test_config.py -k fingerprint",
    ),
    Mutant(
        "a result of an earlier version loses its metrics", "results.py",
        '"quality" in values', '"xquality" in values',
        "metrics/test_registry.py -k earlier_version",
    ),
    Mutant(
        "a noise floor is of generated rows", "metrics/heldout.py",
        "self._drawn(1, self._others, self._x[:0], None)",
        "self._drawn(1, self._model.generate(self._rows, 1, self._seed), self._x[:0], None)",
        "metrics/test_heldout.py -k floor_on_a_table",
    ),
    Mutant(
        "named metrics are of unequal numbers of rows", "metrics/heldout.py",
        "metric.compute(drawn if metric.default else equal)", "metric.compute(drawn)",
        "metrics/test_heldout.py -k as_many_rows",
    ),
    Mutant(
        "a held-out row is its own nearest neighbour", "metrics/distances.py",
        "np.partition(within, k, axis=1)[:, k]", "np.partition(within, k - 1, axis=1)[:, k - 1]",
        "metrics/test_distances.py -k density",
    ),
    Mutant(
        "the waves are flat", "data/simulated/manifolds.py",
        "x = np.cos(x @ self._waves[0] + self._waves[1])", "x = x @ self._waves[0]",
        "data/simulated/test_manifolds.py -k wave",
    ),
    Mutant(
        "an interrupt is lost in the removal of a folder", "storage.py",
        "    with interrupts_pass():\n        if not path.is_sym", "    if True:\n        if not path.is_sym",
        "test_interrupts.py -k rmtree",
    ),
    Mutant(
        "what fails because of an interrupt is a failed run", "study/work.py",
        "with quiet(), interrupts_pass():", "with quiet():",
        "test_interrupts.py -k what_fails",
    ),
    Mutant(
        "differences of models are not paired by replicate", "compare/aggregate.py",
        "[mine[i] - others[i] for i in mine if i in others]", "[a - b for a in mine.values() for b in others.values()]",
        "compare/test_aggregate.py -k paired",
    ),
    Mutant(
        "models of one replicate have samples of their own", "compare/design.py",
        "purpose, cell.n, replicate)", "purpose, cell.model, replicate)",
        "compare/test_design.py -k replicate",
    ),
    Mutant(
        "a rate is of the distance without its floor", "compare/aggregate.py",
        'append(row[metric] - row[f"{metric}_floor"])', 'append(row[metric])',
        "compare/test_aggregate.py -k rate",
    ),
    Mutant(
        "an interrupt ends with 1", "interrupts.py",
        "INTERRUPTED = 130", "INTERRUPTED = 1",
        "test_cli.py -k every_way_to_end",
    ),
    Mutant(
        "an interrupt in an import is raised there", "interrupts.py",
        'not _STATE["at work"] or _is_importing(frame)', 'not _STATE["at work"]',
        "test_interrupts.py -k any_moment_of_the_program",
    ),
    Mutant(
        "a merge forgets who computed what", "study/merge.py",
        "            _copy(ledger.folder.sub(PROVENANCE), out.sub(LEDGER).sub(PROVENANCE))\n", "",
        "study/test_merge.py",
    ),
    Mutant(
        "a stopped trial that goes on counts as finished", "search/replay.py",
        "return item if is_finished and is_whole else len(reports)", "return item",
        "search/test_replay.py",
    ),
    Mutant(
        "a replay of a stopping rule has runs that there are not", "study/rejudge.py",
        "if run.key not in self._keys]", "if run.key in self._keys]",
        "study/test_rejudge.py",
    ),
    Mutant(
        "a leaderboard tests against the worst", "study/leaderboard.py",
        'known.sort("p_correct", descending=True, maintain_order=True)', 'known.sort("p_correct", maintain_order=True)',
        "study/test_leaderboard.py",
    ),
]  # fmt: skip


def tested(copy: Path, tests: str) -> tuple[int, str]:
    """Exit status of pytest on a copy of the sources, and the last line that it writes."""
    import forked

    files, _, word = tests.partition(" -k ")
    arguments = ["-x", "-q", "-p", "no:cacheprovider", str(copy / "tests" / files), *(["-k", word] if word else [])]
    ended = forked.run(run_pytest, arguments, cwd=copy, path=copy)
    lines = [line for line in ended.stdout.splitlines() if line.strip()]
    return ended.returncode, next((line for line in lines if line.startswith(("FAILED", "ERROR"))), lines[-1])


def run_pytest(arguments: list[str]) -> None:
    """In a child."""
    import pytest

    sys.exit(int(pytest.main(arguments)))


def tried(mutant: Mutant, copy: Path) -> tuple[bool, str]:
    """Whether a fault is noticed, and by what."""
    path = copy / "lwgan_dist" / mutant.file
    sound = path.read_text()
    if (count := sound.count(mutant.text)) != 1:
        return False, f"its text is {count} times in {mutant.file}"
    path.write_text(sound.replace(mutant.text, mutant.replacement))
    try:
        status, line = tested(copy, mutant.tests)
    finally:
        path.write_text(sound)
    return status == FAILED, line


def main(words: list[str]) -> int:
    """Try them one after the other and print a table."""
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    unnoticed = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / name)
        for mutant in chosen:
            began = time.monotonic()
            noticed, line = tried(mutant, copy)
            unnoticed += [] if noticed else [mutant.name]
            verdict = "noticed" if noticed else "UNNOTICED"
            print(f"{verdict:9}  {time.monotonic() - began:5.1f} s  {mutant.name:72}  {line[:110]}", flush=True)
    print(f"{len(chosen) - len(unnoticed)} of {len(chosen)} faults are noticed")
    return 1 if unnoticed or not chosen else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    from mutants import main as importable  # children have to find what they call

    sys.exit(importable(sys.argv[1:]))
