"""Child processes without the seconds that their imports take: forks of a server that has imported the libraries and
the package.

A child has a memory, a working folder, an environment and signals of its own, and may be killed. What it calls lies in
a module that it can import: one of the package, or one beside this file.
"""

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([
    "torch._dynamo", "torch.utils.tensorboard", "pyarrow.dataset", "matplotlib.backends.backend_agg",
    "mpl_toolkits.mplot3d", "scipy.stats", "sklearn.ensemble", "sklearn.isotonic", "sklearn.neighbors",
    "pydantic.json_schema", "ruamel.yaml", "rich.table", "safetensors.torch",
    "lwgan_dist.cli.runs", "lwgan_dist.run.run", "lwgan_dist.run.artifacts", "lwgan_dist.run.report",
])  # fmt: skip


class Child:
    """``function(*arguments)`` in a process of its own.

    Args:
        function, arguments: what it does.
        cwd: its working folder.
        env: variables beside those of this process.
        path: where it looks first for what it imports, which may be another copy of the package.
    """

    def __init__(
        self, function: Callable[..., Any], *arguments: Any,
        cwd: Path | None = None, env: Mapping[str, str] | None = None, path: Path | None = None,
    ) -> None:  # fmt: skip
        self._folder = tempfile.TemporaryDirectory(prefix="child-")
        self._files = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        state = (list(map(str, self._files)), str(cwd or Path.cwd()), {**os.environ, **(env or {})}, path)
        package = importlib.util.find_spec("lwgan_dist")
        begun = (*state, package and package.origin, function, arguments)
        self._process = _SERVER.Process(target=_child, args=begun, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def end(self, seconds: float = 500) -> "subprocess.CompletedProcess[str]":
        """Wait for its end; as of `subprocess.run`."""
        self._process.join(seconds)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._folder.cleanup()
            raise subprocess.TimeoutExpired("child", seconds)
        stdout, stderr = (path.read_text(errors="replace") if path.exists() else "" for path in self._files)
        self._folder.cleanup()
        return subprocess.CompletedProcess("child", code, stdout, stderr)


def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> "subprocess.CompletedProcess[str]":
    """The end of a child."""
    return Child(function, *arguments, **options).end()


def lwgan_dist(*arguments: Any) -> None:
    """The command line, with arguments as typed; it draws no figures."""
    from undrawn import undrawn

    from lwgan_dist.cli import main

    with undrawn():
        main([str(argument) for argument in arguments], prog_name="lwgan-dist")


def _child(
    files: list[str], cwd: str, env: dict[str, str], path: Path | None, package: str | None,
    function: Callable[..., Any], arguments: tuple[Any, ...],
) -> None:  # fmt: skip
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    if path:
        sys.path.insert(0, str(path))
    if path and (path / "lwgan_dist").is_dir():
        for name in [name for name in sys.modules if name.partition(".")[0] == "lwgan_dist"]:
            del sys.modules[name]
    elif "lwgan_dist" in sys.modules:
        assert sys.modules["lwgan_dist"].__file__ == package, "the server has another copy of the package"
    function(*arguments)
