"""A finished run of a study."""

from dataclasses import dataclass

from lwgan_dist.campaign.record import Fit, Record


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record, Fit):
    """A finished run; see `lwgan_dist.campaign.drawn.RunNames` for its key.

    Attributes:
        kind: lwgan, model, classical or refit (of a bootstrap).
        value: of a classical estimator, as it gave it.
        dimension: of a classical estimator or another model; that of an LWGAN follows from the scores by a rank rule.
    """

    kind: str
    value: float | None = None
    dimension: int | None = None
