"""The space of a search: the configurations between which it chooses, checked, suggested to a sampler and counted.

A *point* of the space is a dictionary of values by path, with only those parameters whose conditions hold. Its values
are plain Python values as the schema of `RunConfig` writes them, so that points can be compared by ``==``.
"""

import difflib
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel

from lwgan_dist.config import (
    FastSchedule,
    NetworksConfig,
    ObjectiveConfig,
    PaperSchedule,
    RunConfig,
    ScoreConfig,
    Standardization,
    override,
)
from lwgan_dist.configbase import WIDTH, Frozen
from lwgan_dist.configerrors import one_line, shortened
from lwgan_dist.configfile import build_config, located
from lwgan_dist.errors import ConfigError
from lwgan_dist.models.configs import LwganModel
from lwgan_dist.search.config import SearchConfig

if TYPE_CHECKING:
    import optuna

SCHEDULE = "schedule.name"
GRID_LIMIT = 100_000
"""Most combinations of a grid."""

_SCHEDULES: dict[str, type[Frozen]] = {"paper": PaperSchedule, "fast": FastSchedule}
_SECTIONS: dict[str, tuple[type[Frozen], ...]] = {
    "networks": (NetworksConfig,),
    "objective": (ObjectiveConfig,),
    "schedule": (PaperSchedule, FastSchedule),
    "score": (ScoreConfig,),
}
"""Those of an LWGAN, with what may stand in them; all settings of any other model stand in ``model``."""
_OF_AUTHORS = {
    "networks.width": WIDTH,
    "networks.encoder_activation": "relu",
    "networks.linear_path": False,
    "score.evaluations": 50,
    "score.penalty": "reference",
}
"""Constants of the authors that are not the defaults of the models."""
_DATA_FIELD = "data.standardize"
"""The only field of the data that is searched: it changes what is trained on, not what is judged."""
_OF_ANY_MODEL: dict[str, Any] = {
    "precision": RunConfig.model_fields["precision"].annotation,
    _DATA_FIELD: Standardization,
}
"""Type of each field outside of the sections that can be searched, by path."""

Point = dict[str, Any]


