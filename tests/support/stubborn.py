"""Storage of which a part does not do what is asked."""

import errno

from lwgan_dist.storage import Folder


def keep(monkeypatch, name):
    """Let no folder within the folder of that name be removed."""
    remove = Folder.remove

    def fails(self, inner):
        if self.name == name:
            raise OSError(errno.EACCES, "Permission denied")
        remove(self, inner)

    monkeypatch.setattr(Folder, "remove", fails)
