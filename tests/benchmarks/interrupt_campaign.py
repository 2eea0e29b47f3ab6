"""Commands that are interrupted at random moments: SIGINT and SIGTERM, from the first line of the program to its end.

``python tests/benchmarks/interrupt_campaign.py [--signals 60] [--seed 0] [--first 1.0] [--commands train,study]``: the
signal is sent at a moment drawn from the length of the command, every other time from its first second. Each end has to
be 130 with a line "interrupted" last and no traceback, or the command was faster. A command that writes a folder is
called again until it has finished, and its outcome has to be that of one that was never interrupted. Workers are 0:
what comes of signals under Ray is tested in tests/launch and tests/study.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

QUICK = [
    "networks.width=2", "networks.latent_dim=2", "schedule.batch_size=16", "schedule.embedding_iterations=2",
    "schedule.matching_iterations=2", "schedule.critic_iterations=20", "score.evaluations=3",
    "execution.checkpoint_seconds=0",
]  # fmt: skip
SIGTERM_IS_ANSWERED = 1 << (signal.SIGTERM - 1)


def commands(folder: Path) -> dict[str, list[str]]:
    """Each command that is interrupted, with the folder that it writes as ``OUT``."""
    import tiny_compare
    import tiny_search
    import tiny_study

    from lwgan_dist.configfile import to_yaml

    (folder / "train.yaml").write_text("data: {source: manifold, name: s_curve, n: 60}\n")
    study = tiny_study.config(data=tiny_study.TINY["data"][:1], sizes=[40])
    (folder / "study.yaml").write_text(to_yaml(study))
    search = tiny_search.config(budget={"trials": 2}, confirm_seeds=1, initial=["default"])
    (folder / "tune.yaml").write_text(to_yaml(search))
    comparison = tiny_compare.config(data=tiny_compare.TINY["data"][:1], replicates=1)
    (folder / "compare.yaml").write_text(to_yaml(comparison))
    (folder / "table.csv").write_text("".join(f"{i},{i * i % 97}\n" for i in range(200)))
    campaigns = {
        name: [name, f"{name}.yaml", "--storage", ".", "--name", "OUT"] for name in ("study", "tune", "compare")
    }
    return {
        "estimate": ["estimate", "s_curve", *QUICK, "data.n=60", "--out", "OUT"],
        "train": ["train", "train.yaml", *QUICK, "--storage", ".", "--name", "OUT"],
        **campaigns,
        "show": ["show", "straight-train"],
        "report": ["report", "straight-train"],
        "metrics": ["metrics", "straight-train"],
        "validate": ["validate", "study.yaml"],
        "data": ["data", "show", "table.csv"],
    }


def start(folder: Path, command: list[str], out: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "lwgan_dist", *(out if part == "OUT" else part for part in command)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def has_begun(process: "subprocess.Popen[str]") -> bool:
    """Whether the program, not only Python, is there, and answers signals; False if it has ended."""
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
        if int(caught, 16) & SIGTERM_IS_ANSWERED:
            return True
        time.sleep(0.002)
    return False


def interrupted(folder: Path, command: list[str], out: str, number: int, after: float) -> tuple[int, str]:
    process = start(folder, command, out)
    if has_begun(process):
        time.sleep(after)
        process.send_signal(number)
    try:
        _, said = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        return -9, "it went on for a minute"
    return process.returncode, said


def fault(code: int, said: str) -> str | None:
    """What is wrong with an end, if anything."""
    if "Traceback" in said or "Exception ignored" in said:
        return "a traceback"
    if code not in (0, 130):
        return f"exit code {code}"
    lines = [line for line in said.splitlines() if line.startswith("interrupted")]
    return "no line" if code == 130 and len(lines) != 1 else None


def outcome(folder: Path) -> dict[str, Any]:
    """What does not depend on the clock."""
    import pyarrow.parquet as pq
    from tiny_search import numbers

    if (folder / "result.json").exists():
        said = json.loads((folder / "result.json").read_text())
        return {name: value for name, value in said.items() if name not in ("cpu_seconds", "wall_seconds", "run_dir")}
    tables = [name for name in ("runs", "cells", "trials") if (folder / f"{name}.parquet").exists()]
    return {name: numbers(pq.read_table(folder / f"{name}.parquet")).to_pylist() for name in tables}


def other_outcome(folder: Path, straight: Path) -> str | None:
    """In what a folder is not as it would have been without interrupts."""
    one, other = outcome(folder), outcome(straight)
    return (
        f"another outcome: {[(key, one.get(key), other[key]) for key in other if one.get(key) != other[key]]}"[:1500]
        * (one != other)
        or None
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=float, default=1.0, help="seconds from which every other moment is drawn")
    parser.add_argument("--commands", default="", help="names, with commas; by default all")
    chosen = parser.parse_args()
    draw, ends, faults = random.Random(chosen.seed), Counter[str](), 0
    print(f"seed {chosen.seed}")
    with tempfile.TemporaryDirectory(prefix="interrupts-") as name:
        folder = Path(name)
        known = commands(folder)
        names = [name for name in chosen.commands.split(",") if name] or list(known)
        lengths = {}
        for name in ["train", *names]:
            began = time.monotonic()
            _, said = (process := start(folder, known[name], f"straight-{name}")).communicate()
            lengths[name] = time.monotonic() - began
            assert process.returncode == 0, said
        outs = dict.fromkeys(names, 0)
        for i in range(chosen.signals):
            name, number = names[i % len(names)], draw.choice([signal.SIGINT, signal.SIGTERM])
            after = draw.uniform(0, chosen.first if draw.random() < 0.5 else lengths[name])
            code, said = interrupted(folder, known[name], f"{name}-{outs[name]}", number, after)
            wrong = fault(code, said)
            if code == 0 and "OUT" in known[name]:
                wrong = wrong or other_outcome(folder / f"{name}-{outs[name]}", folder / f"straight-{name}")
                outs[name] += 1
            ends[f"{name} {number.name}: {'wrong' if wrong else code}"] += 1
            if wrong:
                faults += 1
                print(f"{name} {number.name} after {after:.3f} s: {wrong}\n{said[-1500:]}\n", flush=True)
        for name in names:
            if "OUT" in known[name] and (folder / f"{name}-{outs[name]}").exists():
                process = start(folder, known[name], f"{name}-{outs[name]}")
                _, said = process.communicate()
                if process.returncode or outcome(folder / f"{name}-{outs[name]}") != outcome(
                    folder / f"straight-{name}"
                ):
                    faults += 1
                    print(f"{name}: is not what it was without interrupts\n{said[-1500:]}")
    print("\n".join(f"{end}  {count}" for end, count in sorted(ends.items())))
    print(f"{chosen.signals} signals, {faults} faults")
    return faults > 0


if __name__ == "__main__":
    sys.exit(main())
