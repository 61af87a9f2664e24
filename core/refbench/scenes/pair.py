"""Two DSMs that are to be compared, brought to one CRS in metres, and the one that moves to the other's grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from refbench.formats.in_metres import in_metres, warp_note
from refbench.formats.warped import Warped
from refbench.scenes.align import Aligner, parse_target, scene_kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.contracts.raster import DSM
    from refbench.contracts.source import RasterSource
    from refbench.formats.raster import DSMFile


@dataclass(frozen=True, slots=True)
class CommonPair:
    """Both in one CRS, read by window; ``notes`` say what was resampled, how and with what loss."""

    evaluated: RasterSource[DSM]
    reference: RasterSource[DSM]
    kernel: str | None
    """By which evaluated was resampled; None where it was not."""
    notes: tuple[str, ...]


def on_common_grid(
    sources: Mapping[str, DSMFile], target: str | None, kernel: str, onto: str, *, keep_grid: bool = False
) -> CommonPair:
    """Return ``evaluated`` and ``reference`` in one CRS.

    Parameters
    ----------
    sources
        ``evaluated`` and ``reference``, opened with ``any_crs``.
    target
        CRS in metres, ``own`` or None; see ``refbench.formats.in_metres.metric_target``, asked of the one that stays.
    kernel
        Of ``refbench.formats.warped.ALL_KERNELS``.
    onto
        Which of the two keeps its grid. ``evaluated``: the reference comes to it here; ``reference``: evaluated of the
        same CRS keeps its grid for now, since it may be moved before it is resampled.
    keep_grid
        Evaluated that comes from another CRS gets a grid of its own pixel size, for the same reason.

    Raises
    ------
    InputError
        See ``in_metres``; also DSMs that do not overlap where one is resampled.
    """
    plain = scene_kernel(kernel)
    stays, moves = (onto, "evaluated" if onto == "reference" else "reference")
    base = in_metres(sources[stays], parse_target(target), kernel=plain)
    other: DSMFile | Warped[DSM] = sources[moves]
    # Two local CRS, or none that can be told apart: nothing to bring anywhere.
    if sources[moves].grid.crs != base.grid.crs and moves == "evaluated" and keep_grid:
        other = in_metres(sources[moves], base.grid.crs, kernel=plain)
    elif moves == "reference" or sources[moves].grid.crs != base.grid.crs:
        other = Aligner(base.grid, f"the grid of {base.files[0]}", plain).onto(other)
    pair = {stays: base, moves: other}
    notes = tuple(warp_note(source) for source in pair.values() if isinstance(source, Warped))
    evaluated = pair["evaluated"]
    kernel_used = evaluated.kernel_used if isinstance(evaluated, Warped) else None
    return CommonPair(evaluated, pair["reference"], kernel_used, notes)
