"""Suites: which methods run on which scenes with which seeds, under which rules and budgets. Read from YAML."""

from __future__ import annotations

import difflib
import importlib.resources
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench.engine.sweeps.suite_file import VERSION, SuiteFile
from refbench.files.typed_config import typed_config
from refbench.files.yaml_file import read_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.engine.sweeps.suite_file import MethodItem, SceneItem

SUITES_PACKAGE = "refbench.suites"
ALL = "all"
EMBEDDED = "embedded"


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
    def of_jobs(self) -> dict[str, str]:
        """What a job's own result depends on; the rest decides how results are shown."""
        return {"coregister": self.coregister, "resampling": self.resampling}


@dataclass(frozen=True, slots=True)
class Budgets:
    """Limits of every job. ``steps`` shapes results: it is set for the methods whose configuration has that key."""

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
    """Turns the content of one file into a ``Suite``."""

    def __init__(self, path: Path, *, is_shipped: bool) -> None:
        self.path, self.shipped = path, is_shipped
        content = read_mapping(path)
        version = content.get("refbench_suite")
        if version != VERSION or isinstance(version, bool):
            raise ConfigError(f"{path} must say refbench_suite: {VERSION}; it says {version!r}.")
        self.file = typed_config(SuiteFile, {"name": path.stem, **spelt_out(content)}, str(path))

    def suite(self) -> Suite:
        """Return what the file says."""
        file, protocol, budgets = self.file, self.file.protocol, self.file.budgets
        return Suite(
            file.name,
            tuple(self._method(item) for item in file.methods),
            tuple(self._scene(item) for item in file.scenes),
            file.summary,
            tuple(file.seeds),
            file.device,
            Protocol(protocol.coregister, tuple(protocol.domain), protocol.resampling, tuple(protocol.strata)),
            Budgets(budgets.deadline_s, budgets.memory_cap, budgets.threads, budgets.memory, budgets.steps),
            str(self.path),
            self.shipped,
            {name: dict(of or {}) for name, of in file.assessors.items()},
        )

    def _beside(self, value: str) -> str:
        """Return a path relative to the suite file as an absolute one."""
        return str((self.path.resolve().parent / Path(value).expanduser()).absolute())

    def _method(self, item: MethodItem) -> MethodEntry:
        config, weights = (
            self._beside(name) if name is not None and Path(self._beside(name)).exists() else name
            for name in (item.config, item.weights)
        )
        env = self._beside(item.env) if item.env is not None and "/" in item.env else item.env
        needing = tuple(item.needing or ())
        return MethodEntry(item.method or ALL, item.label, config, item.set, weights, env, needing)

    def _scene(self, item: SceneItem) -> SceneEntry:
        if item.city is not None:
            return SceneEntry("city", asdict(item.city))
        if item.found_in is not None:
            folder = item.found_in
            return SceneEntry("found_in", {"folder": folder if folder.startswith("$") else self._beside(folder)})
        if item.cut is not None:
            base = item.cut.scene
            scene = base if base == EMBEDDED else self._beside(base)
            return SceneEntry("cut", {"scene": scene, "size_m": item.cut.size_m})
        assert item.path is not None  # one of them is there
        return SceneEntry(EMBEDDED) if item.path == EMBEDDED else SceneEntry("path", {"path": self._beside(item.path)})


def spelt_out(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a suite's content with its short forms written out: names become entries, lists of assessors mappings."""
    methods, scenes, assessors = (content.get(key) for key in ("methods", "scenes", "assessors"))
    found = dict(content)
    if methods == ALL:
        methods = [ALL]
    if isinstance(methods, list):
        found["methods"] = [{"method": item} if isinstance(item, str) else item for item in methods]
    if isinstance(scenes, list):
        found["scenes"] = [{"path": item} if isinstance(item, str) else item for item in scenes]
    if isinstance(assessors, list):
        found["assessors"] = {str(name): {} for name in assessors}
    return found
