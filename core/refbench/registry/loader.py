"""Loading plugins, one by one: a broken plugin is kept with its reason and never stops the others.

Order, which decides who keeps a name that two plugins claim: refbench's own entry points, those of other
distributions (by distribution and entry point name), then the files in ``REFBENCH_PLUGINS`` in their order.

==============================  ====================================================================================
``REFBENCH_PLUGINS``            unpackaged plugin files, separated by ``:`` (``;`` on Windows); ``--plugin`` adds one
``REFBENCH_NO_PLUGINS=1``       nothing but refbench's own plugins; ``--no-third-party`` sets it
``REFBENCH_STRICT_PLUGINS=1``   raise the first error instead of keeping it; ``--strict-plugins`` sets it
==============================  ====================================================================================
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
import re
import sys
import traceback
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from refbench.contracts.errors import InputError, MissingFileError
from refbench.registry import hookspecs
from refbench.registry.records import AssessorRecord, ImporterRecord, MethodRecord, ReporterRecord, VerbRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

FILES_VARIABLE = "REFBENCH_PLUGINS"
NO_THIRD_PARTY_VARIABLE = "REFBENCH_NO_PLUGINS"
STRICT_VARIABLE = "REFBENCH_STRICT_PLUGINS"

RECORD_TYPES: Mapping[str, type[Any]] = {
    "methods": MethodRecord,
    "importers": ImporterRecord,
    "assessors": AssessorRecord,
    "reporters": ReporterRecord,
    "verbs": VerbRecord,
}
"""Kind of record -> its type; the hook of a kind is ``refbench_<kind>``."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_TRACEBACK_LINES = 6


@dataclass(frozen=True, slots=True)
class Options:
    """Which plugins to load, and whether an error in one of them is raised."""

    files: tuple[Path, ...] = ()
    third_party: bool = True
    strict: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Options:
        """Read the three variables; ``0`` and the empty string mean off."""

        def is_on(name: str) -> bool:
            return environment.get(name, "") not in ("", "0")

        files = tuple(Path(part) for part in environment.get(FILES_VARIABLE, "").split(os.pathsep) if part)
        return cls(files, third_party=not is_on(NO_THIRD_PARTY_VARIABLE), strict=is_on(STRICT_VARIABLE))


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin, loaded or broken: ``reason`` is one line, ``trace`` the tail of the traceback; None where it works.

    ``distribution`` is the package that brings it, or the path of an unpackaged file (then ``version`` is empty).
    """

    name: str
    distribution: str
    version: str
    records: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    observe: Callable[..., None] | None = None
    reason: str | None = None
    trace: str | None = None

    @property
    def origin(self) -> str:
        """Distribution and version, or the file."""
        return f"{self.distribution} {self.version}".rstrip()


class PluginError(InputError):
    """What a plugin does against the rules of ``hookspecs``."""


def pin_files(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make the plugin files of ``environment`` absolute, so that jobs find them from any working folder."""
    if files := environment.get(FILES_VARIABLE):
        absolute = [str(Path(part).expanduser().absolute()) for part in files.split(os.pathsep) if part]
        environment[FILES_VARIABLE] = os.pathsep.join(absolute)


def load_plugins(options: Options) -> tuple[Plugin, ...]:
    """Load all plugins in their order; broken ones are in the result with their reason.

    Raises
    ------
    PluginError
        With ``options.strict``: the first error, chained to its cause.
    """
    loaded: list[Plugin] = []
    for plugin, load in _found(options):
        try:
            full = _with_records(plugin, load())
            _check_names(full, loaded)
        except (Exception, SystemExit) as error:
            broken = _broken(plugin, error)
            if options.strict:
                raise PluginError(f"Plugin {plugin.name} ({plugin.origin}): {broken.reason}.") from error
            loaded.append(broken)
        else:
            loaded.append(full)
    return tuple(loaded)


def _found(options: Options) -> Iterator[tuple[Plugin, Callable[[], Any]]]:
    """Yield every plugin that is to be loaded and the call that imports it."""
    points = []
    for point in metadata.entry_points(group=hookspecs.PROJECT):
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "")
        points.append((distribution != hookspecs.PROJECT, distribution, point.name, version, point))
    for foreign, distribution, name, version, point in sorted(points, key=lambda item: item[:3]):
        if options.third_party or not foreign:
            yield Plugin(name, distribution, version), point.load
    for path in options.files if options.third_party else ():
        yield Plugin(path.stem, str(path), ""), functools.partial(_import_file, path)


