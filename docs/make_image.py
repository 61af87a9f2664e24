"""Make the image of README.md from a run on the embedded scene: python docs/make_image.py RESULT_FOLDER."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from refbench import load_scene
from refbench.formats.raster import open_dsm
from refbench.reporting.figures import error_png, error_scale, surface_png
from refbench.scenes.scene_yaml import embedded_scene_path


def main(folder: Path) -> None:
    """Write ``embedded.png`` beside this file: three hillshades above, two error maps and the ortho below."""
    scene = load_scene(embedded_scene_path())
    surfaces = {
        "input: stereo matching": scene.dsm.read().heights,
        "refined: ImpliCity": open_dsm(folder / "dsm.tif").read().heights,
        "reference": scene.reference.dsm.read().heights,
    }
    metrics = json.loads((folder / "result.json").read_text())["metrics"]
    reference = surfaces["reference"].astype(np.float64)
    errors = {name: heights - reference for name, heights in list(surfaces.items())[:2]}
    scale = error_scale(*errors.values())
    low, high = np.nanpercentile(reference, (2, 98))
    figure = Figure(figsize=(12, 8.6), dpi=72, layout="constrained")
    axes = figure.subplots(2, 3)
    for axis, (name, heights) in zip(axes[0], surfaces.items(), strict=True):
        axis.imshow(imread(io.BytesIO(surface_png(heights, scene.grid.gsd, low, high))))
        axis.set_title(name)
    for axis, (kind, error) in zip(axes[1], zip(("input", "refined"), errors.values(), strict=True), strict=False):
        axis.imshow(imread(io.BytesIO(error_png(error, scale))))
        axis.set_title(f"error of the {kind}: MAE {metrics[kind]['all']['mae']:.2f} m")
    ortho = next(iter(scene.orthos.values())).read().pixels[0].astype(np.float64)
    axes[1][2].imshow(ortho, cmap="gray", vmin=np.percentile(ortho, 1), vmax=np.percentile(ortho, 99))
    axes[1][2].set_title("one of the two orthos")
    for axis in axes.flat:
        axis.set_axis_off()
    words = f"error maps: blue too low, red too high, full colour at {scale.limit_m:g} m; violet: NoData"
    figure.supxlabel(words, fontsize="medium")
    figure.savefig(Path(__file__).with_name("embedded.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
