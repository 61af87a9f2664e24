"""The six hooks. A plugin is a module (or any object) with functions of these names, marked with ``hookimpl``.

Five hooks register: each is called once per process, when the registry is built, with no argument, and returns an
iterable of frozen records of one type. Importing the plugin's module and calling these hooks must import nothing
heavy; what a record names is imported on first use. An exception, a record of another type or a name that is taken
already refuses the plugin as a whole: it stays listed as broken with its reason, every command goes on without it.
The sixth hook observes runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from refbench.registry.records import (
        AssessorRecord,
        ImporterRecord,
        MethodRecord,
        ReporterRecord,
        RunEvent,
        VerbRecord,
    )

PROJECT = "refbench"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def refbench_methods() -> Iterable[MethodRecord]:  # type: ignore[empty-body]  # a specification has no body
    """Return the methods of the plugin. Called once per process; may return an empty iterable."""


@hookspec
def refbench_importers() -> Iterable[ImporterRecord]:  # type: ignore[empty-body]
    """Return importers that make a scene of foreign folders. Called once per process; may return an empty iterable."""


@hookspec
def refbench_assessors() -> Iterable[AssessorRecord]:  # type: ignore[empty-body]
    """Return assessors: scores of a DSM beside the metrics. Called once per process; may return an empty iterable."""


@hookspec
def refbench_reporters() -> Iterable[ReporterRecord]:  # type: ignore[empty-body]
    """Return additional output formats for results. Called once per process; may return an empty iterable."""


@hookspec
def refbench_verbs() -> Iterable[VerbRecord]:  # type: ignore[empty-body]
    """Return additional verbs of the command line. Called once per process; may return an empty iterable."""


@hookspec
def refbench_event(event: RunEvent) -> None:
    """Observe a run: called at the start and end of every phase of every job, in the process of the job.

    What it returns is ignored. An exception becomes a warning in the log; it never ends the run.
    """
