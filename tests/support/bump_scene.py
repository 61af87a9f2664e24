"""A bump on a plain in UTM, imaged four times from above: the smallest scene with a surface to find."""

import os
import signal
import subprocess
import time

import numpy as np
from makers import grid_of, pinhole_above
from run_refbench import ONE_THREAD, command, refbench

from refbench import DSM, Image, Scene, View
from refbench.formats.raster import ArraySource
from refbench.geometry.depth import render_depth
from refbench.scenes.write import write_scene

ROWS, COLS, FOCAL, HEIGHT, SIDE = 48, 64, 72.0, 60.0, 64
EAST, NORTH = 500_000.125, 5_400_000.375
PLACES = ((-6, 0), (0, 0), (6, 0), (0, 6))


def bump_grid():
    return grid_of(SIDE, SIDE, 1.0, EAST - SIDE / 2, NORTH + SIDE / 2)


def bump():
    x, y = bump_grid().centres()
    return DSM((3 * np.exp(-((x - EAST) ** 2 + (y - NORTH) ** 2) / 120)).astype(np.float32), bump_grid())


def bump_camera(x, y):
    return pinhole_above(EAST + x, NORTH + y, HEIGHT, focal=FOCAL, size=(ROWS, COLS))


def bump_colours(x, y):
    x, y = x - EAST, y - NORTH
    return np.stack([0.5 + 0.2 * np.sin(x / 1.5 + k) + 0.2 * np.cos(y / (1.7 + 0.3 * k) + x / 5) for k in range(3)])


def bump_image(pinhole):
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    ground = pinhole.unproject(col, row, render_depth(bump(), pinhole, (ROWS, COLS)))
    return np.rint(255 * np.nan_to_num(bump_colours(ground[..., 0], ground[..., 1]))).astype(np.uint8)


def bump_scene(*, start=None, with_grid=True):
    """Return the scene; ``start``: heights [rows, cols] of the initial DSM, flat without. No grid: depths in it."""
    views = {}
    heights = np.zeros((SIDE, SIDE), np.float32) if start is None else start
    for number, place in enumerate(PLACES):
        pinhole = bump_camera(*place)
        depth = None
        if not with_grid:
            rendered = render_depth(DSM(heights, bump_grid()), pinhole, (ROWS, COLS))
            depth = ArraySource(Image(rendered[None].astype(np.float32)))
        views[f"v{number}"] = View(f"v{number}", ArraySource(Image(bump_image(pinhole))), pinhole, depth=depth)
    if not with_grid:
        return Scene("bump", views=views)
    return Scene("bump", grid=bump_grid(), dsm=ArraySource(DSM(heights, bump_grid())), views=views)


def written_scene(folder, **how):
    write_scene(folder, bump_scene(**how))
    return folder


def settings(**values):
    return [word for key, value in values.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


def arguments(scene, out, *options):
    """Return the words of a run of the method on one thread."""
    return ["run", scene, "--method", "diffrender", "--out", out, "--no-report", "--threads", "1", *options]


def refine(scene, out, *options, code=0):
    return refbench(None, *arguments(scene, out, *options), code=code)


def refine_until_killed(scene, out, curve, rows, *options):
    """Run the method and kill it with all its processes once a curve has more than so many rows."""
    run = subprocess.Popen(command(*arguments(scene, out, *options)), env=ONE_THREAD, start_new_session=True)
    until = time.monotonic() + 300
    while time.monotonic() < until and not (curve.exists() and len(curve.read_text().splitlines()) > rows + 1):
        assert run.poll() is None
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
