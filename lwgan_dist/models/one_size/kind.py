"""A model with one latent size as a kind of model; see `lwgan_dist.models.base.Kind`."""

from typing import Any

import numpy as np

from lwgan_dist.config import Precision, RunConfig
from lwgan_dist.data.sample import Sample
from lwgan_dist.errors import DataError
from lwgan_dist.models.base import Finished, Verdict
from lwgan_dist.models.one_size.config import OneSizeModel
from lwgan_dist.models.one_size.model import OneSize
from lwgan_dist.models.one_size.networks import OneSizeNetworks
from lwgan_dist.networks.base import Shape
from lwgan_dist.results import Judgement, RankScore, ScoreTables
from lwgan_dist.training.distributed import World
from lwgan_dist.training.stage import Stage


class OneSizeKind:
    """The kind of a model with one latent size.

    Args:
        trained: the model in training.
    """

    finds_parts = False

    def __init__(self, trained: type[OneSize[Any]]) -> None:
        self._trained = trained

    @property
    def components(self) -> tuple[str, ...]:
        """Those of the model."""
        return self._trained.components

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
        return self._trained.stages_of(_of(config))

    def model(self, config: RunConfig, sample: Sample, world: World) -> OneSize[Any]:
        """A new model."""
        return self._trained(config, sample, world)

    def networks(self, config: RunConfig, shape: Shape) -> OneSizeNetworks:
        """In full precision."""
        precision: Precision = "float64" if config.precision == "float64" else "float32"
        networks = self._trained.networks_of(_of(config), shape, precision=precision)
        networks.bound(config.bounded)
        return networks

    def latent_dim(self, config: RunConfig) -> int:
        """The one latent size."""
        return _of(config).size

    def judge(self, finished: Finished) -> Verdict:
        """The score on the training rows, and the dimension if the model estimates one."""
        model = _of(finished.config)
        rows = self._rank_scores(model, finished.tables)
        judgement = Judgement(
            dimension=self._trained.dimension(model, rows),
            penalty=0.0,
            rank_scores=rows,
            rule=self._trained.rule,
            resolution=None,
            staircase=[],
            rank_set=None,
            confidence=None,
            other_dimension=None,
        )
        return Verdict(judgement)

    def _rank_scores(self, model: OneSizeModel, tables: ScoreTables) -> list[RankScore]:
        """By rank 1..q, or of the latent size alone: whichever the model measures."""
        table = tables["train"]
        evaluations, ranks, _ = table.shape
        scores = self._trained.score(model, dict(zip(self.components, np.moveaxis(table, 2, 0), strict=True)))
        means = table.mean(axis=0).tolist()
        return [
            RankScore(
                rank=model.size - ranks + i + 1,
                score=scores[:, i].mean(),
                se=scores[:, i].std(ddof=1) / np.sqrt(evaluations),
                **dict(zip(self.components, means[i], strict=True)),
            )
            for i in range(ranks)
        ]


def _of(config: RunConfig) -> OneSizeModel:
    assert isinstance(config.model, OneSizeModel)
    return config.model
