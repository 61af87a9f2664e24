"""ImMPI's renderer and losses beside their plain form: CPU seconds and the memory that each needs.

Run as ``python benchmarks/speed/immpi_render.py [--repeats 3] [--threads 1]``. The work is that of an aerial view whose
planes lie 10 % of the distance apart: a novel view of 512 x 512 px from 32 planes (official code: 2.8 CPU s, with the
writing of files), and the gradient of a target view of 256 x 256 px at four scales with L1 and SSIM, then with LPIPS
too. "plain" warps seven channels of all planes at once and computes everything anew. Every form runs in a process of
its own; memory is what its peak adds to the inputs.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

OFFICIAL_VIEW_CPU_S = 2.8
PLANES, SCALES = 32, 4
CASES = ("view", "gradient", "gradient, LPIPS")
FORMS = ("refbench", "plain")


def inputs(side):
    """A seeded multiplane image at all scales, cameras with an oblique neighbour, a target image."""
    import torch

    generator = torch.Generator().manual_seed(0)
    scales = [
        (
            torch.rand(1, PLANES, 3, side // 2**s, side // 2**s, generator=generator),
            torch.rand(1, PLANES, 1, side // 2**s, side // 2**s, generator=generator) / 10,
        )
        for s in range(SCALES)
    ]
    planes = 1 / torch.linspace(1 / 380, 1 / 420, PLANES)[None]
    turn = torch.tensor([[0, -0.01, 0.05], [0.01, 0, 0.03], [-0.05, -0.03, 0]])
    pose = torch.eye(4)[None].clone()
    pose[0, :3, :3], pose[0, :3, 3] = torch.linalg.matrix_exp(turn), torch.tensor([18.0, -10, 2])
    K = torch.tensor([[[1.6 * side, 0, side / 2], [0, 1.6 * side, side / 2], [0, 0, 1]]])
    return scales, planes, pose, K, torch.rand(1, 3, side, side, generator=generator)


def work(case, form):
    """Return a function that does the work once."""
    import torch

    from refbench_immpi.losses.losses import LossWeights, scale_targets, view_losses
    from refbench_immpi.losses.lpips import Lpips
    from refbench_immpi.planes.homography import pyramid_intrinsics
    from refbench_immpi.planes.render import render

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "plugins"))
    from plain_immpi_render import plain_losses, plain_render

    side = 512 if case == "view" else 256
    scales, planes, pose, K, target = inputs(side)
    draw = render if form == "refbench" else plain_render

    def view(scale):
        intrinsics = pyramid_intrinsics(K, scale)
        return draw(*scales[scale], planes, pose, intrinsics, intrinsics, (side // 2**scale, side // 2**scale))

    if case == "view":
        return torch.no_grad()(lambda: view(0))
    leaves = [values.requires_grad_() for pair in scales for values in pair]
    torch.manual_seed(0)
    lpips = Lpips() if case.endswith("LPIPS") else None
    weights = LossWeights(lpips=1.0 if lpips else 0.0)
    known = []

    def gradient():
        rendered = [view(scale) for scale in range(SCALES)]
        if form == "plain":
            terms = plain_losses([(found["rgb"], found["mask"]) for found in rendered], target, (2, 1, 1), lpips)
            total = sum(terms.values())
        else:
            if not known:
                known.extend(scale_targets(target, [found.mask for found in rendered], lpips))
            total = view_losses(rendered, known, weights, lpips=lpips).total
        return torch.autograd.grad(total, leaves)

    return gradient


def measure(case, form, repeats, threads):
    """Print the CPU seconds of every repeat and the MiB that the peak adds."""
    import torch

    torch.set_num_threads(threads)
    do = work(case, form)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    do()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        do()
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([seconds, (peak - before) / 1024]))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(*options.one, options.repeats, options.threads)
        return
    print(f"{PLANES} planes, medians of {options.repeats}, threads: {options.threads}")
    for case in CASES:
        found = {}
        for form in FORMS:
            command = [sys.executable, __file__, "--one", case, form]
            command += ["--repeats", str(options.repeats), "--threads", str(options.threads)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            seconds, mebibytes = json.loads(done.stdout)
            found[form] = statistics.median(seconds), mebibytes
        (ours, memory), (plain, plain_memory) = (found[form] for form in FORMS)
        official = f", 1/{OFFICIAL_VIEW_CPU_S / ours:.1f} of the official 2.8 CPU s" if case == "view" else ""
        print(
            f"{case:16} {ours:6.3f} CPU s, {memory:5.0f} MiB; plain {plain:6.3f} CPU s, {plain_memory:5.0f} MiB: ",
            end="",
        )
        print(f"1/{plain / ours:.1f} of the time, 1/{plain_memory / memory:.1f} of the memory{official}")


if __name__ == "__main__":
    main()