class Space:
    """The parameters of a search.

    Args:
        config: the search.

    Raises:
        ConfigError: fields that do not exist or cannot be searched, values that the schema refuses, conditions that
            cannot hold; all errors at once, a line each, that begins with the key (``space.objective.mmd_weight: ``).
    """

    def __init__(self, config: SearchConfig) -> None:
        self.run = config.run
        self._sections = _sections_of(config.run)
        self._fields = {
            f"{section}.{name}": field.annotation
            for section, models in self._sections.items()
            for model in models
            for name, field in model.model_fields.items()
        } | _OF_ANY_MODEL
        self._base = config.run.model_dump()
        self._parameters = dict(config.space)
        self._when: dict[str, dict[str, list[Any]]] = {path: {} for path in self._parameters}
        self._check()
        self._order = self._parents_first(list(self._parameters))
        # Draws are the same in whatever order the file names the parameters.
        self._draw_order = self._parents_first(sorted(self._parameters))

    @property
    def paths(self) -> list[str]:
        """All parameters, in the order of the file, but each after those that its conditions are about."""
        return list(self._order)

    def is_active(self, path: str, values: Point) -> bool:
        """Whether the conditions of a parameter hold at a point; one on a parameter that is not active does not."""
        return all(parent in values and _among(values[parent], allowed) for parent, allowed in self._when[path].items())

    def configuration(self, values: Point) -> RunConfig:
        """The run of a point: the run of the search with these values.

        Raises:
            ConfigError: values that the schema refuses.
        """
        return build_config(RunConfig, override(self._base, values), {}) if values else self.run

    def values_of(self, config: RunConfig) -> Point:
        """The point that a configuration is at. Its values may lie outside of the space, see `contains`."""
        return self._active({path: _at(config, path) for path in self._order if _has(config, path)})

    def contains(self, values: Point) -> bool:
        """Whether these are the values of a point: those that are active and no others, each in its range."""
        return not self.outside(values) and all(path in values for path in self._order if self.is_active(path, values))

    def outside(self, values: Point) -> list[str]:
        """What keeps values from being those of a point, a line each: ``networks.width: 7 is not in its integer [8,
        64]``. Active parameters without a value are not among them.
        """
        lines = []
        for path, value in values.items():
            if path not in self._parameters:
                lines.append(f"{_key(path)}: is not in the space{self._hint(path, self._order)}")
            elif not self.is_active(path, values):
                lines.append(f"{path}: its condition ({_text(self._parameters[path].when)}) does not hold")
            elif not self._within(path, value):
                lines.append(f"{path}: {_text(value)} is not in its {self._described(path)}")
        return lines

    def paper_values(self, config: RunConfig) -> Point:
        """The point of the authors: their constants, most of them the defaults of the models, for weights, widths,
        activation, score and schedule ``paper``. Where they have no value (``fast``, latent dimension, precision,
        standardisation, or a default that depends on the data) it is that of the configuration.

        Args:
            config: the default run, resolved.
        """
        values = {}
        if SCHEDULE in self._parameters and self._within(SCHEDULE, "paper") and config.schedule.name != "paper":
            config = build_config(RunConfig, override(config.model_dump(), {SCHEDULE: "paper"}), {})
        for path in self._order:
            if _has(config, path):
                constant = _authors_constant(path, config)
                values[path] = _at(config, path) if constant is None else constant
        return self._active(values)

    def suggest(self, trial: "optuna.Trial") -> Point:
        """The point that a trial of Optuna chooses, value by value: which are active depends on those before."""
        values: Point = {}
        for path in self._draw_order:
            if self.is_active(path, values):
                values[path] = self._suggested(path, trial)
        return {path: values[path] for path in self._order if path in values}

    def encoded(self, values: Point) -> dict[str, Any]:
        """A point in the values that `suggest` asks a trial of Optuna for."""
        encoded = dict(values)
        for path, value in values.items():
            kind = self._parameters[path].kind
            if kind == "choice":
                encoded[path] = self._parameters[path].values.index(value)
            elif kind == "integer":
                encoded[path] = int(value)
        return encoded

    def grid(self) -> list[Point]:
        """All points of a space of grids, choices and integers, in order: the last parameter changes fastest.

        Raises:
            ConfigError: more than `GRID_LIMIT` points.
        """
        points = list(itertools.islice(self._points(self._order, {}), GRID_LIMIT + 1))
        if len(points) > GRID_LIMIT:
            raise ConfigError(f"space: has more than {GRID_LIMIT:,} combinations")
        return points

    def _points(self, paths: Sequence[str], values: Point) -> Iterator[Point]:
        if not paths:
            yield values
            return
        path, *rest = paths
        if not self.is_active(path, values):
            yield from self._points(rest, values)
            return
        parameter = self._parameters[path]
        choices: Iterable[Any] = parameter.values
        if parameter.integer is not None:
            low, high = parameter.integer
            choices = (self._as_field(path, value) for value in range(low, high + 1, parameter.step))
        for value in choices:
            yield from self._points(rest, {**values, path: value})

    def _suggested(self, path: str, trial: "optuna.Trial") -> Any:
        parameter = self._parameters[path]
        if parameter.integer is not None:
            first, last = parameter.integer
            last -= (last - first) % parameter.step
            return self._as_field(path, trial.suggest_int(path, first, last, step=parameter.step, log=parameter.log))
        if parameter.kind in ("uniform", "loguniform"):
            low, high = getattr(parameter, parameter.kind)
            return trial.suggest_float(path, low, high, log=parameter.kind == "loguniform")
        values = parameter.values  # by their index: Optuna knows no lists or mappings as values
        return values[trial.suggest_categorical(path, range(len(values)))]

    def _as_field(self, path: str, value: int) -> int | float:
        """A whole number as the field has it."""
        return float(value) if _numbers(self._fields[path]) == {float} else int(value)

    def _within(self, path: str, value: Any) -> bool:
        parameter = self._parameters[path]
        if parameter.kind in ("choice", "grid"):
            return _among(value, parameter.values)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = getattr(parameter, parameter.kind)
        if not low <= value <= high:
            return False
        return parameter.integer is None or (value - low) % parameter.step == 0

    def _active(self, values: Point) -> Point:
        """Those of the values for all parameters whose conditions hold."""
        active: Point = {}
        for path in self._order:
            if path in values and self.is_active(path, active):
                active[path] = values[path]
        return active

    def _described(self, path: str) -> str:
        parameter = self._parameters[path]
        kind = parameter.kind
        step = f" in steps of {parameter.step}" if parameter.step > 1 else ""
        return f"{kind} {_text(getattr(parameter, kind))}{step}"

    def _parents_first(self, paths: list[str]) -> list[str]:
        ordered: list[str] = []

        def add(path: str) -> None:
            if path not in ordered:
                for parent in paths:
                    if parent in self._when[path]:
                        add(parent)
                ordered.append(path)

        for path in paths:
            add(path)
        return ordered

    # checks ---------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Raises all errors. A later check rests on earlier ones and passes over the parameters that failed them."""
        errors: dict[str, list[str]] = {path: [] for path in self._parameters}

        def check(errors_of: Callable[[str], list[str]]) -> None:
            failed = {path for path, lines in errors.items() if lines}
            for path in errors:
                if path not in failed:
                    errors[path] += errors_of(path)
            for path, lines in errors.items():
                if lines:  # what rests on it is checked as if it did not
                    self._when[path] = {}
                    for when in self._when.values():
                        when.pop(path, None)

        check(self._field_errors)
        check(self._condition_errors)
        for path, parameter in self._parameters.items():
            for parent, value in parameter.when.items():
                if not errors[path] and not errors[parent]:
                    self._when[path][parent] = value if isinstance(value, list) else [value]
        check(self._schedule_errors)
        check(self._value_errors)
        check(self._condition_value_errors)
        lines = [f"space.{_key(path)}{error}" for path, of_path in errors.items() for error in of_path]
        if lines:
            raise ConfigError("\n".join(dict.fromkeys(lines)))

    def _field_errors(self, path: str) -> list[str]:
        if path in self._fields and (path == SCHEDULE or not path.endswith(".name")):
            return []
        section, _, field = path.partition(".")
        if path == "seed":
            return [": is not searched; the seeds of all runs are derived from the seed of the search"]
        if section == "data":
            return [f": is not searched, only {_DATA_FIELD} is: objectives on other data could not be compared"]
        if path in self._sections:
            of_section = [name for name in self._fields if name.startswith(f"{path}.")]
            return [f": is a section; name its fields, for example {of_section[-1]}"]
        if path == "model.name":
            return [": is not searched; a search is of one model"]
        if path in self._fields:
            return [": has only one value"]
        names = list(self._fields)
        if field and section in self._sections:
            names = [name for name in names if name.startswith(f"{section}.")]
        return [f": unknown field{self._hint(path, names)}"]

    def _hint(self, path: str, fields: Sequence[str]) -> str:
        """``; did you mean objective.mmd_weight?``, or a few fields as they are."""
        close = difflib.get_close_matches(path, fields, n=1, cutoff=0.75)
        if not close:  # the right field, without its section or in a wrong one
            field = path.rpartition(".")[2]
            close = [name for name in self._fields if name.rpartition(".")[2] == field and name in fields][:1]
        if close:
            return f"; did you mean {close[0]}?"
        return f"; known: {', '.join(fields)}" if len(fields) <= 16 else ""

    def _condition_errors(self, path: str) -> list[str]:
        when = self._parameters[path].when
        unknown = [parent for parent in when if parent not in self._parameters]
        if unknown:
            known = list(self._parameters)
            return [f".when: {_key(name)} is not in the space{self._hint(name, known)}" for name in unknown]
        chain = self._cycle(path)
        return [f".when: a condition cannot rest on itself ({' on '.join(chain)})"] if chain else []

    def _cycle(self, path: str) -> list[str]:
        """The shortest chain of conditions from a parameter back to itself; empty if there is none."""
        chains = [[path]]
        seen = {path}
        for chain in chains:  # grows while it is gone through
            parameter = self._parameters.get(chain[-1])
            for parent in parameter.when if parameter else ():
                if parent == path:
                    return [*chain, path]
                if parent not in seen:
                    seen.add(parent)
                    chains.append([*chain, parent])
        return []

    def _schedules(self, path: str) -> list[str]:
        """The schedules that are possible where a parameter is active."""
        possible: list[str] = [self.run.schedule.name]
        if SCHEDULE in self._parameters:
            possible = self._named_schedules()
        for parent, allowed in self._when[path].items():
            of_parent = allowed if parent == SCHEDULE else self._schedules(parent)
            possible = [name for name in possible if name in of_parent]
        return possible

    def _named_schedules(self) -> list[str]:
        values = self._parameters[SCHEDULE].values
        return [value for value in values if isinstance(value, str) and value in _SCHEDULES]

    def _schedule_errors(self, path: str) -> list[str]:
        section, _, field = path.partition(".")
        possible = self._schedules(path)
        if section != "schedule" or path == SCHEDULE or not possible:
            return []  # no schedule: an error of the condition, or of the values of schedule.name
        owners = [name for name, model in _SCHEDULES.items() if field in model.model_fields]
        others = [name for name in possible if name not in owners]
        if not others:
            return []
        law = f"{field} goes with {SCHEDULE} {owners[0]!r}"
        if SCHEDULE not in self._parameters:
            return [f": {law}, and that of run is {others[0]!r}"]
        if owners[0] not in self._named_schedules():
            return [f": {law}, which {SCHEDULE} never is in the space"]
        return [f": {law}, so it needs when: {{{SCHEDULE}: {owners[0]}}}"]

    def _value_errors(self, path: str) -> list[str]:
        parameter = self._parameters[path]
        types = _numbers(self._fields[path])
        if parameter.kind in ("uniform", "loguniform"):
            if types == {int}:
                low, high = getattr(parameter, parameter.kind)
                log = ", log: true" if parameter.kind == "loguniform" else ""
                mend = f"integer: [{math.ceil(low)}, {math.floor(high)}]{log}"
                return [f": takes whole numbers, so {parameter.kind} does not fit; use {mend}"]
            return self._refused(path, getattr(parameter, parameter.kind))[1]
        if parameter.integer is not None:
            return self._refused(path, list(parameter.integer))[1]
        values, errors = self._refused(path, parameter.values)
        if not errors:
            if any(_among(value, values[:index]) for index, value in enumerate(values)):
                errors.append(": a value is given twice")
            if values:  # none: no schedule, which is another parameter's error
                self._parameters[path] = parameter.model_copy(update={parameter.kind: values})
        return errors

    def _refused(self, path: str, values: list[Any]) -> tuple[list[Any], list[str]]:
        """Values as the schema writes them, and what it refuses."""
        accepted: list[Any] = []
        errors: list[str] = []
        for context in self._contexts(path):
            accepted = []
            for value in values:
                try:
                    config = build_config(RunConfig, override(self._base, {**context, path: value}), {})
                    accepted.append(_at(config, path))
                except ConfigError as error:
                    for line in str(error).splitlines():
                        key, _, message = line.partition(": ")
                        if key == path:
                            errors.append(f": {message}")
                        elif key.startswith(f"{path}."):  # an item of a list
                            errors.append(f": {_text(value)}: {message}")
                        elif key not in context:  # whose own error it is
                            errors.append(f": {_text(value)} cannot be: {line}")
        return accepted, list(dict.fromkeys(errors))

    def _contexts(self, path: str) -> list[Point]:
        """Values of the parameters that a parameter's conditions are about: one for each schedule that it can be in."""
        if path == SCHEDULE:
            return [{}]
        context: Point = {}

        def add(child: str) -> None:
            for parent, allowed in self._when[child].items():
                if parent != SCHEDULE and allowed:
                    context[parent] = allowed[0]
                    add(parent)

        add(path)
        if SCHEDULE not in self._parameters or SCHEDULE not in self._fields:
            return [context]
        return [{SCHEDULE: name, **context} for name in self._schedules(path)]

    def _condition_value_errors(self, path: str) -> list[str]:
        errors = []
        for parent, allowed in self._when[path].items():
            kind = self._parameters[parent].kind
            if kind in ("uniform", "loguniform"):
                errors.append(f".when: {parent} is {kind} and has no single values; conditions are on the other kinds")
                continue
            if not allowed:
                errors.append(f".when: {parent}: needs a value")
            for value in allowed:
                if not self._within(parent, value):
                    errors.append(f".when: {parent} is never {_text(value)}; it is in {self._described(parent)}")
        if not errors and SCHEDULE in self._parameters and not self._schedules(path):
            errors.append(f".when: cannot hold: no {SCHEDULE} fulfils it and the conditions that it rests on")
        return errors


