"""Every kind of scene that users bring, small: a hill seen from the air and from satellites, written as folders."""

from dataclasses import replace

import numpy as np
from hill_scene import BASE, EAST, GRID, NORTH, hill, hill_at, hill_scene, image_of, pinhole_camera, two

from refbench import DSM, Image, PointCloud, Scene
from refbench.contracts.scene import Reference
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench.geometry.affine_camera import AffineCamera
from refbench.scenes.scene_yaml import write_scene

KINDS = (
    "dsm", "dsm-orthos", "dsm-satellites", "satellites", "cloud", "cloud-satellites", "posed-dsm", "posed",
    "colmap",
)  # fmt: skip


def noisy():
    """The hill with noise of 0.3 m."""
    heights = hill().heights + np.random.default_rng(0).normal(0, 0.3, GRID.shape)
    return ArraySource(DSM(heights.astype(np.float32), GRID))


def cloud():
    """A point every 0.4 m of the hill."""
    steps = np.arange(-16, 16, 0.4)
    x, y = np.meshgrid(steps + EAST, steps + NORTH)
    return HeldPoints(PointCloud(np.stack([x, y, hill_at(x, y)], axis=-1).reshape(-1, 3), GRID.crs))


def orthos():
    """Two images as an ortho pair on the grid."""
    step = 1 / GRID.gsd
    middle = np.array([GRID.width - 1, GRID.height - 1]) / 2
    found = {}
    for name, lean in (("a", 0.0), ("b", 0.05)):
        camera = AffineCamera(np.array([[step, 0, lean], [0, -step, 0]]), middle, np.array([EAST, NORTH, BASE]))
        found[name] = ArraySource(Image(image_of(camera)[:, : GRID.height, : GRID.width], GRID))
    return found


def satellites():
    return dict(hill_scene(two("rpc")).views)


def posed():
    return dict(
        hill_scene({name: pinhole_camera(lean) for name, lean in zip("abc", (-0.1, 0.0, 0.1), strict=True)}).views
    )


def write_colmap(folder):
    """The posed images as a COLMAP folder in text form, with points of the hill, about the grid's middle."""
    import cv2

    sparse, images = folder / "sparse" / "0", folder / "images"
    sparse.mkdir(parents=True)
    images.mkdir()
    origin = np.array([EAST, NORTH, BASE])
    steps = np.arange(-14, 14, 1.5)
    x, y = np.meshgrid(steps + EAST, steps + NORTH)
    xyz = np.stack([x, y, hill_at(x, y)], axis=-1).reshape(-1, 3)
    cameras, poses, seen = [], [], []
    for number, (name, view) in enumerate(posed().items(), 1):
        K, R, t = view.camera.K, view.camera.R, view.camera.t
        rows, cols = view.image.shape
        # COLMAP's origin is the corner of the first pixel, half a pixel before its centre.
        cameras.append(f"{number} PINHOLE {cols} {rows} {K[0, 0]} {K[1, 1]} {K[0, 2] + 0.5} {K[1, 2] + 0.5}")
        col, row = np.asarray(view.camera.project(xyz)[:2]) + 0.5
        pose = " ".join(map(repr, map(float, (*_quaternion(R), *(t + R @ origin)))))
        marks = " ".join(f"{float(c)!r} {float(r)!r} {i}" for i, (c, r) in enumerate(zip(col, row, strict=True)))
        poses += [f"{number} {pose} {number} {name}.png", marks]
        seen.append(number)
        grey = (view.image.read().pixels[0] / 2047 * 255).astype(np.uint8)
        assert cv2.imwrite(str(images / f"{name}.png"), grey)
    tracks = [" ".join(f"{image} {i}" for image in seen) for i in range(len(xyz))]
    points = [
        f"{i} {' '.join(map(repr, map(float, point - origin)))} 10 20 30 0.3 {tracks[i]}" for i, point in enumerate(xyz)
    ]
    for name, lines in {"cameras": cameras, "images": poses, "points3D": points}.items():
        (sparse / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def _quaternion(R):
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(R).as_quat()
    return w, x, y, z


def write_kind(folder, kind):
    """Write the scene of a kind into ``folder`` / ``kind`` and return that folder."""
    where = folder / kind
    if kind == "colmap":
        return write_colmap(where)
    scene = Scene(kind)
    if "dsm" in kind:
        scene = replace(scene, grid=GRID, dsm=noisy(), reference=Reference(dsm=ArraySource(hill())))
    if "orthos" in kind:
        scene = replace(scene, orthos=orthos(), pairs=(("a", "b"),))
    if "cloud" in kind:
        scene = replace(scene, points=cloud())
    if "satellites" in kind:
        scene = replace(scene, views=satellites())
    if "posed" in kind:
        scene = replace(scene, views=posed())
    write_scene(where, scene)
    return where
