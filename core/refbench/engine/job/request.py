"""What is asked of a job: plain data that travels to its process as JSON; from options, and back to a command line."""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.bridges.plan import check_bridge_names
from refbench.contracts.errors import InputError
from refbench.engine.job.parts import Part
from refbench.files.gdal_path import full_text, is_gdal_name, own_path, printable
from refbench.files.yaml_text import yaml_value
from refbench.scenes.scene_yaml import SCENE_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SINGLE = ("dsm", "ndvi", "reference")
"""Plain files of which a scene has one."""
LISTS = {"points": "--points", "orthos": "--ortho", "views": "--view"}
"""Plain files of which a scene has several, and the option that adds one."""
FACTS = ("crs", "target_crs", "vertical", "height_unit", "nodata_in", "gsd", "scene_id", "keep_noise")
"""What plain files may not say themselves."""
FILES = (*SINGLE, *LISTS, "masks", *FACTS)
OPTIONS = {
    "config": "--config",
    "weights": "--weights",
    "seed": "--seed",
    "device": "--device",
    "threads": "--threads",
    "memory_budget_bytes": "--memory",
    "memory_cap_bytes": "--memory-cap",
    "deadline_s": "--timeout",
    "nodata": "--nodata",
    "coregister": "--coregister",
    "resampling": "--resampling",
    "checkpoints": "--checkpoints",
}
"""Field of a request -> its option on the command line, for those that take one word."""
FIELDS = {"memory": "memory_budget_bytes", "memory_cap": "memory_cap_bytes", "timeout": "deadline_s"}
"""Name of an option -> its field, where they differ."""


