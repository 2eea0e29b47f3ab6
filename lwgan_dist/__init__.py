"""Learn the intrinsic dimension of data with latent Wasserstein GANs, from a laptop to a cluster.

`LWGAN` is the scikit-learn estimator; the command line is ``lwgan-dist``.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwgan_dist.estimator import LWGAN

try:
    __version__ = version("lwgan-dist")
except PackageNotFoundError:  # sources sent to a node that has only what they need
    __version__ = "0+sources"
__all__ = ["LWGAN", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the estimator when it is asked for: it brings torch, which the command line's help does not need."""
    if name == "LWGAN":
        from lwgan_dist.estimator import LWGAN

        return LWGAN
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
