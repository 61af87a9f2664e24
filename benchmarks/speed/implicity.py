"""DSM generation of one 64 m patch at 0.25 m: refbench's modes beside the plain decoder and the official figures.

Run as ``python benchmarks/speed/implicity.py [--golden FOLDER] [--repeats N]``. Scene and weights are the golden ones
(``$REFBENCH_GOLDEN``, else ``../shared/golden``): recipe encoders, fitted decoders, so that the field has a surface.
Every row runs in a process of its own with one thread. "plain" decodes each pixel 32 times in batches of 300,000
points, as published; "official" are CPU seconds of the official code, one thread, on another day of this machine.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "golden"
PARITY = Path(__file__).resolve().parents[2] / "tests" / "parity"
OFFICIAL = {"0": {"encode": 0.157, "decode": 6.58}, "stereo": {"encode": 0.759, "decode": 6.6}}
MODES = ("plain", "exact", "stride")
BATCH = 300_000


def plain_surface(net, planes, shape, config, z_std, threshold):
    """Heights float32 [rows, cols] as published: every height of every pixel, NaN where a column is empty."""
    import torch

    from refbench_implicity.network.network import occupancy

    xs, ys = torch.linspace(0, 1, shape[1]), torch.linspace(1, 0, shape[0])
    y, x = (axis.reshape(-1, 1) for axis in torch.meshgrid(ys, xs, indexing="ij"))
    low, high = config.h_range
    step = config.h_resolution_0 / z_std
    z = (torch.arange(low, high, config.h_resolution_0) / z_std).expand(x.shape[0], -1)
    empty = torch.zeros(x.shape[0], dtype=torch.bool)
    for level in range(config.h_upsampling_steps + 1):
        points = torch.stack((x.expand(z.shape), y.expand(z.shape), z), dim=-1).reshape(1, -1, 3)
        parts = [net.decode(planes, part) for part in points.split(BATCH, dim=1)]
        occupied = occupancy(torch.cat(parts, dim=1), threshold).reshape(z.shape)
        height = ((z + 1000) * occupied - 1000).amax(dim=1)
        empty |= ~occupied.bool().any(dim=1)
        height[empty] = 0
        if level < config.h_upsampling_steps:
            step /= 4
            z = height[:, None] + step * torch.arange(-1, 4)
    return torch.where(empty, torch.nan, height).reshape(shape).numpy()


def patch(variant):
    """Network, planes' inputs, configuration and reference of the benchmark's patch."""
    sys.path.insert(0, str(PARITY))
    import golden_implicity as golden

    from refbench_implicity.config import ModelConfig
    from refbench_implicity.network.network import build_model
    from refbench_implicity.official.translation import typed_config
    from refbench_implicity.training.dataset import SlidingWindowItems, official_items

    cases = [(path, name) for path, name in (case.values for case in golden.named_cases("dsm"))]
    described = [(path, name, golden.load_json(path.with_suffix(".json"))[name]) for path, name in cases]
    path, name, _ = next(case for case in described if case[2]["variant"] == variant)
    scene = max(described, key=lambda case: case[2]["patch_size"][0])[2]
    official = golden.on_scene(
        golden.merged_config(variant), scene["scene"], patch_size=scene["patch_size"], test_chunks=scene["chunks"]
    )
    config = typed_config(official, Path("benchmark"))
    decoder = golden.under(golden.load_npz(path), f"{name}/decoder")
    net = golden.fill(build_model(ModelConfig.of_variant(variant)), decoder)
    item = SlidingWindowItems(official_items(config, "test"))[0]
    return net, item, config, reference_of(golden.golden_folder() / scene["scene"] / "raster", item, config)


def reference_of(raster, item, config):
    """Reference heights [rows, cols] of the patch, NaN outside the reference mask."""
    import numpy as np
    import rasterio

    from refbench.contracts.grid import Grid
    from refbench_implicity.images import patch_window

    size = np.array([config.patch_size] * 2)
    with rasterio.open(raster / "gt_dsm.tif") as file, rasterio.open(raster / "mask_gt.tif") as mask:
        rows, cols = patch_window(Grid(file.width, file.height, file.transform), item.low, size).slices
        return np.where(mask.read(1) > 0, file.read(1), np.nan)[rows, cols]


def measure(variant, mode, repeats, out):
    """Time one mode; print a JSON line and keep the heights."""
    import dataclasses

    import numpy as np
    import torch

    from refbench_implicity.surface import extract_surface

    torch.set_num_threads(1)
    net, item, config, reference = patch(variant)
    z_std, threshold, shape = config.normalisation.z_std, config.threshold, reference.shape
    surface = dataclasses.replace(config.surface, column_stride=4 if mode == "stride" else 1)
    image = None if item.image is None else torch.from_numpy(item.image)[None]
    seconds = []
    with torch.inference_mode():
        for _ in range(repeats):
            start = time.process_time()
            planes = net.encode(torch.from_numpy(item.inputs)[None], image)
            encoded = time.process_time()
            if mode == "plain":
                z = plain_surface(net, planes, shape, surface, z_std, threshold)
            else:
                z = extract_surface(net, planes, shape, surface, z_std=z_std, threshold=threshold).z
            seconds.append((encoded - start, time.process_time() - encoded))
    heights = np.nan_to_num(z) * z_std + item.transform[2, 3]
    np.save(out, heights)
    encode, decode = np.median(seconds, axis=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    error = np.abs(heights - reference)
    print(json.dumps({"encode": encode, "decode": decode, "peak": peak, "mae": float(np.nanmean(error))}))


def row(variant, mode, repeats, folder):
    """Run one mode in a process of its own."""
    command = [sys.executable, __file__, "--one", variant, mode, "--repeats", str(repeats), "--out", str(folder)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print the table."""
    import tempfile

    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--golden", type=Path, help="folder of the golden data")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("VARIANT", "MODE"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.golden is not None:
        os.environ["REFBENCH_GOLDEN"] = str(options.golden.resolve())
    if options.one:
        variant, mode = options.one
        measure(variant, mode, options.repeats, options.out / f"{variant}-{mode}.npy")
        return
    if not (Path(os.environ.get("REFBENCH_GOLDEN", BESIDE)) / "implicity").is_dir():
        sys.exit("No golden data: set REFBENCH_GOLDEN or give --golden.")
    print("CPU s, 1 thread    encode  decode   total  plain/x  official/x  decoding official/x  peak MiB    MAE  moved")
    with tempfile.TemporaryDirectory() as folder:
        for variant, official in OFFICIAL.items():
            whole = sum(official.values())
            results = {mode: row(variant, mode, options.repeats, folder) for mode in MODES}
            heights = {mode: np.load(Path(folder) / f"{variant}-{mode}.npy") for mode in MODES}
            plain = results["plain"]["encode"] + results["plain"]["decode"]
            for mode, result in results.items():
                total = result["encode"] + result["decode"]
                moved = float((np.abs(heights[mode] - heights["plain"]) > 0.002).mean())
                print(
                    f"-{variant:<7}{mode:<10}{result['encode']:7.3f}{result['decode']:8.3f}{total:8.3f}"
                    f"{plain / total:9.1f}{whole / total:12.1f}{official['decode'] / result['decode']:21.1f}"
                    f"{result['peak']:10.0f}{result['mae']:7.3f}{100 * moved:6.2f}%",
                    flush=True,
                )


if __name__ == "__main__":
    main()
