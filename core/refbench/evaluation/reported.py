"""A number from a publication against what was measured; the verdict is computed, never typed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.evaluation.comparison import DOMAINS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from refbench.registry.records import Reported

TOLERANCE = 0.05
"""Relative difference that still reproduces a number: papers do not give their spread."""
ASSESSOR = "assessor:"
"""Begins the protocol of a number that an assessor gives."""


class Verdict(str, Enum):
    """How a reported number stands against what was measured."""

    REPRODUCES = "reproduces"
    DIFFERS = "differs"
    PROTOCOL_DIFFERS = "protocol differs"
    DATA_UNAVAILABLE = "data unavailable"


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of one method on one scene.

    ``metrics`` is domain -> stratum -> key -> value per seed, as in ``metrics`` of the results, and below
    ``assessors`` assessor -> key -> value.
    """

    scene: str
    metrics: tuple[Mapping[str, Any], ...]


def verdict(reported: Reported, rows: Sequence[Measured]) -> tuple[Verdict, float | None]:
    """Return the verdict on a reported number, and the measured one where it was compared.

    Parameters
    ----------
    reported
        ``dataset`` is the id of a scene; ``protocol`` reads ``own`` or ``common``, or with a stratum
        ``own/building``, or ``assessor:NAME``; ``metric`` is a key of the metrics, also of a nested one such as
        ``truncated_5m.mae``, or of the assessor. Any other protocol is one that refbench does not follow.
    rows
        What was measured with the method, on any scenes.
    """
    same = [row for row in rows if _plain(row.scene) == _plain(reported.dataset) and row.metrics]
    if not same:
        return Verdict.DATA_UNAVAILABLE, None
    found = [value for metrics in same[0].metrics if (value := _at(metrics, *_path(reported))) is not None]
    if not found:
        return Verdict.PROTOCOL_DIFFERS, None
    return scored(reported.value, found), float(np.mean(found))


def scored(reported: float, measured: Sequence[float]) -> Verdict:
    """Return whether measured values, one per seed, reproduce a reported one.

    They do where their mean differs by at most the largest of ``TOLERANCE``, two standard deviations over the seeds
    and half a unit of the last digit that was reported.
    """
    spread = float(np.std(measured, ddof=1)) if len(measured) > 1 else 0.0
    allowed = max(TOLERANCE * abs(reported), 2 * spread, _half_unit(reported))
    reproduces = abs(float(np.mean(measured)) - reported) <= allowed
    return Verdict.REPRODUCES if reproduces else Verdict.DIFFERS


def _path(reported: Reported) -> tuple[str, ...]:
    """Return where the number stands in ``Measured.metrics``; nothing stands below a domain that does not exist."""
    if reported.protocol.startswith(ASSESSOR):
        return ("assessors", reported.protocol.removeprefix(ASSESSOR), reported.metric)
    domain, _, stratum = reported.protocol.partition("/")
    return (domain if domain in DOMAINS else "", stratum or "all", *reported.metric.split("."))


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _half_unit(value: float) -> float:
    decimals = len(repr(float(value)).partition(".")[2])
    return 0.5 * 10.0**-decimals


def _at(metrics: Mapping[str, Any], *path: str) -> float | None:
    found: Any = metrics
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return float(found) if isinstance(found, (int, float)) else None
