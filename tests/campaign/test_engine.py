"""Tasks in this process; under Ray Tune they are in the tests of the pool, of studies and of searches."""

import pytest

from lwgan_dist.campaign.engine import Engine, of_task
from lwgan_dist.config import ExecutionConfig
from lwgan_dist.launch.prometheus import Ended
from lwgan_dist.storage import Folder


def engine(folder, work):
    execution = ExecutionConfig(workers=0)
    return Engine("study", Folder.at(str(folder)), execution, work, ended=lambda _answer: Ended(1), verbose=False)


def test_one_task_that_raises_does_not_end_the_others(tmp_path):
    answers = {}
    with engine(tmp_path, lambda task: 6 // task) as here:
        reasons = here.compute([1, 0, 2], answers.__setitem__)
    assert answers == {0: 6, 2: 3}
    assert list(reasons) == [1]
    assert reasons[1].startswith("ZeroDivisionError: ")


def test_what_the_caller_raises_reaches_the_caller(tmp_path):
    def full(_index, _answer):
        raise OSError(28, "No space left on device")

    with engine(tmp_path, lambda task: task) as here, pytest.raises(OSError, match="No space"):
        here.compute([1], full)


def test_a_task_that_is_not_to_go_on_is_closed_and_has_no_answer(tmp_path):
    closed, ends = [], []

    def work(task):
        try:
            yield from range(3)
            return task
        finally:
            closed.append(task)

    tasks = ["stopped", "whole"]

    class Source:
        is_dry = property(lambda self: not tasks)

        def take(self):
            return len(tasks), tasks.pop(0)

        def report(self, index, report):
            return index != 2 or report < 1

        def done(self, index, answer):
            ends.append((index, answer, list(closed)))

    with engine(tmp_path, work) as here:
        here.serve(Source())
    assert ends == [(2, None, ["stopped"]), (1, "whole", ["stopped", "whole"])]


@pytest.mark.parametrize(("workers", "short", "inside"), [(1, False, 0), (2, False, 2), (2, True, 0), (0, False, 0)])
def test_a_run_of_one_worker_is_computed_within_the_process_of_its_task(workers, short, inside):
    assert of_task(ExecutionConfig(workers=workers), short=short).workers == inside
