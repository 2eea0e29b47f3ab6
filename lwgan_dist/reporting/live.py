"""The losses of a run under way in TensorBoard. Every worker imports this module, so TensorBoard itself is imported
only where it is used.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

logger = logging.getLogger("lwgan_dist")


class LiveLosses:
    """Writes the losses of a run under way into ``tb/`` of a local run folder; nothing on another file system.

    Args:
        run_folder: local path of the run folder, or None.
    """

    def __init__(self, run_folder: Path | None) -> None:
        self._writer: SummaryWriter | None = None
        if run_folder is None or (run_folder / "tb").is_symlink():  # nothing is written behind a link
            return
        from torch.utils import tensorboard

        try:
            self._writer = tensorboard.SummaryWriter(str(run_folder / "tb"))
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._writer:
            try:
                self._writer.close()
            except OSError as error:
                self._give_up(error)

    def __call__(self, record: dict[str, Any]) -> None:
        """Write the losses of a progress record."""
        if self._writer:
            try:
                write_losses(self._writer, record["losses"], record["iteration"])
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """A view of the run is no reason to end it."""
        logger.warning("TensorBoard shows no losses of this run until it is finished: %s", error)
        self._writer = None


def write_losses(writer: "SummaryWriter", losses: dict[str, float], iteration: int) -> None:
    """Each loss under ``loss/`` at an iteration."""
    for name, value in losses.items():
        writer.add_scalar(f"loss/{name}", value, iteration)
