"""Units of height: what a file says, what the user declares, and the factor to metres."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

METRES_PER_UNIT = {"metre": 1.0, "foot": 0.3048, "us_survey_foot": 1200.0 / 3937.0}

_SPELLINGS = {
    "metre": ("m", "metre", "metres", "meter", "meters", "epsg:9001"),
    "foot": ("ft", "foot", "feet", "ift", "international foot", "foot (international)", "epsg:9002"),
    "us_survey_foot": ("us-ft", "usft", "ftus", "us ft", "us foot", "us survey foot", "us survey feet", "foot us",
                       "foot (us survey)", "survey foot", "epsg:9003"),
}  # fmt: skip
_UNIT_OF_SPELLING = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}


def parse_unit(text: str | None) -> str | None:
    """Return ``metre``, ``foot`` or ``us_survey_foot`` for a spelling of it, or None where it is neither."""
    return _UNIT_OF_SPELLING.get(" ".join((text or "").lower().replace("_", " ").split()))


def unit_of_factor(metres: float) -> str | None:
    """Return the unit that is ``metres`` long, or None.

    The two feet differ by 2e-6 of their length; files round them to seven digits (0.3048006), which is 4e-8.
    """
    matches = (unit for unit, length in METRES_PER_UNIT.items() if abs(metres - length) <= 3e-7 * length)
    return next(matches, None)


def declared_unit(text: str | None) -> str | None:
    """Return the unit that the user declared; None where none was.

    Raises
    ------
    InputError
        An unknown unit.
    """
    if text is None:
        return None
    unit = parse_unit(text)
    if unit is None:
        known = ", ".join(METRES_PER_UNIT)
        raise InputError(f"The height unit {text!r} is unknown; it is one of {known}.")
    return unit


def resolve_height_unit(where: str, declared: str | None, found: Iterable[tuple[str, str | None]]) -> str:
    """Return the unit of the heights in a file; ``metre`` where neither the file nor the user says anything.

    Parameters
    ----------
    where
        The file, for the message.
    declared
        The user's ``height_unit``, any spelling.
    found
        Pairs of a place in the file ("the band's unit tag") and the text or unit found there, None for nothing.

    Raises
    ------
    InputError
        Two of them contradict each other, or the file's unit is unknown and nothing was declared.
    """
    unit, said_by = declared_unit(declared), "height_unit"
    for place, text in found:
        if not (text or "").strip():
            continue
        here = parse_unit(text)
        if here is None:
            if unit is None:
                said = f"{where}: {place} is {text!r}, which is no known unit"
                raise InputError(f"{said}; declare that of the heights with --height-unit.")
            continue
        if unit is not None and here != unit:
            raise InputError(f"{where}: {place} says {here} but {said_by} says {unit}; repair whichever is wrong.")
        unit, said_by = here, place
    return unit or "metre"


def conversion_warning(where: str, unit: str) -> str:
    """Return the sentence that tells the user about converted heights."""
    return f"{where}: heights are in {unit.replace('_', ' ')}; they were converted to metres."
