"""A process without the user's Ray: no variable of it, and a home of its own."""

import os


def own_home(tmp_path, monkeypatch):
    """Set HOME to a new folder ``home`` in a temporary one, and remove Ray's variables, until the test ends."""
    for name in list(os.environ):
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
