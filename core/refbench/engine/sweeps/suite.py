"""Suites: which methods run on which scenes with which seeds, under which rules and budgets. Read from YAML."""

from __future__ import annotations

import difflib
import importlib.resources
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench.contracts.need import Need
from refbench.files.sizes import parse_size
from refbench.files.yaml_file import check_keys, mapping, text
from refbench.files.yaml_text import parse_yaml
from refbench.geometry.warp import kernels

if TYPE_CHECKING:
    from collections.abc import Callable

SUITES_PACKAGE = "refbench.suites"
VERSION = 1
ALL = "all"
_KEYS = (
    "refbench_suite",
    "name",
    "summary",
    "methods",
    "scenes",
    "seeds",
    "device",
    "protocol",
    "budgets",
    "assessors",
)
_METHOD_KEYS = ("method", "needing", "label", "config", "set", "weights", "env")
_CITY_KEYS = ("seed", "size", "gsd", "aerial")
_LABEL = re.compile(r"[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*")


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """One row of a suite: a method with configuration and weights, or (``needing``) all that use one of some things.

    ``method`` is ``all`` for every method that is registered; ``env`` the interpreter that runs it.
    """

    method: str = ALL
    label: str | None = None
    config: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    env: str | None = None
    needing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SceneEntry:
    """One scene: ``kind`` is embedded, path, city, found_in or cut; ``values`` what belongs to it."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Protocol:
    """The rules of the comparison; they are part of every result's identity."""

    coregister: str = "none"
    domain: tuple[str, ...] = ("own", "common")
    resampling: str = "bilinear"
    strata: tuple[str, ...] = ("all",)
    """Whose accuracy the tables show with intervals; which exist depends on a scene's masks."""

    @property
    def of_cells(self) -> dict[str, str]:
        """What a cell's own result depends on; the rest decides how results are shown."""
        return {"coregister": self.coregister, "resampling": self.resampling}


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits of every cell. ``steps`` shapes results: it is set for the methods whose configuration has that key."""

    deadline_s: float | None = None
    memory_cap_bytes: int | None = None
    threads: int | None = 1
    memory_bytes: int = 2 << 30
    steps: int | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite; ``shipped`` where it travels with refbench, so that programs which it names are trusted."""

    name: str
    methods: tuple[MethodEntry, ...]
    scenes: tuple[SceneEntry, ...]
    summary: str = ""
    seeds: tuple[int, ...] = (0,)
    device: str = "cpu"
    protocol: Protocol = Protocol()
    budgets: Budgets = Budgets()
    source: str = ""
    shipped: bool = False
    assessors: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Further looks at every DSM: name -> its options."""

    @property
    def programs(self) -> tuple[str, ...]:
        """The interpreters that the suite names."""
        return tuple(dict.fromkeys(entry.env for entry in self.methods if entry.env is not None))

    def dump(self) -> str:
        """Return what was read as YAML, with every default spelt out; a record, not a suite file."""
        values = asdict(self)
        for group, key in (("protocol", "domain"), ("protocol", "strata"), ("", "seeds")):
            holder = values[group] if group else values
            holder[key] = list(holder[key])
        values["methods"] = [{**entry, "needing": list(entry["needing"])} for entry in values["methods"]]
        values["scenes"] = list(values["scenes"])
        return yaml.safe_dump(values, sort_keys=False, width=120)


def shipped_suites() -> dict[str, Path]:
    """Return the suites that travel with refbench: name -> file."""
    folder = Path(str(importlib.resources.files(SUITES_PACKAGE)))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_suite(name_or_path: str | Path) -> Suite:
    """Return a suite: a shipped one by name, or a YAML file.

    Parameters
    ----------
    name_or_path
        Paths in a file are relative to it. Keys: ``refbench_suite: 1``, ``name``, ``summary``, ``methods`` (``all``,
        or a list of names and of mappings with ``method`` or ``needing``, ``label``, ``config``, ``set``, ``weights``,
        ``env``), ``scenes`` (``embedded``, a path, ``city: {seed, size, gsd, aerial}``, ``found_in: FOLDER``,
        ``cut: {scene, size_m}``), ``seeds``, ``device``, ``protocol`` (``coregister``, ``domain``, ``resampling``,
        ``strata``),
        ``budgets`` (``deadline_s``, ``memory_cap``, ``threads``, ``memory``, ``steps``), ``assessors`` (a list of
        names, or a mapping from names to their options).

    Raises
    ------
    MissingFileError
        There is neither such a file nor a shipped suite of that name.
    ConfigError
        An unknown or ill-typed key; the message names file, key path and nearest valid key.
    """
    shipped = shipped_suites()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        near = difflib.get_close_matches(str(name_or_path), shipped, n=1)
        hint = f"did you mean {near[0]}?" if near else f"shipped ones are: {', '.join(shipped)}."
        raise MissingFileError(f"There is no suite file {name_or_path} and none of that name is shipped; {hint}")
    return _Reader(path, is_shipped=path in shipped.values()).suite()


def check_trust(suite: Suite, trust: bool) -> None:
    """Refuse a suite from elsewhere that names programs to run.

    Raises
    ------
    InputError
        Without ``trust``; the message names the programs.
    """
    if suite.programs and not suite.shipped and not trust:
        raise InputError(
            f"{suite.source} would run {', '.join(suite.programs)}; look at the file, then allow it with --trust."
        )


class _Reader:
    """Turns the mapping of one file into a ``Suite``."""

    def __init__(self, path: Path, *, is_shipped: bool) -> None:
        self.path, self.shipped = path, is_shipped
        try:
            content = parse_yaml(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from error
        self.content = mapping(str(path), content)
        version = self.content.get("refbench_suite")
        if version != VERSION or isinstance(version, bool):
            raise ConfigError(f"{path} must say refbench_suite: {VERSION}; it says {version!r}.")
        check_keys(str(path), self.content, _KEYS)

    def suite(self) -> Suite:
        """Return what the file says."""
        name = text(self._at("name"), self.content.get("name", self.path.stem))
        if not _LABEL.fullmatch(name):
            raise ConfigError(f"{self._at('name')}: {name!r} may hold letters, digits and - _ . only.")
        scenes = self._list("scenes", self._required("scenes"))
        seeds = self._list("seeds", self.content.get("seeds", [0]))
        return Suite(
            name,
            self._methods(),
            tuple(self._scene(f"scenes[{i}]", item) for i, item in enumerate(scenes)),
            text(self._at("summary"), self.content.get("summary", "")),
            tuple(self._number(f"seeds[{i}]", seed, int, 0) for i, seed in enumerate(seeds)),
            text(self._at("device"), self.content.get("device", "cpu")),
            self._protocol(),
            self._budgets(),
            str(self.path),
            self.shipped,
            self._assessors(),
        )

    def _assessors(self) -> dict[str, dict[str, Any]]:
        """Return name -> options of a list of names, or of a mapping from names to options."""
        found = self.content.get("assessors", [])
        if isinstance(found, list):
            return {text(self._at(f"assessors[{i}]"), name): {} for i, name in enumerate(found)}
        named = mapping(self._at("assessors"), found)
        return {name: dict(mapping(self._at(f"assessors.{name}"), of or {})) for name, of in named.items()}

    def _at(self, key: str) -> str:
        return f"{self.path}: {key}"

    def _required(self, key: str) -> Any:  # noqa: ANN401  # anything that YAML can say
        if key not in self.content:
            raise ConfigError(f"{self.path} lacks the key {key}.")
        return self.content[key]

    def _list(self, key: str, value: object) -> list[Any]:
        if not isinstance(value, list) or not value:
            raise ConfigError(f"{self._at(key)} must be a list with at least one entry, got {value!r}.")
        return value

    def _mapping(self, key: str, value: object, known: tuple[str, ...]) -> dict[str, Any]:
        found = mapping(self._at(key), value)
        check_keys(self._at(key), found, known)
        return found

    def _number(self, key: str, value: object, kind: type, least: float) -> Any:  # noqa: ANN401  # int or float
        is_number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
        if not is_number or not value >= least:  # type: ignore[operator]
            words = "a whole number" if kind is int else "a number"
            raise ConfigError(f"{self._at(key)} must be {words} of at least {least:g}, got {value!r}.")
        return kind(value)

    def _size(self, key: str, value: object) -> int:
        try:
            return parse_size(str(value))
        except ValueError:
            raise ConfigError(f"{self._at(key)} must be a size such as 500MB or 4GB, got {value!r}.") from None

    def _choice(self, key: str, value: object, known: tuple[str, ...]) -> str:
        if value not in known:
            raise ConfigError(f"{self._at(key)} must be {' or '.join(known)}, got {value!r}.")
        return str(value)

    def _beside(self, value: str) -> str:
        """Return a path relative to the suite file as an absolute one."""
        return str((self.path.resolve().parent / Path(value).expanduser()).absolute())

    def _methods(self) -> tuple[MethodEntry, ...]:
        value = self._required("methods")
        if value == ALL:
            return (MethodEntry(),)
        return tuple(self._method(f"methods[{i}]", item) for i, item in enumerate(self._list("methods", value)))

    def _method(self, key: str, item: object) -> MethodEntry:
        if isinstance(item, str):
            return MethodEntry(item)
        found = self._mapping(key, item, _METHOD_KEYS)
        if ("method" in found) == ("needing" in found):
            raise ConfigError(f"{self._at(key)} needs either the key method or the key needing.")
        texts = ("method", "label", "config", "weights", "env")
        values = {name: text(self._at(f"{key}.{name}"), found[name]) for name in texts if name in found}
        if "label" in values and not _LABEL.fullmatch(values["label"]):
            raise ConfigError(f"{self._at(key)}.label: {values['label']!r} may hold letters, digits and single - _ .")
        if "env" in values and "/" in values["env"]:
            values["env"] = self._beside(values["env"])
        for name in ("config", "weights"):
            if name in values and Path(self._beside(values[name])).exists():
                values[name] = self._beside(values[name])
        overrides = mapping(self._at(f"{key}.set"), found.get("set", {}))
        needing = tuple(
            self._choice(f"{key}.needing", need, tuple(n.value for n in Need))
            for need in self._list(f"{key}.needing", found.get("needing", [Need.DSM.value]))
        )
        return MethodEntry(**values, overrides=overrides, needing=needing if "needing" in found else ())

    def _scene(self, key: str, item: object) -> SceneEntry:
        if isinstance(item, str):
            return SceneEntry("embedded") if item == "embedded" else SceneEntry("path", {"path": self._beside(item)})
        found = self._mapping(key, item, ("city", "found_in", "cut"))
        if len(found) != 1:
            raise ConfigError(f"{self._at(key)} must hold exactly one of city, found_in, cut.")
        kind, value = next(iter(found.items()))
        where = f"{key}.{kind}"
        if kind == "found_in":
            folder = text(self._at(where), value)
            return SceneEntry(kind, {"folder": folder if folder.startswith("$") else self._beside(folder)})
        if kind == "city":
            city = self._mapping(where, value, _CITY_KEYS)
            return SceneEntry(
                kind,
                {
                    "seed": self._number(f"{where}.seed", city.get("seed"), int, 0),
                    "size": self._number(f"{where}.size", city.get("size", 256), int, 32),
                    "gsd": self._number(f"{where}.gsd", city.get("gsd", 0.5), float, 0.1),
                    "aerial": self._number(f"{where}.aerial", city.get("aerial", 0), int, 0),
                },
            )
        cut = self._mapping(where, value, ("scene", "size_m"))
        base = text(self._at(f"{where}.scene"), cut.get("scene", "embedded"))
        return SceneEntry(
            kind,
            {
                "scene": base if base == "embedded" else self._beside(base),
                "size_m": self._number(f"{where}.size_m", cut.get("size_m"), float, 1),
            },
        )

    def _protocol(self) -> Protocol:
        found = self._mapping(
            "protocol", self.content.get("protocol", {}), ("coregister", "domain", "resampling", "strata")
        )
        coregister = self._choice("protocol.coregister", found.get("coregister", "none"), ("none", "initial-once"))
        domain = self._list("protocol.domain", found.get("domain", ["own", "common"]))
        return Protocol(
            coregister,
            tuple(self._choice("protocol.domain", name, ("own", "common")) for name in domain),
            self._choice("protocol.resampling", found.get("resampling", "bilinear"), kernels),
            tuple(
                text(self._at("protocol.strata"), name)
                for name in self._list("protocol.strata", found.get("strata", ["all"]))
            ),
        )

    def _budgets(self) -> Budgets:
        kinds: dict[str, tuple[str, Callable[[str, object], Any]]] = {
            "deadline_s": ("deadline_s", lambda key, value: self._number(key, value, float, 0.1)),
            "memory_cap": ("memory_cap_bytes", self._size),
            "threads": ("threads", lambda key, value: self._number(key, value, int, 1)),
            "memory": ("memory_bytes", self._size),
            "steps": ("steps", lambda key, value: self._number(key, value, int, 1)),
        }
        found = self._mapping("budgets", self.content.get("budgets", {}), tuple(kinds))
        return Budgets(**{kinds[key][0]: kinds[key][1](f"budgets.{key}", value) for key, value in found.items()})
