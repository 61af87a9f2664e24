"""One training step of ResDepth (batch of 4 patches of 256 px, full-size network): refbench beside the plain step.

Run as ``python benchmarks/speed/resdepth_training.py [--repeats 5]``. All variants alternate in one process; CPU
seconds are medians. "plain" is the network as published, contiguous, in float32: forward, loss, backward, Adam.
Official, on another day of this machine: 4.0 CPU s for the whole step, of which the network alone took 4.4 contiguous.
"""

import argparse
import resource
import statistics
import time

import torch

from refbench_resdepth.config import ModelConfig, OptimizerConfig
from refbench_resdepth.network.network import UNet
from refbench_resdepth.training.loss import metric_l1
from refbench_resdepth.training.task import build_optimizer

VARIANTS = {
    "plain": (torch.contiguous_format, False),
    "float32": (torch.channels_last, False),
    "mixed": (torch.channels_last, True),
}


def make_step(layout, mixed):
    """Return a function that makes one step."""
    torch.manual_seed(0)
    net = UNet(ModelConfig()).train().to(memory_format=layout)
    optimizer = build_optimizer(net, OptimizerConfig())
    x = torch.randn(4, 3, 256, 256).contiguous(memory_format=layout)
    y, mask = torch.randn(4, 1, 256, 256), torch.ones(4, 1, 256, 256, dtype=torch.bool)
    mean, std = torch.zeros(4), torch.full((4,), 3.0)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = metric_l1(net(x), y, mask, mean, std)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main():
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    steps = {name: make_step(*variant) for name, variant in VARIANTS.items()}
    seconds = {name: [] for name in steps}
    for number in range(options.repeats + 1):
        for name, step in steps.items():
            start = time.process_time()
            step()
            if number:  # the first one chooses kernels
                seconds[name].append(time.process_time() - start)
    base = statistics.median(seconds["plain"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:8} {median:5.2f} CPU s a step, 1/{base / median:.2f} of the plain step")
    print(f"peak memory of all three networks together: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
