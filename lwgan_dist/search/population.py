"""Population based training in generations: all members train for a part of a run, then the worst take over networks,
optimizers and parameters of the best, and parameters are changed.

Everything follows from the seed and the members' objectives, and what a generation has found is in the ledger, so an
interrupted population goes on where it was.

Source: Jaderberg et al. 2017 (arXiv:1711.09846), truncation selection; synchronous, as the generations wait for each
other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lwgan_dist.config import RunConfig
from lwgan_dist.errors import ConfigError, RunFailedError
from lwgan_dist.ledger import hash_of
from lwgan_dist.search.config import PbtScheduler
from lwgan_dist.search.engine import Engine
from lwgan_dist.search.objective import WORST
from lwgan_dist.search.space import Space
from lwgan_dist.search.trials import TrialLedger, TrialRecord
from lwgan_dist.search.work import POPULATION
from lwgan_dist.seeding import derive, generator
from lwgan_dist.storage import Folder

Told = dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A member in a generation.

    Attributes:
        index: its place in the population.
        values: of the searched fields.
        seed: of its run; a member that takes over another's networks takes its seed too, on which the rows of its
            embedding depend.
        parent: key of the generation before, its own or the one taken over.
        origin: index of the member that it was taken over from in the last selection, else its own.
        value: interim objective at the end of the generation; None before.
        failure: why there is none.
        cpu_seconds: processor time of the generation.
    """

    index: int
    values: dict[str, Any]
    seed: int
    parent: str | None = None
    origin: int | None = None
    value: float | None = None
    failure: str | None = None
    cpu_seconds: float = 0.0

    @property
    def rank_value(self) -> float:
        """The value, or the worst there is."""
        return WORST if self.value is None else self.value


def select(members: Sequence[Member], count: int) -> dict[int, int]:
    """Which member takes over from which: the worst ``count`` from the best, the very worst from the very best."""
    order = sorted(members, key=lambda member: (member.rank_value, member.index))
    pairs = zip(reversed(order[-count:]), order[:count], strict=True)
    return {worse.index: better.index for worse, better in pairs if worse.rank_value > better.rank_value}


