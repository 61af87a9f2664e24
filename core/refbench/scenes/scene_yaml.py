"""``scene.yaml``, version 1: reading and writing a scene as a folder. Paths in it are relative to the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench.files.gdal_path import is_gdal_name, own_path, shown, trusts_files
from refbench.files.yaml_file import read_mapping
from refbench.formats.raster_access import is_raster
from refbench.scenes.build import SceneFiles, ViewFiles, build_scene
from refbench.scenes.write import write_scene

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene

__all__ = ["SCENE_FILE", "embedded_scene_path", "load_scene", "write_scene"]

SCENE_FILE = "scene.yaml"
VERSION = 1


def embedded_scene_path() -> Path:
    """Return the folder of the scene inside the package: the default of ``refbench run``."""
    return Path(__file__).parent / "embedded"


def load_scene(path: str | Path, *, resampling: str = "auto") -> Scene:
    """Return the scene of a folder with ``scene.yaml``, or of that file; only headers are read.

    Parameters
    ----------
    path
        The folder or the file. Keys of version 1: ``refbench_scene: 1``, ``id``, ``crs``, ``vertical``,
        ``height_unit``, ``nodata`` (code of heights that the files do not declare), ``gsd``
        (metres; grid over points where there is no raster), ``dsm``, ``points`` (a file or a list,
        read as one cloud), ``keep_noise`` (points of the classes 7 and 18 stay), ``orthos``
        (name: file), ``pairs`` (lists of names), ``ndvi``, ``views`` (name: image, camera, depth, mask, depth_range,
        acquired), ``masks``
        and ``layers`` (name: file), ``reference`` (dsm, mask, depths), ``target_crs`` (what everything is brought to).
    resampling
        Kernel by which rasters come to the scene's grid: auto, nearest, bilinear, cubic or average.

    Raises
    ------
    MissingFileError
        There is no such file, or one that it names is not there.
    ConfigError
        An unknown or ill-typed key; the message names the nearest valid one.
    InputError
        See ``refbench.scenes.build.build_scene``.
    """
    path = Path(path)
    if path.is_dir():
        path = path / SCENE_FILE
        if not path.is_file():
            raise MissingFileError(f"{path.parent} is no scene: it holds no {SCENE_FILE}.")
    refuse_data_file(path)
    return build_scene(_files(path, resampling))


def refuse_data_file(path: Path) -> None:
    """Raise ``InputError`` where ``path`` is a raster or a point cloud rather than a scene file."""
    if "\0" in str(path) or not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith((b"LASF", b"ply\n", b"ply\r")):
        raise InputError(f"{path} is a point cloud, not a scene; give it as --points {path}.")
    if path.suffix.lower() not in (".yaml", ".yml") and is_raster(path):
        raise InputError(f"{path} is a raster, not a scene; give it as --dsm {path}.")


def _named(path: Path, folder: Path, name: str) -> Path:
    """Return a file that a scene file names; what reaches off this disk wants the user's trust."""
    if not is_gdal_name(name):
        return folder / name
    if not trusts_files():
        raise InputError(
            f"{path} names {shown(name)}; a /vsi path or URL in a scene file is opened only with --trust, and nothing "
            "was fetched."
        )
    return own_path(name)


def _files(path: Path, resampling: str) -> SceneFiles:
    """Return what a scene file says, its paths absolute."""
    # Not at module level: the listing verbs share this file, and pydantic takes its time.
    from refbench.files.typed_config import typed_config
    from refbench.scenes.scene_model import ReferenceItem, SceneModel

    content = read_mapping(path)
    version = content.get("refbench_scene")
    if "refbench_scene" not in content:
        raise ConfigError(f"{path} lacks the key refbench_scene: {VERSION}, so it is no scene file.")
    if version != VERSION or isinstance(version, bool):
        raise ConfigError(f"{path}: refbench_scene is {version!r}; this refbench reads version {VERSION}.")
    if isinstance(name := content.get("id"), int):  # an unquoted number is a fair name
        content["id"] = str(name)
    said, folder = typed_config(SceneModel, content, str(path)), path.resolve().parent
    reference = said.reference or ReferenceItem()

    def named(name: str) -> Path:
        return _named(path, folder, name)

    def file(name: str | None) -> Path | None:
        return None if name is None else named(name)

    def files(names: dict[str, str] | None) -> dict[str, Path]:
        return {key: named(name) for key, name in (names or {}).items()}

    clouds = [said.points] if isinstance(said.points, str) else said.points or []
    views = {
        name: ViewFiles(
            named(view.image), file(view.camera), file(view.depth), file(view.mask), view.depth_range, view.acquired
        )
        for name, view in (said.views or {}).items()
    }
    return SceneFiles(
        said.id or folder.name, folder, said.crs, said.vertical, said.height_unit, said.gsd, file(said.dsm),
        tuple(map(named, clouds)), files(said.orthos),
        None if said.pairs is None else tuple(map(tuple, said.pairs)),
        file(said.ndvi), views, files(said.masks), file(reference.dsm), file(reference.mask), files(reference.depths),
        said.nodata, said.keep_noise, said.target_crs, resampling, files(said.layers),
    )  # fmt: skip
