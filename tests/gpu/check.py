"""Everything that a GPU is asked for, in at most 8 minutes: ``make gpu``, or ``python tests/gpu/check.py``.

Without a GPU it says so and ends with 0. Else it prints, for the 28x28 networks of the LWGAN, images a second and the
share of the peak of the matrix units by precision, of steps as they are, compiled, and replayed as a CUDA graph; how
fast rows come onto the GPU from pinned and from other memory; and it runs `tests/gpu/test_gpu.py`: what every model has to
keep, on the GPU (trajectories as on the CPU, every precision, resuming), and Ray Train with nccl on the GPUs that are
there. ``--device cpu`` takes the measurements on the processor, on small sizes: so the script itself is tested.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lwgan_dist.config import NetworksConfig, Precision
from lwgan_dist.method.objective import reconstruction_errors
from lwgan_dist.networks.registry import build_networks

SECONDS_OF_TESTS = 300
PEAK = {("H100", "bfloat16"): 989e12, ("H200", "bfloat16"): 989e12, ("A100", "bfloat16"): 312e12,
        ("H100", "float32"): 67e12, ("H200", "float32"): 67e12, ("A100", "float32"): 19.5e12}  # fmt: skip
"""Products and sums a second of dense matrices, by the name of the GPU and the precision, as its maker states them."""

Step = Callable[[], Tensor]


def step_of(device: torch.device, precision: Precision, batch: int, width: int) -> Step:
    """One encoder-generator update on the same images, by reconstruction alone, with everything on the device."""
    settings = NetworksConfig(name="conv", latent_dim=10, width=width)
    networks = build_networks((28, 28), settings, precision=precision)
    trained = [networks.encoder.to(device), networks.generator.to(device)]
    parameters = [parameter for network in trained for parameter in network.parameters()]
    adam = torch.optim.Adam(parameters, 1e-4, fused=True, capturable=device.type == "cuda")
    x, ranks = torch.rand(batch, 28, 28, device=device), torch.randint(1, 11, (batch,), device=device)

    def step() -> Tensor:
        adam.zero_grad(set_to_none=False)
        loss = reconstruction_errors(x, networks.generator(networks.encoder(x, ranks))).mean()
        loss.backward()
        adam.step()
        return loss.detach()

    return step


def graphed(step: Step) -> Step:
    """The step as one CUDA graph: the launches of its many small kernels are recorded once."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replayed() -> Tensor:
        graph.replay()
        return loss

    return replayed


def seconds(step: Step, device: torch.device, count: int) -> float:
    """Of one step, the mean of several after some that warm up.

    Raises:
        AssertionError: the loss is not finite.
    """
    for _ in range(min(5, count)):
        loss = step()
    synchronised(device)
    start = time.perf_counter()
    for _ in range(count):
        loss = step()
    synchronised(device)
    spent = (time.perf_counter() - start) / count
    assert torch.isfinite(loss), "the loss of a step is not finite"
    return spent


def synchronised(device: torch.device) -> None:
    """Wait for what the device was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def speed_of_training(device: torch.device, batch: int, width: int, count: int) -> None:
    """A line for each precision and way to launch a step."""
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        with FlopCounterMode(display=False) as counter:
            step_of(device, precision, batch, width)()
        ways: dict[str, Callable[[Step], Step]] = {"as it is": lambda step: step}
        if device.type == "cuda":
            ways |= {"compiled": torch.compile, "as a CUDA graph": graphed}
        for way, made in ways.items():
            step = made(step_of(device, precision, batch, width))
            spent = seconds(step, device, count)
            rate = counter.get_total_flops() / spent
            speed = f"{batch / spent:,.0f} images a second, {rate / 1e12:.2f} TFLOP/s"
            print(f"28x28, s = {width}, batch {batch}, {precision}, {way}: {1e3 * spent:.2f} ms an update, {speed}"
                  f"{share_of_peak(device, precision, rate)}", flush=True)  # fmt: skip


def share_of_peak(device: torch.device, precision: str, rate: float) -> str:
    """``, 12.3 % of the peak``; nothing for a device whose peak is not known."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    peaks = [peak for (gpu, kind), peak in PEAK.items() if gpu in name and kind == precision]
    return f", {rate / peaks[0]:.1%} of the peak" if peaks else ""


def speed_of_copies(device: torch.device, batch: int, count: int) -> None:
    """GB a second of batches of images from memory of either kind; a CPU has no pinned memory to copy from."""
    rows = torch.rand(batch, 28, 28)
    memories = {"pageable": rows} | ({"pinned": rows.pin_memory()} if device.type == "cuda" else {})
    for name, source in memories.items():
        synchronised(device)
        start = time.perf_counter()
        for _ in range(count):
            source.to(device, non_blocking=True, copy=True)
        synchronised(device)
        bandwidth = count * source.nbytes / (time.perf_counter() - start)
        print(f"batches from {name} memory: {bandwidth / 1e9:.2f} GB/s", flush=True)


def main() -> int:
    """The exit code: that of the tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where to measure (default %(default)s)")
    device = torch.device(parser.parse_args().device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("no GPU: nothing to check")
        return 0
    if device.type == "cpu":
        speed_of_training(device, batch=16, width=4, count=2)
        speed_of_copies(device, batch=16, count=2)
        return 0
    print(f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    speed_of_training(device, batch=256, width=64, count=100)
    speed_of_copies(device, batch=256, count=200)
    tests = [sys.executable, "-m", "pytest", "-s", "-q", str(Path(__file__).with_name("test_gpu.py"))]
    try:
        return subprocess.run(tests, check=False, timeout=SECONDS_OF_TESTS).returncode
    except subprocess.TimeoutExpired:
        print(f"the tests took more than {SECONDS_OF_TESTS} seconds")
        return 1


if __name__ == "__main__":
    sys.exit(main())