@dataclass(frozen=True, slots=True)
class SceneRequest:
    """A scene: a folder, or arguments of ``scene_from_files``; neither: see ``open_scene``.

    ``name`` picks one of the data sets that an official configuration lists.
    """

    path: str | None = None
    files: dict[str, Any] = field(default_factory=dict)
    name: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether the user named a scene or files."""
        return self.path is not None or bool(self.files)


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job. Paths are absolute strings; sizes bytes; ``deadline_s`` None means none."""

    method: str
    scene: SceneRequest
    out: str
    config: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int | None = None
    memory_budget_bytes: int = 2 << 30
    memory_cap_bytes: int | None = None
    deadline_s: float | None = None
    gsd: float | None = None
    nodata: float | None = None
    """NoData code of the output rasters; None takes that of the input DSM."""
    bootstrap: bool = True
    coregister: str = "none"
    """``initial-once``: the shift that lays the initial DSM on the reference is applied to every DSM before scoring."""
    assessors: tuple[str, ...] = ()
    assessor_options: dict[str, Any] = field(default_factory=dict)
    resampling: str = "auto"
    """Kernel by which rasters come to another grid; see ``refbench.formats.warped``."""
    back: bool = False
    """Also write the refined DSM in the input's own CRS, grid and unit."""
    python: str | None = None
    """Interpreter of the job, for plugins whose packages conflict; None takes the running one."""
    checkpoints: str | None = None
    """Folder where the method keeps its state between runs; a result does not depend on it."""
    no_bridges: tuple[str, ...] = ()
    """Names of bridges that are switched off; see ``refbench.bridges.plan``."""
    region: Part | None = None
    """Refine these rows of the raster alone, for tile methods; nothing is scored then. None: all."""
    strips: tuple[str, ...] = ()
    """Folders of jobs that have refined all regions: their rasters are joined and scored, the method does not run."""

    def to_json(self) -> str:
        """Return the request as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> JobRequest:
        """Return the request that ``to_json`` wrote."""
        values = json.loads(text)
        made: dict[str, Any] = {"scene": SceneRequest(**values["scene"]), "assessors": tuple(values["assessors"])}
        made |= {"no_bridges": tuple(values["no_bridges"]), "strips": tuple(values.get("strips", ()))}
        made["region"] = None if values.get("region") is None else Part(**values["region"])
        return cls(**{**values, **made})

    @classmethod
    def from_options(cls, method: str, options: Mapping[str, Any], spelt: Callable[[str], str] = str) -> JobRequest:
        """Return the request of options as a user gives them, with paths made absolute.

        Parameters
        ----------
        method
            Name of the method.
        options
            Values by the names that ``refbench run`` takes: ``scene``, ``data_set``, ``out``, those of ``FILES``,
            ``overrides``, ``assessors``, ``assessor_options``, and the fields of a request (``memory``, ``memory_cap``
            and ``timeout`` for the three of ``FIELDS``). What is missing or None takes its default.
        spelt
            Turns the name of an option into what the user would write, for messages.

        Raises
        ------
        InputError
            A scene and plain files, a scene and what only plain files may say, an unknown name, or a file that is
            no path.
        """
        given = {key: value for key, value in options.items() if value is not None}
        files, scene = _files(given, spelt), given.get("scene")
        if scene is not None and files.keys() - FACTS:
            raise InputError(
                f"Give either the scene {scene} or plain files such as {spelt(next(iter(files)))}, not both."
            )
        if files.keys() == {"gsd"} and scene is not None and _says_nothing(Path(scene)):
            files = {}  # it is the bridges' then, which make the grid
        if files and not files.keys() - FACTS:
            raise InputError(f"{spelt(next(iter(files)))} is for plain files; a scene says it in scene.yaml.")
        if "data_set" in given and (scene is not None or files):
            raise InputError(f"{spelt('data_set')} picks from an official configuration; leave it out with a scene.")
        path = None if scene is None else _absolute(scene, spelt("scene"))
        known = {item.name for item in fields(cls)} - {"method", "scene", "out", "region", "strips"}
        values = {FIELDS.get(key, key): value for key, value in given.items()}
        values = {key: value for key, value in values.items() if key in known}
        if (config := given.get("config")) is not None:
            values["config"] = _name_or_path(config, Path(config).is_file())
        if (weights := given.get("weights")) is not None:  # a bare name means known weights
            values["weights"] = _name_or_path(weights, isinstance(weights, Path) or bool(Path(weights).suffix))
        if "checkpoints" in values:
            values["checkpoints"] = _absolute(values["checkpoints"], spelt("checkpoints"))
        for name in ("assessors", "no_bridges"):
            if name in values:
                values[name] = tuple(values[name])
        check_bridge_names(values.get("no_bridges", ()))
        values["region"] = _region(given, spelt)
        out = _absolute(given["out"], spelt("out")) if "out" in given else ""
        return cls(method, SceneRequest(path, files, given.get("data_set")), out, **values)

    def to_command_line(self) -> list[str]:
        """Return the words of ``refbench run`` that ask for this job; ``from_options`` leads back to it.

        An interpreter of the job's own is named as a program; values at their default are left out.
        """
        words = ["refbench"] if self.python is None else [self.python, "-m", "refbench.cli.main"]
        words.append("run")
        if self.scene.path is not None:
            words.append(self.scene.path)
        words += ["--method", self.method]
        for name, value in self.scene.files.items():
            words += _file_words(name, value)
        if self.gsd is not None and "gsd" not in self.scene.files:
            words += _file_words("gsd", self.gsd)
        if self.scene.name is not None:
            words += ["--data-set", self.scene.name]
        defaults = {item.name: item.default for item in fields(self)}
        for name, option in OPTIONS.items():
            if (value := getattr(self, name)) != defaults[name]:
                words += [option, _word(value)]
        words += _assigned("--set", self.overrides)
        for option, names in (("--assessor", self.assessors), ("--no-bridge", self.no_bridges)):
            for name in names:
                words += [option, name]
        words += ["--back"] * self.back
        words += _assigned("--option", self.assessor_options)
        if self.region is not None:
            words += ["--region-index", str(self.region.index), "--of", str(self.region.of)]
        if self.strips:
            words += ["--regions", str(len(self.strips))]
        return [*words, *(["--out", self.out] if self.out else [])]

    def without_secrets(self) -> JobRequest:
        """Return the request as it may be kept: URLs without query and password."""
        files = {name: _printable(value) for name, value in self.scene.files.items()}
        return replace(self, scene=replace(self.scene, files=files))

    @property
    def folder(self) -> Path:
        """The folder that the job's process writes to."""
        return Path(self.out)


