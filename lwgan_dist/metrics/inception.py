"""The Inception network with weights that the user supplies, by torch-fidelity (extra ``inception``)."""

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from lwgan_dist.data.blocks import Array
from lwgan_dist.errors import ConfigError
from lwgan_dist.metrics.registry import INCEPTION_WEIGHTS

_IMAGES_AT_ONCE = 32


def inception() -> Callable[[Array], tuple[Array, Array]]:
    """A function from images to 2,048 features and 1,008 logits by Inception.

    It takes images in [0, 1], shape (n, h, w) or (n, channels, h, w), rounded to 256 levels. Three channels are colour;
    of any other number the mean is taken, as a grey image. The network scales them to 299 x 299.

    Raises:
        ConfigError: no weights are supplied, or not those of the network, or the extra is missing.
    """
    path = os.environ.get(INCEPTION_WEIGHTS)
    if not path:
        raise ConfigError(
            f"FID and Inception Score need the weights of the network, on every node: {INCEPTION_WEIGHTS}=FILE"
        )
    network = _network(path)

    @torch.no_grad()
    def outputs(images: Array) -> tuple[Array, Array]:
        colours = images if images.ndim == 4 else images[:, None]
        if colours.shape[1] != 3:
            colours = colours.mean(axis=1, keepdims=True).repeat(3, axis=1)
        levels = torch.from_numpy(np.rint(255.0 * colours).astype(np.uint8))
        parts = [network(levels[i : i + _IMAGES_AT_ONCE]) for i in range(0, len(levels), _IMAGES_AT_ONCE)]
        features, logits = (torch.cat(part).double().numpy() for part in zip(*parts, strict=True))
        return features, logits

    return outputs


@cache
def _network(path: str) -> Any:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except (ImportError, RuntimeError) as error:  # the latter from a torchvision of another build than torch
        raise ConfigError(
            f"FID and Inception Score need torch-fidelity, with a torchvision of the build of torch: pip install "
            f"'lwgan-dist[inception]' ({error})"
        ) from None
    try:
        return FeatureExtractorInceptionV3("inception", ["2048", "logits_unbiased"], path)
    except Exception as error:  # whatever unpickling raises  # noqa: BLE001
        raise ConfigError(f"{INCEPTION_WEIGHTS}={path}: not the weights of Inception ({error})") from None
