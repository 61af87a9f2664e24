"""``scene.yaml``, version 1: reading and writing a scene as a folder. Paths in it are relative to the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import ConfigError, MissingFileError
from refbench.files.yaml_file import check_keys, mapping, read_mapping, text
from refbench.scenes.build import SceneFiles, ViewFiles, build_scene
from refbench.scenes.write import write_scene

if TYPE_CHECKING:
    from refbench.contracts.scene import Scene

__all__ = ["SCENE_FILE", "embedded_scene_path", "load_scene", "write_scene"]

SCENE_FILE = "scene.yaml"
VERSION = 1
_KEYS = (
    "refbench_scene", "id", "crs", "vertical", "height_unit", "gsd", "dsm", "points", "orthos", "pairs", "ndvi",
    "views", "masks", "reference",
)  # fmt: skip


def embedded_scene_path() -> Path:
    """Return the folder of the scene inside the package: the default of ``refbench run``."""
    return Path(__file__).parent / "embedded"


def load_scene(path: str | Path) -> Scene:
    """Return the scene of a folder with ``scene.yaml``, or of that file; only headers are read.

    Parameters
    ----------
    path
        The folder or the file. Keys of version 1: ``refbench_scene: 1``, ``id``, ``crs``, ``vertical``,
        ``height_unit``, ``gsd`` (metres; grid over points where there is no raster), ``dsm``, ``points``, ``orthos``
        (name: file), ``pairs`` (lists of names), ``ndvi``, ``views`` (name: image, camera, depth, mask), ``masks``
        (name: file), ``reference`` (dsm, mask, depths).

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
    return build_scene(_Parser(path).files())


class _Parser:
    """Turns the mapping of one file into ``SceneFiles``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.resolve().parent
        self.content = read_mapping(path)
        version = self.content.get("refbench_scene")
        if "refbench_scene" not in self.content:
            raise ConfigError(f"{path} lacks the key refbench_scene: {VERSION}, so it is no scene file.")
        if version != VERSION:
            raise ConfigError(f"{path}: refbench_scene is {version!r}; this refbench reads version {VERSION}.")
        check_keys(str(path), self.content, _KEYS)

    def files(self) -> SceneFiles:
        """Return what the file says."""
        reference = self._mapping("reference", ("dsm", "mask", "depths"))
        depths = self._paths("reference.depths", reference.get("depths"))
        return SceneFiles(
            self._text("id") or self.folder.name, self.folder, self._text("crs"), self._text("vertical"),
            self._text("height_unit"), self._gsd(), self._file("dsm"), self._file("points"),
            self._paths("orthos", self.content.get("orthos")), self._pairs(), self._file("ndvi"), self._views(),
            self._paths("masks", self.content.get("masks")), self._path("reference.dsm", reference.get("dsm")),
            self._path("reference.mask", reference.get("mask")), depths,
        )  # fmt: skip

    def _where(self, key: str) -> str:
        return f"{self.path}: {key}"

    def _text(self, key: str) -> str | None:
        value = self.content.get(key)
        if key == "id" and isinstance(value, int):  # an unquoted number is a fair name
            value = str(value)
        return None if value is None else text(self._where(key), value)

    def _gsd(self) -> float | None:
        value = self.content.get("gsd")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{self._where('gsd')} must be a number of metres, got {value!r}.")
        return float(value)

    def _path(self, key: str, value: object) -> Path | None:
        return None if value is None else self.folder / text(self._where(key), value)

    def _file(self, key: str) -> Path | None:
        return self._path(key, self.content.get(key))

    def _mapping(self, key: str, known: tuple[str, ...]) -> dict[str, Any]:
        value = self.content.get(key)
        if value is None:
            return {}
        found = mapping(self._where(key), value)
        check_keys(self._where(key), found, known)
        return found

    def _paths(self, key: str, value: object) -> dict[str, Path]:
        if value is None:
            return {}
        items = mapping(self._where(key), value).items()
        return {name: self.folder / text(self._where(f"{key}.{name}"), item) for name, item in items}

    def _pairs(self) -> tuple[tuple[str, ...], ...] | None:
        value = self.content.get("pairs")
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) >= 2 for pair in value):
            raise ConfigError(f"{self._where('pairs')} must be a list of lists of two ortho names or more.")
        return tuple(tuple(text(self._where("pairs"), name) for name in pair) for pair in value)

    def _views(self) -> dict[str, ViewFiles]:
        value = self.content.get("views")
        views: dict[str, ViewFiles] = {}
        for name, item in ({} if value is None else mapping(self._where("views"), value)).items():
            where = f"views.{name}"
            entry = mapping(self._where(where), item)
            check_keys(self._where(where), entry, ("image", "camera", "depth", "mask", "depth_range"))
            image = self._path(f"{where}.image", entry.get("image"))
            if image is None:
                raise ConfigError(f"{self._where(where)} needs an image.")
            rest = {key: self._path(f"{where}.{key}", entry.get(key)) for key in ("camera", "depth", "mask")}
            views[name] = ViewFiles(image, **rest, depth_range=self._range(f"{where}.depth_range", entry))
        return views

    def _range(self, key: str, entry: dict[str, Any]) -> tuple[float, float] | None:
        value = entry.get("depth_range")
        if value is None:
            return None
        numbers = value if isinstance(value, list) else []
        if len(numbers) != 2 or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
            raise ConfigError(f"{self._where(key)} must be two numbers, nearest and farthest depth; got {value!r}.")
        near, far = map(float, numbers)
        if not 0 < near < far:
            raise ConfigError(f"{self._where(key)} must hold 0 < nearest < farthest, got {near:g} and {far:g}.")
        return near, far
