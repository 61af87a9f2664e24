"""Speed of the differentiable rasteriser's backends: CPU and wall milliseconds, medians.

Run as ``python benchmarks/speed/rasteriser.py [--backends numba,torch] [--repeats 7] [--threads 2]``. "mesh" draws a
512 x 512-vertex mesh into a 512 x 512 view (rasterise and interpolate 4 channels; targets 12 ms wall forward, 20 ms
backward on two free cores). The steps draw 5 views of a mesh with 2 attributes, look up a texture of 4 channels and
blend 3 of them across silhouettes, as stage 2 of diffrender does. On CUDA (--device cuda) the wall clock is that of
the device's events.
"""

import argparse
import statistics
import time

import torch

from refbench.contracts.errors import UnsupportedError
from refbench_diffrender.rasteriser.rasteriser import rasteriser

CASES = {"mesh": (512, 512, 512, 512, 1), "step 480 x 640": (160, 160, 480, 640, 5)}
CASES["step 720 x 1280"] = (200, 360, 720, 1280, 5)


def mesh(rows, cols, views):
    """Clip positions [views, V, 4] of a wavy surface with steps, about 3 m away, triangles and texture coordinates."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, cols), indexing="ij")
    depth = 3 + 0.4 * torch.sin(5 * x) * torch.cos(4 * y) - 0.5 * (x.abs() < 0.3)
    points = torch.stack([x * depth, y * depth, depth], -1).reshape(-1, 3)
    near, far, pos = 0.1, 20.0, []
    for view in range(1, views + 1):
        angle = torch.tensor(0.05 * view)
        turn = torch.eye(3)
        turn[0, 0] = turn[2, 2] = angle.cos()
        turn[0, 2], turn[2, 0] = angle.sin(), -angle.sin()
        at = (points - torch.tensor([0, 0, 3.0])) @ turn.T + torch.tensor([0.05, 0.02 * view, 3])
        z = (far + near) / (far - near) * at[:, 2] - 2 * far * near / (far - near)
        pos.append(torch.stack([at[:, 0], at[:, 1], z, at[:, 2]], 1))
    i = (torch.arange(rows)[:, None] * cols + torch.arange(cols))[:-1, :-1].reshape(-1)
    cells = torch.stack([i, i + 1, i + cols, i + 1, i + 1 + cols, i + cols], 1).reshape(-1, 3).int()
    return torch.stack(pos), cells, torch.stack([x, y], -1).reshape(1, -1, 2) * 0.49 + 0.5


def measured(work, repeats, device):
    """Median CPU and wall milliseconds of ``work()``; on CUDA the latter by events."""
    cpu, wall = [], []
    for number in range(repeats + 1):
        if device != "cpu":
            torch.cuda.synchronize()
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            events[0].record()
        used, start = time.process_time(), time.perf_counter()
        work()
        if device != "cpu":
            events[1].record()
            torch.cuda.synchronize()
        if number:  # the first one compiles
            cpu.append(1e3 * (time.process_time() - used))
            seconds = 1e3 * (time.perf_counter() - start)
            wall.append(seconds if device == "cpu" else events[0].elapsed_time(events[1]))
    return statistics.median(cpu), statistics.median(wall)


def works(draw, case, device):
    """(forward, backward), both callable."""
    rows, cols, height, width, views = CASES[case]
    pos, triangles, uv = (part.to(device) for part in mesh(rows, cols, views))
    pos, uv = pos.requires_grad_(), uv.requires_grad_()
    if case == "mesh":
        attributes = torch.rand(1, rows * cols, 4, device=device).requires_grad_()
        leaves = (pos, attributes)

        def forward():
            return draw.render(pos, triangles, attributes, (height, width))[1]

    else:
        texture = torch.rand(1, height, width, 4, device=device)
        topology = draw.topology(triangles)
        leaves = (pos, uv)

        def forward():
            rast, _, sampled = draw.shade(pos, triangles, uv, texture, (height, width), masked=3)
            return draw.antialias(sampled, rast, pos, triangles, topology, channels=3)

    found = forward()
    weight = torch.randn_like(found)
    return forward, lambda: torch.autograd.grad(found, leaves, weight, retain_graph=True)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--backends", default="nvdiffrast,numba,torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"ms, medians of {options.repeats}, {options.threads} threads, {options.device}")
    print(f"{'':16} {'backend':>10} {'forward CPU':>12} {'wall':>7} {'backward CPU':>13} {'wall':>7}")
    for case in CASES:
        for name in options.backends.split(","):
            try:
                draw = rasteriser(name, options.device)
            except UnsupportedError as error:
                print(f"{case:16} {name:>10} {error}")
                continue
            forward, backward = (
                measured(work, options.repeats, options.device) for work in works(draw, case, options.device)
            )
            print(f"{case:16} {name:>10} {forward[0]:12.1f} {forward[1]:7.1f} {backward[0]:13.1f} {backward[1]:7.1f}")


if __name__ == "__main__":
    main()
