"""``refbench render``: novel views, depths, masks, planes and a video from the multiplane image of one view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refbench.contracts.errors import InputError
from refbench.files.new_folder import check_new, new_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from refbench import Scene
    from refbench_immpi.planes.mpi import MultiplaneImage
    from refbench_immpi.views.posed import Posed

FOLDERS = ("Images_SYN", "Depths_SYN", "Masks_SYN")
FRAMES_PER_SECOND = 10


@click.command()
@click.option("--scene", type=click.Path(path_type=Path), required=True, help="A scene folder, or one of LEVIR / WHU.")
@click.option(
    "--weights", type=click.Path(path_type=Path), required=True, help="Networks: optimizedImMPI.ckpt, or a folder."
)
@click.option("--reference", metavar="VIEW", help="The view that planes are made of; default: the first.")
@click.option(
    "--track", type=click.Path(path_type=Path), help="Folder of camera files; default: the scene's own views."
)
@click.option("--planes", type=click.IntRange(min=2), help="How many; default: as the weights say, else 32.")
@click.option("--size", metavar="ROWSxCOLS", help="Size of the rendered views; default: that of the scene's.")
@click.option(
    "--norms", type=click.Choice(["batch", "running"]), default="batch", show_default=True, help="Of the networks."
)
@click.option("--layers", is_flag=True, help="Write the planes, too: colour and density, one file each.")
@click.option("--video/--no-video", default=None, help="Write track.mp4; default: where there is a track.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new or empty folder.")
def command(scene: Path, weights: Path, out: Path, **options: Any) -> None:  # noqa: ANN401  # the options above
    """Render views of a scene: images (PNG), depths (TIFF), masks, and a video of a track."""
    check_new(out)
    from refbench_immpi.planes.mpi import Networks
    from refbench_immpi.weights import filled_network, read_model

    opened = _opened(scene)
    stored = read_model(weights)
    nets = filled_network(stored).to(options["device"])
    networks = Networks(nets.encoder, nets.generator, options["norms"] == "batch")
    image = _image(opened, networks, options, int(options["planes"] or stored.meta.get("planes") or 32))
    targets = list(_targets(opened, image, options))
    with new_folder(out) as partial:
        render_all(image, targets, partial, layers=options["layers"], video=_wants_video(options))
    click.echo(f"Rendered {len(targets)} views of the {len(image.depths)} planes of view {image.view.name}: {out}.")


def _wants_video(options: dict[str, Any]) -> bool:
    return options["track"] is not None if options["video"] is None else bool(options["video"])


def _opened(path: Path) -> Scene:
    from refbench import load_scene
    from refbench_immpi.official.folders import is_data_folder, open_scene_folder

    return open_scene_folder(path) if is_data_folder(path) else load_scene(path)


def _image(scene: Scene, networks: Any, options: dict[str, Any], planes: int) -> MultiplaneImage:  # noqa: ANN401
    from refbench_immpi.config import ImMPIConfig, PlanesConfig
    from refbench_immpi.planes.mpi import multiplane_image
    from refbench_immpi.training.loss_terms import plane_depths
    from refbench_immpi.views.posed import posed_views

    views = {view.name: view for view in posed_views(scene)}
    name = options["reference"] or next(iter(views))
    if name not in views:
        raise InputError(f"The scene {scene.id} has no view {name}; there are {', '.join(views)}.")
    config = ImMPIConfig()
    depths = plane_depths(views[name], PlanesConfig(planes))
    return multiplane_image(networks, views[name], depths, tile=config.tile, overlap=config.overlap)


def _targets(scene: Scene, image: MultiplaneImage, options: dict[str, Any]) -> Iterator[Posed]:
    """Yield the cameras to render, each as a view without an image of its own."""
    import dataclasses

    import numpy as np

    from refbench.geometry.cameras import scaled_intrinsics
    from refbench_immpi.official.camera_text import read_camera_text
    from refbench_immpi.planes.homography import check_planes
    from refbench_immpi.views.posed import posed_views, relative_pose

    if options["track"] is not None:
        files = sorted(options["track"].glob("*.txt")) if options["track"].is_dir() else [options["track"]]
        if not files:
            raise InputError(f"--track {options['track']} holds no camera files 001.txt, 002.txt, ...")
        cameras = [(path.stem, read_camera_text(path, needs_range=False)) for path in files]
        views = [
            dataclasses.replace(image.view, name=name, K=text.K.astype(np.float64), E=text.E.astype(np.float64))
            for name, text in cameras
        ]
    else:
        views = list(posed_views(scene))
    shape = _size(options["size"])
    for view in views:
        check_planes(image.depths, relative_pose(image.view, view), view.name)
        if shape is None:
            yield view
        else:
            blank = np.zeros((3, *shape), np.float32)
            K = scaled_intrinsics(view.K, shape[1] / view.shape[1], shape[0] / view.shape[0])
            yield dataclasses.replace(view, image=blank, K=K)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--size must read ROWSxCOLS, such as 512x512, got {text!r}.")
    return int(parts[0]), int(parts[1])


def render_all(image: MultiplaneImage, targets: list[Posed], out: Path, *, layers: bool, video: bool) -> None:
    """Write images (floor of 255 times the colour, as published), depths, masks, and what else is asked for."""
    import cv2
    import numpy as np

    from refbench.files.names import as_file_name

    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    frames = []
    for view in targets:
        shown = image.seen_from(view)
        levels = np.floor(shown.rgb[0].clamp(0, 1).cpu().numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
        mask = (shown.mask[0, 0].cpu().numpy() > 0).astype(np.uint8)
        name = as_file_name(view.name)
        _write(cv2, out / FOLDERS[0] / f"{name}.png", levels[..., ::-1])
        _write(cv2, out / FOLDERS[1] / f"{name}.tiff", shown.depth[0, 0].cpu().numpy().astype(np.float32))
        _write(cv2, out / FOLDERS[2] / f"{name}.png", 255 * mask)
        frames.append(levels * mask[..., None])
    if layers:
        write_layers(image, out / "layers")
    if video:
        write_video(frames, out / "track.mp4")


def write_layers(image: MultiplaneImage, folder: Path) -> None:
    """Write every plane near to far: ``rgb_00.png``, ``sigma_00.tiff``, and their depths in ``depths.txt``."""
    import cv2
    import numpy as np

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(image.depths)):
        levels = np.floor(image.rgb[number].clamp(0, 1).cpu().numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
        _write(cv2, folder / f"rgb_{number:02d}.png", levels[..., ::-1])
        _write(cv2, folder / f"sigma_{number:02d}.tiff", image.sigma[number, 0].cpu().numpy().astype(np.float32))
    (folder / "depths.txt").write_text("".join(f"{float(depth):.9g}\n" for depth in image.depths))


def write_video(frames: list[Any], path: Path) -> None:
    """Write frames [rows, cols, 3] of 8 bits as a video of any size; odd sides get one more row or column.

    Raises
    ------
    InputError
        No package that writes videos is there.
    """
    import numpy as np

    try:
        import imageio.v2 as imageio
    except ImportError:
        raise InputError("A video needs imageio: pip install 'refbench[immpi]' brings it; or add --no-video.") from None
    open_writer: Any = imageio.get_writer  # its result is typed without what it does
    with open_writer(path, fps=FRAMES_PER_SECOND, macro_block_size=1) as writer:
        for frame in frames:
            rows, cols = frame.shape[:2]
            writer.append_data(np.pad(frame, ((0, rows % 2), (0, cols % 2), (0, 0)), mode="edge"))


def _write(cv2: Any, path: Path, pixels: Any) -> None:  # noqa: ANN401  # a module and an array
    if not cv2.imwrite(str(path), pixels):
        raise InputError(f"{path} cannot be written.")
