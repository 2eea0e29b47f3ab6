"""The Wasserstein auto-encoder as a kind of model."""

import numpy as np

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import Sample
from lwgan_dist.errors import DataError
from lwgan_dist.models.base import Finished, Verdict
from lwgan_dist.models.wae.config import WaeModel
from lwgan_dist.models.wae.model import Wae, WaeNetworks, build_networks, stages_of
from lwgan_dist.networks.base import Shape
from lwgan_dist.results import COMPONENTS, Judgement, RankScore
from lwgan_dist.training.distributed import World
from lwgan_dist.training.stage import Stage


class WaeKind:
    """See `lwgan_dist.models.base.Kind`."""

    finds_parts = False

    def schedule(self, config: RunConfig) -> str:
        """It has one, of its own name."""
        return config.model.name

    def check(self, config: RunConfig, given: RunConfig, sample: Sample, source: str) -> None:
        """A batch fits into the training rows."""
        batch_size = _of(config).batch_size or 0
        if sample.stream is None and len(sample.train) < batch_size:
            raise DataError(
                f"{source}{len(sample.train)} training rows are fewer than a batch of model.batch_size = "
                f"{batch_size}: give more rows or a smaller batch"
            )

    def stages(self, config: RunConfig) -> list[Stage]:
        """Training and scoring."""
        return stages_of(_of(config))

    def model(self, config: RunConfig, sample: Sample, world: World) -> Wae:
        """A new auto-encoder."""
        return Wae(config, sample, world)

    def networks(self, config: RunConfig, shape: Shape) -> WaeNetworks:
        """In full precision."""
        return build_networks(_of(config), shape, precision="float64" if config.precision == "float64" else "float32")

    def latent_dim(self, config: RunConfig) -> int:
        """The one latent size."""
        latent_dim = _of(config).latent_dim
        assert latent_dim is not None  # resolved
        return latent_dim

    def judge(self, finished: Finished) -> Verdict:
        """The objective on the training rows; an auto-encoder of one size estimates no dimension."""
        config = finished.config
        table = finished.tables["train"][:, 0]
        weight = _of(config).mmd_weight
        scores = table[:, COMPONENTS.index("reconstruction")] + weight * table[:, COMPONENTS.index("mmd")]
        row = RankScore(
            rank=self.latent_dim(config),
            score=scores.mean(),
            se=scores.std(ddof=1) / np.sqrt(len(scores)),
            **dict(zip(COMPONENTS, table.mean(axis=0).tolist(), strict=True)),
        )
        judgement = Judgement(
            dimension=None,
            penalty=0.0,
            rank_scores=[row],
            rule="none",
            resolution=None,
            staircase=[],
            rank_set=None,
            confidence=None,
            other_dimension=None,
        )
        return Verdict(judgement)


KIND = WaeKind()


def _of(config: RunConfig) -> WaeModel:
    assert isinstance(config.model, WaeModel)
    return config.model
