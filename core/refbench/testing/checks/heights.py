"""What the heights mean: metres of the scene's datum, holes where they were unless the method fills."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.need import Need
from refbench.testing import scenes
from refbench.testing.check import check
from refbench.testing.require import applies, require
from refbench.testing.subject import ended_well, require_dsm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.testing.subject import Subject

RAISED_M = 128.0
"""A power of two: float32 heights move by it without rounding."""
_FAR_M = 20.0
_MOVED_M = 0.5
_LOST = 0.02


def _initial(subject: Subject) -> NDArray[np.float32]:
    scene = subject.standard.scene
    applies(scene.dsm is not None, "the scene has no initial DSM")
    assert scene.dsm is not None
    return scene.dsm.read().heights


@check("units", after=("shape", "finite"))
def units(subject: Subject) -> None:
    """Heights are metres near those of the scene, not centimetres, not relative to a tile."""
    heights = require_dsm(subject.standard)
    near = _initial(subject)
    require(bool(np.isfinite(heights).any()), "no height is known")
    apart = abs(float(np.nanmedian(heights)) - float(np.nanmedian(near)))
    require(apart < _FAR_M, f"the median height is {apart:.3g} m from that of the initial DSM")


@check("datum", after=("units",))
def datum(subject: Subject) -> None:
    """A scene that lies higher gives heights that lie higher by as much."""
    applies(subject.given is None, "the scene was given")
    low, high = require_dsm(subject.standard), None
    high = require_dsm(ended_well(subject.trial(subject.scene(base=scenes.BASE_M + RAISED_M))))
    both = np.isfinite(low) & np.isfinite(high)
    require(bool(both.any()), "the raised scene gives no height")
    moved = float(np.median(high[both].astype(np.float64) - low[both]))
    require(abs(moved - RAISED_M) < _MOVED_M, f"a scene {RAISED_M:g} m higher gives heights {moved:.4g} m higher")


@check("nodata-kept", after=("units",))
def nodata_kept(subject: Subject) -> None:
    """A hole in the initial DSM does not eat the heights around it."""
    applies(Need.DSM in subject.record.needs, "it needs no initial DSM")
    heights, known = require_dsm(subject.standard), np.isfinite(_initial(subject))
    lost = float(np.mean(~np.isfinite(heights[known])))
    require(lost <= _LOST, f"{100 * lost:.0f} % of the known heights are lost")


@check("nodata-code", after=("units",))
def nodata_code(subject: Subject) -> None:
    """No NoData code, such as -9999 or 0, comes out as a height."""
    heights = require_dsm(subject.standard)
    low, high = np.nanmin(_initial(subject)), np.nanmax(_initial(subject))
    known = heights[np.isfinite(heights)]
    odd = int(((known < low - _FAR_M) | (known > high + _FAR_M)).sum())
    require(odd <= _LOST * known.size, f"{odd} heights lie more than {_FAR_M:g} m outside the scene's range")


@check("fills", after=("units",))
def fills(subject: Subject) -> None:
    """A record that says ``fills`` has heights in holes."""
    applies(subject.record.fills, "its record does not say fills")
    applies(Need.DSM in subject.record.needs, "it needs no initial DSM")
    heights, holes = require_dsm(subject.standard), ~np.isfinite(_initial(subject))
    applies(bool(holes.any()), "the scene has no hole")
    require(bool(np.isfinite(heights[holes]).any()), "its record says fills, yet all holes are left")
