"""Asynchronous successive halving by Ray Tune's scheduler, asked directly: trials are known by their names, so one
that runs again, or was finished by an earlier command, counts once.
"""

from collections.abc import Sequence
from types import SimpleNamespace

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler


class Asha:
    """Decides which trials go on. At report number g, g f, g f^2, .. a trial goes on if its value is among the best 1/f
    of those that have come so far.

    Args:
        reports: of a trial, at most.
        grace: g, number of the first report that counts.
        factor: f.
    """

    def __init__(self, reports: int, grace: int, factor: float) -> None:
        self._scheduler = AsyncHyperBandScheduler(
            time_attr="report", metric="value", mode="min", max_t=reports, grace_period=grace,
            reduction_factor=factor, stop_last_trials=False,
        )  # fmt: skip
        self._trials: dict[str, SimpleNamespace] = {}

    def goes_on(self, name: str, report: int, value: float) -> bool:
        """Whether a trial goes on after its report number ``report``, from 1, with a finite value; small is good."""
        if name not in self._trials:
            self._trials[name] = SimpleNamespace(trial_id=name)
            self._scheduler.on_trial_add(None, self._trials[name])
        result = {"report": report, "value": value}
        decision = self._scheduler.on_trial_result(None, self._trials[name], result)
        return bool(decision == TrialScheduler.CONTINUE)

    def remember(self, name: str, values: Sequence[float]) -> None:
        """Count the reports of a trial that has ended before."""
        for i, value in enumerate(values, start=1):
            self.goes_on(name, i, value)
