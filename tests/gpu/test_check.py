"""The script of ``make gpu``: its measurements run on a processor too, and without a GPU it ends well."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("check.py")


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return ended.value.code


def test_speeds_are_measured_on_the_device_that_is_named(monkeypatch, capsys):
    assert run(monkeypatch, "--device", "cpu") == 0
    told = capsys.readouterr().out
    for precision in ("float32", "bfloat16"):
        assert f"28x28, s = 4, batch 16, {precision}, as it is: " in told
    assert "batches from pageable memory" in told


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU")
def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    assert run(monkeypatch) == 0
    assert capsys.readouterr().out == "no GPU: nothing to check\n"
