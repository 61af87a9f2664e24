"""The same again: the same seed, another seed, other tiles, and no trace in random states."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.grid import Window
from refbench.contracts.method import TileMethod
from refbench.contracts.tiles import TilePlan
from refbench.scenes.cut import cut_scene
from refbench.testing import scenes
from refbench.testing.check import check
from refbench.testing.require import applies, require
from refbench.testing.subject import SAME_M, ended_well, require_dsm, require_same

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench.contracts.grid import Grid
    from refbench.testing.subject import Subject

    Plan = Callable[[Grid], TilePlan]

LONG, SHORT = 224, 48
_SMALL_TILES, _HALO = 160, 32
_CUT, _RIM = 32, 16
_TILES_M = 0.05
_OTHER_SEED = 20_231


@check("deterministic", after=("shape",))
def deterministic(subject: Subject) -> None:
    """The same scene and seed give the same answer."""
    again = subject.trial(subject.standard.scene)
    require_same(subject.standard, again, "run twice with one seed")


@check("seed", after=("deterministic",))
def seed(subject: Subject) -> None:
    """A method that is not declared stochastic does not depend on the seed."""
    applies(not subject.record.stochastic, "its record says stochastic")
    require_same(subject.standard, subject.trial(subject.standard.scene, seed=_OTHER_SEED), "another seed")


@check("surroundings", after=("runs",))
def surroundings(subject: Subject) -> None:
    """Working folder, environment and the global random states are as they were."""
    changed = subject.standard.changed
    require(not changed, f"it changed the {', the '.join(changed)}; use context.rng and context.scratch")


def _wide(subject: Subject) -> Grid:
    applies(subject.is_tiled, "it sees the whole scene")
    return scenes.utm_grid(SHORT, LONG)


@check("batching", after=("deterministic",))
def batching(subject: Subject) -> None:
    """A tile gives the same heights alone as together with others."""
    scene = subject.scene(_wide(subject))
    plan = _plan_of(subject.load())
    alone, together = (subject.trial(scene, batch_tiles=count, plan=plan) for count in (1, 16))
    require_same(alone, together, "tiles in batches of 1 and 16", 10 * SAME_M)


def _small(grid: Grid) -> TilePlan:
    return TilePlan.regular(grid, _SMALL_TILES, _HALO)


def _plan_of(method: TileMethod) -> Plan | None:
    """Return a plan of several tiles where the method leaves the plan to the engine; None where it has its own."""
    return _small if type(method).plan is TileMethod.plan else None


@check("tiling", after=("batching",))
def tiling(subject: Subject) -> None:
    """Heights do not depend on where tiles begin."""
    scene = subject.scene(_wide(subject), holes=False)
    plan = _plan_of(subject.load())
    if plan is not None:
        first, second = (require_dsm(ended_well(subject.trial(scene, plan=one))) for one in (None, plan))
    else:  # tiles of its own begin elsewhere where the raster does
        part = cut_scene(scene, Window(_CUT, 0, LONG - _CUT, SHORT), "part")
        first, second = (require_dsm(ended_well(subject.trial(one))) for one in (scene, part))
        first, second = first[_RIM:-_RIM, _CUT + _RIM : -_RIM], second[_RIM:-_RIM, _RIM:-_RIM]
    both = np.isfinite(first) & np.isfinite(second)
    require(bool(both.any()), "no height is known with both tilings")
    apart = np.abs(first[both] - second[both])
    # Networks with strides see another phase where the raster begins elsewhere: the median tells.
    worst = float(apart.max() if plan is not None else np.median(apart))
    require(worst <= _TILES_M, f"heights differ by {worst:.3g} m where tiles begin elsewhere")