@contextmanager
def located_space(file: str | None, changes: Sequence[str]) -> Iterator[None]:
    """Gives errors of a `Space`, and others about keys of a search, the place where the key was given.

    Args:
        file: the configuration that was read, None if not from a file.
        changes: its overrides.
    """
    with located(file, changes, SearchConfig):
        yield


def _sections_of(run: RunConfig) -> dict[str, tuple[type[Frozen], ...]]:
    """The sections that hold the settings of a run's model, with what may stand in them."""
    return _SECTIONS if isinstance(run.model, LwganModel) else {"model": (type(run.model),)}


def _has(config: RunConfig, path: str) -> bool:
    """Whether a run has a field; its schedule may be the other one."""
    section, _, field = path.rpartition(".")
    place: BaseModel = getattr(config, section) if section else config
    return field in type(place).model_fields


def _at(config: RunConfig, path: str) -> Any:
    section, _, field = path.rpartition(".")
    return getattr(getattr(config, section) if section else config, field)


def _authors_constant(path: str, config: RunConfig) -> Any:
    """What the authors have at a path; None where that depends on the data or they have no such field."""
    section, _, field = path.rpartition(".")
    if path in _OF_AUTHORS:
        return _OF_AUTHORS[path]
    if section == "schedule":
        return PaperSchedule.model_fields[field].default if config.schedule.name == "paper" else None
    if section in _SECTIONS:
        return _SECTIONS[section][0].model_fields[field].default
    return None


def _numbers(annotation: Any) -> set[type]:
    """The types of number that a field takes by itself, not in a list."""
    if annotation in (int, float):
        return {annotation}
    if get_origin(annotation) is list:
        return set()
    # Annotated[int, Field(ge=1)] | None
    return {kind for part in get_args(annotation) if not isinstance(part, str) for kind in _numbers(part)}


def _equal(one: Any, other: Any) -> bool:
    """Equal values; true is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _among(value: Any, values: Sequence[Any]) -> bool:
    return any(_equal(value, other) for other in values)


def _key(path: str) -> str:
    return one_line(path) or "''"


def _text(value: Any) -> str:
    return one_line(shortened(json.dumps(value, default=str), 80))
