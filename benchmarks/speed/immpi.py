"""ImMPI's work beside its published form, CPU seconds and peak memory; every figure from a process of its own.

Run as ``python benchmarks/speed/immpi.py [--repeats 3] [--threads 1]``. Full networks with random weights:
``mpi``: planes of an image (512 x 512, 32 planes); ``step``: one optimisation iteration (256 x 256, 32 planes, L1,
SSIM and LPIPS at four scales, backward, Adam). "plain" follows the text step by step. "official" are the figures of the
official code (18.7 CPU s and 4.7 GiB; 28 CPU s and 4.9 GiB), measured on another day of this machine.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time

OFFICIAL = {"mpi": (18.7, 4.7), "step": (28.0, 4.9)}
SIZE = {"mpi": 512, "step": 256}


def work(kind, form, threads):
    """Do the work once warm and print CPU seconds of a second time, and the peak in GiB."""
    import numpy as np
    import torch

    from refbench_immpi.config import NetworkConfig, OptimiseConfig, PlanesConfig
    from refbench_immpi.losses.losses import LossWeights
    from refbench_immpi.losses.lpips import Lpips
    from refbench_immpi.network.fused import fast_planes
    from refbench_immpi.network.network import MPIGenerator
    from refbench_immpi.network.resnet import FeatureGenerator
    from refbench_immpi.planes.mpi import Networks
    from refbench_immpi.training.loss_terms import Comparer
    from refbench_immpi.training.scene_fit import SceneFit
    from refbench_immpi.views.posed import Posed

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    side = SIZE[kind]
    config = NetworkConfig(encoding="scrambled")
    encoder, generator = FeatureGenerator(config), MPIGenerator(config)
    rng = np.random.default_rng(0)
    K = np.array([[1.5 * side, 0, side / 2], [0, 1.5 * side, side / 2], [0, 0, 1.0]])
    moved = np.eye(4)
    moved[0, 3] = 20.0
    views = [
        Posed(name, rng.random((3, side, side), np.float32), K, pose, 380.0, 430.0)
        for name, pose in (("a", np.eye(4)), ("b", moved))
    ]
    if form == "plain":
        generator.forward = generator.plain
    if kind == "mpi":
        image = torch.from_numpy(views[0].image)[None]

        def once():
            with torch.inference_mode():
                features = encoder(image)
                if form == "plain":
                    return generator.train().plain(features, 32)
                return fast_planes(generator, features, 32, (0,), batch_norms=True)
    else:
        comparer = Comparer(LossWeights(2.0, 1.0, 1.0), PlanesConfig(32), lpips=Lpips().eval())
        fit = SceneFit(Networks(encoder, generator), [(views[0], views[1])], comparer, OptimiseConfig(steps=10))
        once = fit.step
    once()
    start = time.process_time()
    once()
    cpu = time.process_time() - start
    print(cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=["mpi", "step"], choices=["mpi", "step"])
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work, options.threads)
        return
    print(f"medians of {options.repeats}, {options.threads} thread(s)")
    for kind in options.kinds:
        cpu, gib = OFFICIAL[kind]
        print(f"{kind:5} official {cpu:6.1f} CPU s {gib:5.2f} GiB")
        for form in ("plain", "fast"):
            command = [sys.executable, __file__, "--threads", str(options.threads), "--work", kind, form]
            runs = []
            for _ in range(options.repeats):
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append([float(word) for word in done.stdout.split()])
            found = [statistics.median(values) for values in zip(*runs, strict=True)]
            ratios = f"1/{cpu / found[0]:.1f}, 1/{gib / found[1]:.1f}"
            print(f"      {form:8} {found[0]:6.2f} CPU s {found[1]:5.2f} GiB   {ratios}")


if __name__ == "__main__":
    main()