def _says_nothing(scene: Path) -> bool:
    """Return whether a scene is a folder of another system, which cannot say what a ``scene.yaml`` can."""
    return scene.is_dir() and not (scene / SCENE_FILE).exists()


def _region(given: Mapping[str, Any], spelt: Callable[[str], str]) -> Part | None:
    """Return the region that options name, None where they name none."""
    named = [name for name in ("region_index", "of") if name in given]
    if len(named) == 1:
        raise InputError(
            f"{spelt(named[0])} needs {spelt('of' if named == ['region_index'] else 'region_index')}, too."
        )
    return Part(given["region_index"], given["of"]) if named else None


def check_files(files: Mapping[str, Any]) -> None:
    """Refuse a name that no plain file has.

    Raises
    ------
    InputError
        The first unknown name, with the nearest that is known.
    """
    for name in files:
        if name not in FILES:
            near = difflib.get_close_matches(str(name), FILES, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(FILES)}."
            raise InputError(f"files: unknown name {name!r}; {hint}")


def _files(given: Mapping[str, Any], spelt: Callable[[str], str]) -> dict[str, Any]:
    """Return the arguments of ``scene_from_files`` that the options hold, paths absolute."""
    files: dict[str, Any] = {name: _raster(given[name], spelt(name)) for name in SINGLE if name in given}
    for name in LISTS:
        if given.get(name):
            if isinstance(given[name], str | Path):
                if name != "points":
                    raise InputError(f"{spelt(name)} must be a list of paths, got one: {given[name]}.")
                files[name] = _absolute(given[name], spelt(name))
                continue
            as_text = _absolute if name == "points" else _raster
            paths = [as_text(path, spelt(name)) for path in given[name]]
            files[name] = paths[0] if name == "points" and len(paths) == 1 else paths
    if given.get("masks"):
        files["masks"] = {name: _raster(path, spelt("masks")) for name, path in given["masks"].items()}
    return files | {name: given[name] for name in FACTS if name in given}


def _absolute(path: object, name: str) -> str:
    if not isinstance(path, str | Path) or not str(path) or "\0" in str(path):
        raise InputError(f"{name} must be a path, got {path!r}.")
    return str(Path(path).absolute())


def _raster(path: object, name: str) -> str:
    """Return the absolute path of a raster; what the user names of GDAL's virtual file systems stays whole."""
    if isinstance(path, str | Path) and is_gdal_name(path) and "\0" not in str(path):
        return full_text(own_path(path))
    return _absolute(path, name)


def _name_or_path(value: str | Path, is_path: bool) -> str:
    """Return a configuration or weights by name as they are, a path that exists as an absolute one."""
    path = Path(value)
    return str(path.absolute()) if (is_path or "/" in str(value)) and path.exists() else str(value)


def _printable(value: Any) -> Any:  # noqa: ANN401  # a path, paths, or a fact
    if isinstance(value, dict):
        return {key: _printable(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_printable(one) for one in value]
    return printable(value) if isinstance(value, str) else value


def _file_words(name: str, value: Any) -> Iterator[str]:  # noqa: ANN401  # a path, paths, or a fact
    if name in LISTS:
        for path in [value] if isinstance(value, str) else value:
            yield from (LISTS[name], printable(path))
    elif name == "keep_noise":
        yield from ["--keep-noise"] * bool(value)
    elif name == "masks":
        for key, path in value.items():
            yield from ("--mask", f"{key}={printable(path)}")
    else:
        yield from (f"--{name.replace('_', '-')}", printable(_word(value)))


def _assigned(option: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        yield from (option, f"{key}={yaml_value(value)}")


def _word(value: object) -> str:
    """Return a number or text as an option takes it: floats with all their digits, whole ones without a point."""
    if isinstance(value, float) and math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return str(value)
