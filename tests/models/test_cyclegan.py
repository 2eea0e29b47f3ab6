"""The cycle-consistent GAN where both domains are copies of one distribution."""

import numpy as np
import torch

from lwgan_dist.config import RunConfig
from lwgan_dist.data.sample import load_sample
from lwgan_dist.models.registry import trainer_of
from lwgan_dist.seeding import generator

MODEL = {"name": "cyclegan", "latent_dim": 1, "width": 8, "iterations": 300, "batch_size": 64, "learning_rate": 2e-3}


def trained(rows):
    """The model on rows as they are."""
    config = RunConfig.model_validate(
        {"data": {"source": "array", "standardize": "none"}, "model": MODEL, "precision": "float32"}
    )
    sample = load_sample(config.data, rows)
    trainer = trainer_of(config.resolved(train_rows=len(sample.train), ambient_dim=1), sample)
    for _ in trainer.run():
        pass
    return trainer.model.networks


def test_between_two_copies_of_one_distribution_it_is_the_identity():
    """One column of N(0, 1) is a copy of the latent distribution of size 1. The continuous maps of one onto the other
    that can be inverted are x and -x, and the losses cannot tell them apart: the identity up to its sign.
    """
    networks = trained(generator(0, "test").standard_normal((500, 1)).astype(np.float32))
    x = torch.linspace(-1.5, 1.5, 61)[:, None]
    with torch.no_grad():
        codes = networks["encoder"](x, torch.tensor(1))
        cycle = (networks["generator"](codes) - x).abs().mean()
        back = (networks["encoder"](networks["generator"](x), torch.tensor(1)) - x).abs().mean()
    identity = min(float((sign * codes - x).abs().mean()) for sign in (1, -1))
    assert max(float(cycle), float(back)) < 0.02
    assert identity < 0.2, "of 0.75 for codes that are all 0"
