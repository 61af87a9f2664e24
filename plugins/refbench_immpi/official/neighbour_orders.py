"""Which views the published readers take as neighbours of a reference, in their orders (docs/methods/immpi.md)."""

from __future__ import annotations

from refbench.contracts.errors import InputError

WHU_VIEWS, WHU_ACROSS = 20, 5
WHU_FIRST = {7: (2, 6, 8, 12), 12: (7, 11, 13, 17)}
WHU_SINGLE = (6, 7, 8, 11, 12, 13)
"""References of the multi-scene reader of WHU-MVS with four neighbours: left, right, above, below."""


def whu_neighbours(reference: int, number: int, *, many_scenes: bool = False) -> tuple[int, ...]:
    """Return the ``number`` (4 or 19) neighbours of a view of the 4 x 5 grid.

    Raises
    ------
    InputError
        A number or a reference for which the published readers have no samples.
    """
    if number == WHU_VIEWS - 1 and reference in WHU_FIRST:
        first = WHU_FIRST[reference]
        return (*first, *(view for view in range(WHU_VIEWS) if view != reference and view not in first))
    if number == len(WHU_FIRST[7]) and many_scenes and reference in WHU_SINGLE:
        return (reference - 1, reference + 1, reference - WHU_ACROSS, reference + WHU_ACROSS)
    if number == len(WHU_FIRST[7]) and not many_scenes and reference in WHU_FIRST:
        return WHU_FIRST[reference]
    raise InputError(
        f"WHU-MVS has no sample with view {reference:03d} as reference and {number} neighbours: take 19 or 4 "
        "neighbours, and 007 or 012 as reference."
    )


def whu_references(number: int) -> tuple[int, ...]:
    """Return the references of a scene's samples in the multi-scene reader; none but for 4 and 19 neighbours."""
    return {WHU_VIEWS - 1: tuple(WHU_FIRST), len(WHU_FIRST[7]): WHU_SINGLE}.get(number, ())
