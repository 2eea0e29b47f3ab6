"""Learn the intrinsic dimension of data with latent Wasserstein GANs, from a laptop to a cluster.

`LWGAN` is the scikit-learn estimator, and those of the other models are beside it; `estimate` gives the answer for a
table with what classical estimators say; the command line is ``lwgan-dist``.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwgan_dist.estimator import (
        ARDVAE,
        GAN,
        LWGAN,
        VAE,
        WAE,
        WGANGP,
        CycleGAN,
        DataWarning,
        NestedDropoutAE,
        estimate,
    )

    __version__: str

__all__ = [
    "ARDVAE",
    "GAN",
    "LWGAN",
    "VAE",
    "WAE",
    "WGANGP",
    "CycleGAN",
    "DataWarning",
    "NestedDropoutAE",
    "__version__",
    "estimate",
]


def __getattr__(name: str) -> Any:
    """Import the estimators when one is asked for: they bring torch, which the command line's help does not need; and
    look up the version then, so that little is imported before interrupts are answered.
    """
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("lwgan-dist")
        except PackageNotFoundError:  # sources sent to a node that has only what they need
            return "0+sources"
    if name in __all__:
        from lwgan_dist import estimator

        return getattr(estimator, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