def _import_file(path: Path) -> Any:  # noqa: ANN401  # a module
    """Import an unpackaged plugin under its stem, so that its records can name it as ``"stem:Class"``.

    Its folder goes to the end of the module path, so that they can name the files beside it as well. A file inside a
    package (a folder with ``__init__.py``) is imported as a module of that package.
    """
    path = path.expanduser().resolve()
    if not path.is_file():
        raise MissingFileError(f"there is no file {path}")
    if (path.parent / "__init__.py").is_file():
        return _import_from_package(path)
    present = sys.modules.get(path.stem)
    if present is not None and getattr(present, "__file__", None) == str(path):
        return present
    hidden = None if present is not None else importlib.util.find_spec(path.stem)
    if present is not None or (hidden is not None and hidden.origin != str(path)):
        raise PluginError(f"the file name {path.name} hides the module {path.stem}; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path.name} is not a Python file (*.py)")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]
        raise
    return module


def _import_from_package(path: Path) -> Any:  # noqa: ANN401  # a module
    """Import a file of a package that is not installed; the folder of the package goes to the module path."""
    root, names = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    if str(root) not in sys.path:
        sys.path.append(str(root))
    importlib.invalidate_caches()
    module = importlib.import_module(".".join(names))
    if getattr(module, "__file__", None) != str(path):
        raise PluginError(f"the package {names[0]} of {path} hides another of that name; rename its folder")
    return module


def _with_records(plugin: Plugin, module: Any) -> Plugin:  # noqa: ANN401  # a module or any object
    """Register one plugin with a manager of its own, check its hooks and collect its records."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(module, name=plugin.name)
    manager.check_pending()
    callers = manager.get_hookcallers(module) or []
    if not callers:
        raise PluginError("it implements no hook; mark its functions with refbench.hookimpl")
    for caller in callers:
        for implementation in caller.get_hookimpls():
            kinds = {parameter.kind for parameter in inspect.signature(implementation.function).parameters.values()}
            if kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}:
                raise PluginError(f"{caller.name} takes *args or **kwargs; name the arguments that it uses")
    names = {caller.name for caller in callers}
    records = {
        kind: _checked(kind, getattr(manager.hook, f"refbench_{kind}")())
        for kind in RECORD_TYPES
        if f"refbench_{kind}" in names
    }
    observe = manager.hook.refbench_event if "refbench_event" in names else None
    return replace(plugin, records=records, observe=observe)


def _checked(kind: str, answers: list[Any]) -> tuple[Any, ...]:
    """Return the records of one hook call, or say what is wrong with them."""
    expected = RECORD_TYPES[kind]
    found: list[Any] = []
    for answer in answers:
        if isinstance(answer, (str, bytes)) or not hasattr(answer, "__iter__"):
            raise PluginError(f"refbench_{kind} must return a list of {expected.__name__}, got {answer!r:.80}")
        found.extend(answer)
    for record in found:
        if type(record) is not expected:
            raise PluginError(f"refbench_{kind} must return {expected.__name__} only, got {record!r:.80}")
        if not isinstance(record.name, str) or not _NAME.fullmatch(record.name):
            raise PluginError(f"the name {record.name!r} may hold lower-case letters, digits and - _ . only")
        if ":" not in record.target:
            raise PluginError(f"the target of {record.name} must read 'module:name', got {record.target!r}")
        if isinstance(record, MethodRecord) and record.official is not None and ":" not in record.official:
            raise PluginError(f"official of {record.name} must read 'module:Class', got {record.official!r}")
    return tuple(found)


def _check_names(plugin: Plugin, others: list[Plugin]) -> None:
    """Refuse a plugin that claims a name twice, or one that an earlier plugin holds."""
    for kind, records in plugin.records.items():
        held = {record.name: other.origin for other in others for record in other.records.get(kind, ())}
        for record in records:
            if record.name in held:
                first = held[record.name]
                raise PluginError(f"{kind[:-1]} {record.name} is offered by {first} and again by {plugin.origin}")
            held[record.name] = plugin.origin


def _broken(plugin: Plugin, error: BaseException) -> Plugin:
    """Keep the reason as one line, and the last lines of the traceback."""
    text = " ".join(str(error).split()).rstrip(".")
    is_ours = isinstance(error, (PluginError, MissingFileError))
    reason = text if is_ours else f"{type(error).__name__}: {text}" if text else type(error).__name__
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()
    return replace(plugin, reason=reason, trace="\n".join(lines[-_TRACEBACK_LINES:]))
