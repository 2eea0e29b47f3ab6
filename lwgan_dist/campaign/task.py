"""The tasks of workers. They are immutable and travel to other processes as they are."""

from dataclasses import dataclass

from lwgan_dist.config import ExecutionConfig
from lwgan_dist.errors import ClusterError
from lwgan_dist.run.folder import ENVIRONMENT_FILE
from lwgan_dist.storage import Folder


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work for a study or search; subclasses say which.

    Attributes:
        location: folder of the study or search.
        execution: of each run, within the process that gets the task.
    """

    location: str
    execution: ExecutionConfig

    def folder(self, kind: str) -> Folder:
        """The folder of the study or search.

        Raises:
            ClusterError: this process does not see it.
        """
        folder = Folder.at(self.location)
        if not folder.has(ENVIRONMENT_FILE):
            raise ClusterError(
                f"{folder.location}: this node does not see the {kind}; use a shared folder or a URI as storage"
            )
        return folder
