"""Records: what plugins register. Data only; importing a record imports nothing heavy."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from refbench.contracts.official import NoOfficialFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.need import Gives, Need
    from refbench.contracts.official import OfficialFiles


def resolve(target: str) -> Any:  # noqa: ANN401  # a target can be any object
    """Return the object behind ``"module:name"``.

    Raises
    ------
    ValueError
        ``target`` is not of that form.
    ImportError, AttributeError
        The module or the name does not exist.
    """
    module, separator, name = target.partition(":")
    if not (module and separator and name):
        raise ValueError(f"A target must read 'module:name', got {target!r}.")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, slots=True)
class Reported:
    """One number from a paper: metric key, value in metres or as a fraction, and where it stands."""

    metric: str
    """Key of the metric."""
    value: float
    """Metres, or a fraction."""
    table: str
    """Where it stands in the publication."""
    dataset: str
    """Ground that it was measured on."""
    protocol: str
    """How it was measured: ``own``, ``common``, ``common/building`` or ``assessor:NAME`` as refbench measures, else
    words."""
    source: str = ""
    """Publication or address that prints it."""


@dataclass(frozen=True, slots=True)
class MethodRecord:
    """Everything that listing, help and tables need to know of a method, without importing it.

    ``target`` is ``"module:Class"``; the class is called as ``Class(config, weights)`` where ``config`` is an
    instance of the dataclass behind the ``config`` target (None without one) and ``weights`` the folder or file of
    the weights (``pathlib.Path`` or None). ``weights_in`` is ``"package:folder"``: built-in weights folders there,
    the first name of ``weights`` is the default. ``official`` is ``"module:Class"`` of the plugin's readers and writers
    of official files, see ``refbench.contracts.official``; None where it has none.
    """

    name: str
    """What users call it."""
    target: str
    summary: str
    """One sentence for lists."""
    needs: tuple[Need, ...]
    """What a scene must hold, or have a bridge to."""
    gives: tuple[Gives, ...]
    """What the prediction holds."""
    optional: tuple[Need, ...] = ()
    """What is used where the scene holds it."""
    trainable: bool = False
    """Whether there is a ``fit``."""
    stochastic: bool = False
    """Whether results depend on the seed."""
    fills: bool = False
    """Whether heights appear where the initial DSM has none."""
    device: tuple[str, ...] = ("cpu",)
    """Devices that it runs on."""
    extras: tuple[str, ...] = ()
    """Extras of refbench that bring the packages of this method."""
    packages: tuple[str, ...] = ()
    """Top-level modules that must be importable."""
    origin: str = ""
    """Address of the official code, or who made it."""
    licence: str = "MIT"
    """Licence of the plugin's own code."""
    official_licence: str | None = None
    """Licence of the method's official code (``origin``); None where it grants none; "" where there is none."""
    paper: str = ""
    """Publication."""
    reported: tuple[Reported, ...] = ()
    """Numbers of the publication."""
    unreported: str = ""
    """Which numbers of the publication could not be had, and why; empty: there are none beside ``reported``."""
    config: str | None = None
    configs_in: str | None = None
    """Folder of ``refbench.configs`` (or ``"package:folder"``) with the method's defaults and variants, or a pattern
    such as ``"baselines/fill*.yaml"`` where methods share a folder."""
    official: str | None = None
    weights: tuple[str, ...] = ()
    weights_in: str | None = None
    needs_weights: bool = False
    """Whether it is skipped without weights."""
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Facts by name, such as ``seconds_per_megapixel`` for estimates."""
    checks: str | None = None
    """``"module:function"`` of what ``refbench doctor`` asks about this method's optional parts, called as
    ``f() -> Iterable[tuple[str, bool, str]]``: a part's name, whether it works here, and with what or why not."""

    def load(self) -> Any:  # noqa: ANN401  # the class of a plugin
        """Return the method's class; nothing heavy is imported before this line."""
        return resolve(self.target)

    def imports_weights(self) -> bool:
        """Return whether the plugin reads official weights."""
        if self.official is None:
            return False
        files: type[OfficialFiles] = resolve(self.official)
        return files.reads_weights()

    @property
    def is_unlicensed(self) -> bool:
        """Whether there is official code, elsewhere, that grants no licence."""
        return self.official_licence is None and bool(self.origin or self.official)

    def official_files(self) -> OfficialFiles:
        """Return the method's readers and writers of official files; without any, one that offers nothing."""
        if self.official is None:
            return NoOfficialFiles()
        files: OfficialFiles = resolve(self.official)()
        return files


@dataclass(frozen=True, slots=True)
class ImporterRecord:
    """A reader of foreign scene folders, and their writer where there is one.

    ``recognises``, ``target`` and ``writer`` are ``"module:function"``: ``recognises(path) -> bool`` looks at names
    only, ``target(path) -> Scene`` opens the folder, ``writer(scene, folder) -> list[str]`` writes a scene into a new
    one and returns sentences on what it has no place for.
    """

    name: str
    """What users call it."""
    target: str
    recognises: str
    summary: str
    """One sentence for lists."""
    writer: str = ""
    """What ``refbench scene export --to NAME`` calls; empty: the layout is only read."""


@dataclass(frozen=True, slots=True)
class Score:
    """One number that an assessor gives: key, what it is, and which way is better (None: neither)."""

    key: str
    """Name in ``result.json``."""
    summary: str
    """What it is."""
    higher_is_better: bool | None = None
    """None: neither."""
    unit: str = ""
    """Such as m; empty: none."""


@dataclass(frozen=True, slots=True)
class AssessorRecord:
    """An additional quality check on a DSM, asked for by name: ``target`` is ``"module:function"``.

    It is called as ``f(evaluated, reference, masks, options) -> Mapping[str, float]``: the ``DSM`` to look at, NaN
    where it does not count; the true ``DSM`` or None; each ``Mask`` of the scene by name, all on one grid; and the
    options that the user gave it. NaN stands for a score that there is none of. What it raises becomes a warning.
    """

    name: str
    """What users call it."""
    target: str
    summary: str
    """One sentence for lists."""
    scores: tuple[Score, ...]
    """What it gives."""
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Name of each option and what it is."""
    reference: str = ""
    """Publication or formula that defines it."""


@dataclass(frozen=True, slots=True)
class ReporterRecord:
    """An output format: ``target`` is ``"module:function"``, called as ``f(results, folder) -> Path`` of the file."""

    name: str
    """What users call it."""
    target: str
    summary: str
    """One sentence for lists."""
    suffix: str
    """Of the file; empty: a folder."""


@dataclass(frozen=True, slots=True)
class VerbRecord:
    """A verb of the command line: ``target`` is ``"module:name"`` of a ``click.Command``, imported on use."""

    name: str
    """The word on the command line."""
    target: str
    summary: str
    """One sentence for ``refbench --help``."""


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One moment of a run, for observers. ``values`` are facts of JSON types (status, seconds, paths)."""

    kind: str
    """``run_started``, ``phase_started``, ``phase_ended`` or ``run_ended``."""
    method: str
    """Name of the method."""
    scene: str
    """Name of the scene."""
    phase: str = ""
    """Name of the phase; empty at start and end."""
    values: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
