"""A finished run of a comparison."""

from dataclasses import dataclass, field

from lwgan_dist.campaign.record import Record


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """A finished run.

    Attributes:
        data_sha256: identity of the sample.
        fingerprint: that ``lwgan-dist train`` gives the run.
        ambient_dim: columns of the data.
        latent_dim: q, the most coordinates of a code.
        dimension: the estimate, of a model that has one.
        rank: at which the model is used where none is asked for: the estimate, else q.
        ranks: at which it was measured.
        metrics: at each of these ranks, by name; floors as ``<name>_floor``, distances to fresh rows as
            ``fresh_<name>``.
    """

    data_sha256: str | None = None
    fingerprint: str | None = None
    ambient_dim: int | None = None
    latent_dim: int | None = None
    dimension: int | None = None
    rank: int | None = None
    ranks: list[int] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)

    def metrics_at(self, rank: int) -> dict[str, float]:
        """The metrics at a rank, by name; none at a rank that was not measured."""
        if rank not in self.ranks:
            return {}
        place = self.ranks.index(rank)
        return {name: values[place] for name, values in self.metrics.items()}
