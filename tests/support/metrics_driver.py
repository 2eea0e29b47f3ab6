"""A driver that counts what goes wrong: tasks that raise, that lose their process, that diverge; and follows a run.

``python metrics_driver.py ADDRESS FOLDER``; ends when a line comes in.
"""

import sys
from pathlib import Path

import pool_work

from lwgan_dist.config import ExecutionConfig
from lwgan_dist.launch.pool import pool
from lwgan_dist.launch.prometheus import Ended, Meter, RunMeter
from lwgan_dist.launch.task_source import Listed
from lwgan_dist.storage import Folder


def main() -> None:
    address, folder = sys.argv[1], Path(sys.argv[2])
    tasks = [{"n": n, "seconds": 0.2} for n in range(8)]
    tasks[1]["raise"] = "of mine"
    tasks[2]["kill_once"] = str(folder / "killed")
    tasks[3]["kill_always"] = True
    meter = Meter("study", "faults", lambda answer: Ended(1, diverged=answer["n"] == 4))
    execution = ExecutionConfig(address=address, max_failures=1)
    with pool(pool_work.act, execution, folder / "scratch", meter=meter) as places:
        meter.begin(len(tasks))
        places.serve(listed := Listed(tasks, lambda _index, _answer: None))
        reasons = listed.reasons
        with RunMeter(Folder.at(str(folder / "followed"))) as run:
            run.progress({"iteration": 30, "iterations": 40})
            (folder / "ready").write_text(str(len(reasons)))  # standard output is turned away while Ray is there
            sys.stdin.readline()


if __name__ == "__main__":
    main()
