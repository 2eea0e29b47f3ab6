"""``make package``: wheel and sdist, built, checked, installed into an empty environment outside of the checkout, and
tested there; with a list of all that is installed, its licences, its hashes, and what is known against it.

Everything goes into ``dist/``:

- the wheel and the sdist, which ``twine check`` has read;
- ``sbom.json``: CycloneDX, what ``pip install lwgan-dist`` brings without extras;
- ``licences.md``: of the same packages, from their metadata;
- ``hashes.txt``: name, version and SHA-256 of each file that was installed, on this platform, for
  ``pip install --require-hashes --no-deps -r dist/hashes.txt``;
- ``audit.txt``: what ``pip-audit`` says, or "not audited" where no source of advisories answers.

``constraints.txt`` holds throughout, so torch is the one that is named there. Two environments are made in a temporary
folder and removed: one of the tools, one of the package. Some minutes, and 3 GB for as long as it takes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ["build==1.6.1", "twine==7.0.0", "cyclonedx-bom==7.5.0", "pip-audit==2.10.1", "pip-licenses==5.5.5"]
EXTRAS = "[dev,classical,excel,images]"
FAST = [
    "method",
    "data/files/test_tables.py",
    "data/files/test_bounds.py",
    "networks",
    "test_config.py",
    "test_cli_errors.py",
]
"""Tests that say in a minute or two whether the package works that was installed."""

NEEDS_AN_EXTRA = {
    "images": ["data", "import", "mnist-5k", "--out", "x"],
    "excel": ["data", "show", "a.xlsx"],
    "classical": ["train", "sphere.yaml", "--workers", "0"],
}
"""Commands that cannot do without an extra, which they have to name."""


def run(*command: str | Path, cwd: Path | None = None, **env: str) -> str:
    """The output of a command that has to succeed; what it does not say is inherited from this process."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def environment(folder: Path) -> Path:
    """An empty environment; its Python."""
    venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def install(python: Path, *what: str | Path, **env: str) -> None:
    """With the versions that were tested together."""
    run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", *what, **env)


def build(tools: Path, dist: Path) -> Path:
    """Wheel and sdist, from the files that git knows; the wheel."""
    with tempfile.TemporaryDirectory() as name:
        for file in run("git", "ls-files", "-z", cwd=ROOT).split("\0")[:-1]:
            (Path(name) / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, Path(name) / file)
        run(tools, "-m", "build", "--outdir", dist, name)
    run(tools, "-m", "twine", "check", "--strict", *dist.iterdir())
    return next(dist.glob("*.whl"))


def write_hashes(report: Path, target: Path) -> int:
    """What was installed, with the SHA-256 of each file; how many there are."""
    lines = [
        f"{one['metadata']['name']}=={one['metadata']['version']}"
        f" --hash=sha256:{one['download_info']['archive_info']['hashes']['sha256']}"
        for one in json.loads(report.read_text())["install"]
        if one["metadata"]["name"] != "lwgan-dist"
    ]
    target.write_text("\n".join(sorted(lines, key=str.lower)) + "\n")
    return len(lines)


def audit(tools: Path, python: Path, target: Path) -> str:
    """What is known against the packages, in a line."""
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    command = [tools, "-m", "pip_audit", "--path", site, "--progress-spinner", "off", "--timeout", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "vulnerabilit" not in done.stderr:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        target.write_text(f"not audited: {reason}\n")
        return "not audited"
    target.write_text(done.stdout + done.stderr)
    return (done.stderr.strip().splitlines() or ["no known vulnerability"])[0]


def try_without_extras(python: Path, folder: Path) -> None:
    """The command line works, and what needs an extra says which."""
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'tests' / 'support')!r}); import table_files as files; "
    run(python, "-c", code + "open('a.xlsx', 'wb').write(files.xlsx({'s': ['ab', [1.0, 2.0]]}))", cwd=folder)
    (folder / "sphere.yaml").write_text("data: {source: manifold, name: M1_Sphere, n: 60}\n")
    command = python.parent / "lwgan-dist"
    run(command, "--version", cwd=folder)
    run(command, "demo", "--help", cwd=folder)
    for extra, arguments in NEEDS_AN_EXTRA.items():
        done = subprocess.run([command, *arguments], cwd=folder, capture_output=True, text=True, check=False)
        wanted = f"pip install 'lwgan-dist[{extra}]'"
        if done.returncode != 2 or wanted not in done.stderr or len(done.stderr.strip().splitlines()) > 1:
            sys.exit(f"lwgan-dist {' '.join(arguments)}: exit {done.returncode}, not {wanted}\n{done.stderr}")


def test(python: Path, wheel: Path, folder: Path) -> str:
    """The fast tests, in a folder that has the tests and not the package; the last line of pytest."""
    install(python, f"{wheel}{EXTRAS}")
    for name in ("tests", "tune_configs", "docs", "pyproject.toml", "README.md"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    where = run(python, "-c", "import lwgan_dist; print(lwgan_dist.__file__)", cwd=folder)
    assert str(ROOT) not in where, where
    tests = [f"tests/{name}" for name in FAST]
    chosen = ["-m", "not ray and not faults and not cluster"]
    return run(python, "-m", "pytest", "-q", *chosen, *tests, cwd=folder, OMP_NUM_THREADS="1").splitlines()[-1]


def main() -> None:
    os.environ.pop("PYTHONPATH", None)  # the checkout must not be found
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir()
    with tempfile.TemporaryDirectory(prefix="package-") as name:
        folder = Path(name)
        (work := folder / "work").mkdir()
        tools, python = environment(folder / "tools"), environment(folder / "env")
        run(tools, "-m", "pip", "install", "--quiet", *TOOLS)
        wheel = build(tools, dist)
        print(f"built and checked: {', '.join(sorted(file.name for file in dist.iterdir()))}", flush=True)
        install(python, "--report", folder / "report.json", wheel)
        count = write_hashes(folder / "report.json", dist / "hashes.txt")
        try_without_extras(python, work)
        print(f"installed without extras: {count} packages; extras are named where they are needed", flush=True)
        run(tools, "-m", "cyclonedx_py", "environment", "--output-file", dist / "sbom.json", python)
        licences = ["--python", python, "--format", "markdown", "--with-urls", "--order", "license"]
        run(tools, "-m", "piplicenses", *licences, "--output-file", dist / "licences.md")
        print(f"sbom.json, licences.md; audit: {audit(tools, python, dist / 'audit.txt')}", flush=True)
        print(f"tests of the wheel: {test(python, wheel, work)}")


if __name__ == "__main__":
    main()