class Population:
    """Trains a population.

    Args:
        scheduler: generations, selection and change of parameters.
        space: of the parameters.
        seed: of the search.
        folder: of the search.
        ledger: of the search.
        build: the configuration of values, with the seeds of the sample and of the run; raises ConfigError.
        common: ``table_digest``, ``unit`` and ``weights``, as of trials.
    """

    def __init__(
        self,
        scheduler: PbtScheduler,
        space: Space,
        seed: int,
        folder: Folder,
        ledger: TrialLedger,
        build: Callable[[Mapping[str, Any], int], RunConfig],
        common: Told,
    ) -> None:
        self._scheduler = scheduler
        self._space = space
        self._seed = seed
        self._folder = folder
        self._ledger = ledger
        self._build = build
        self._common = common
        self._tasks: dict[str, Told] = {}

    def train(
        self, initial: Sequence[Mapping[str, Any]], engine: Engine, on_generation: Callable[[int, list[Member]], None]
    ) -> list[list[Member]]:
        """The members after every generation.

        Args:
            initial: values of the first generation, one for each member.
            engine: carries out.
            on_generation: is told of each generation, from 0, when it ends.

        Raises:
            RunFailedError: a member could not be finished; the same search goes on from the generations before.
        """
        members = [
            Member(i, dict(values), derive(self._seed, "search/member", i) % 2**31) for i, values in enumerate(initial)
        ]
        generations: list[list[Member]] = []
        for generation in range(self._scheduler.generations):
            members, keys = self._generation(generation, members, engine)
            generations.append(members)
            on_generation(generation, members)
            if generation + 1 < self._scheduler.generations:
                members = self._next(generation, members, keys)
        self._folder.remove(POPULATION)
        return generations

    def finalists(self, members: Sequence[Member]) -> list[dict[str, Any]]:
        """Values of the best members of the last generation, each once."""
        best: list[dict[str, Any]] = []
        for member in sorted(members, key=lambda member: (member.rank_value, member.index)):
            if member.value is not None and member.values not in best:
                best.append(member.values)
        return best[: self._scheduler.finalists]

    def _generation(
        self, generation: int, members: list[Member], engine: Engine
    ) -> tuple[list[Member], dict[int, str]]:
        known = {record.key: record for record in self._ledger.records(self._ledger.keys())}
        tasks: dict[str, Told] = {}
        keys: dict[int, str] = {}
        failures = {member.index: member.failure for member in members if member.failure}
        for member in members:
            if member.index in failures:
                continue
            try:
                config = self._build(member.values, member.seed)
            except ConfigError as error:
                failures[member.index] = str(error)
                continue
            task = self._task(generation, member, config, engine)
            keys[member.index] = task["key"]
            if task["key"] not in known:
                tasks[task["key"]] = task
        self._restore([task["parent"] for task in tasks.values() if task["parent"]], engine)
        known |= self._finish(generation, tasks, engine)
        after = []
        for member in members:
            if member.index in failures:
                after.append(replace(member, value=None, failure=failures[member.index]))
                continue
            record = known[keys[member.index]]
            value = None if record.failure else record.reports[0]
            after.append(replace(member, value=value, failure=record.failure, cpu_seconds=record.cpu_seconds))
        return after, keys

    def _task(self, generation: int, member: Member, config: RunConfig, engine: Engine) -> Told:
        """What `lwgan_dist.search.work` is told about a member; its key is the hash of what its numbers depend on."""
        told = {
            **self._common,
            "config": config.model_dump(mode="json"),
            "parent": member.parent,
            "generation": generation,
            "generations": self._scheduler.generations,
        }
        of = dict(told["config"])
        if told["table_digest"]:
            of["data"] = {**of["data"], "path": told["table_digest"]}
        key = hash_of(["member", {**told, "config": of}])
        self._tasks[key] = {**engine.common, **told, "kind": "member", "key": key}
        return self._tasks[key]

    def _restore(self, parents: Sequence[str], engine: Engine) -> None:
        """Train members again whose states are needed and not there any more, as after an earlier search of other
        settings.
        """
        folders = self._folder.sub(POPULATION)
        gone = {key: self._tasks[key] for key in parents if not folders.sub(key).sub("checkpoints").names()}
        if gone:
            self._restore([task["parent"] for task in gone.values() if task["parent"]], engine)
            self._finish(next(iter(gone.values()))["generation"], gone, engine)

    def _finish(self, generation: int, tasks: Mapping[str, Told], engine: Engine) -> dict[str, TrialRecord]:
        """Carry out tasks of a generation."""
        found: dict[str, TrialRecord] = {}

        def note(_index: int, answer: Told) -> None:
            found[answer["key"]] = TrialRecord(**answer)

        lost = engine.finish(list(tasks.values()), note)
        if lost:
            raise RunFailedError(
                f"generation {generation}: {len(lost)} of {len(tasks)} members did not finish, the same command goes "
                f"on ({next(iter(lost.values()))})"
            )
        self._ledger.gather()
        return found

    def _next(self, generation: int, members: list[Member], keys: dict[int, str]) -> list[Member]:
        """The members that the next generation begins with."""
        count = min(max(1, round(self._scheduler.quantile * len(members))), len(members) // 2)
        taken = select(members, count) if count else {}
        following = []
        for member in members:
            better = members[taken.get(member.index, member.index)]
            values = better.values
            if member.index in taken:
                rng = generator(self._seed, "search/perturb", generation, member.index)
                values = self._space.perturb(values, rng, self._scheduler.factor, self._scheduler.resample)
            failure = better.failure
            following.append(
                Member(member.index, values, better.seed, keys.get(better.index), better.index, None, failure)
            )
        return following
