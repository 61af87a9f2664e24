"""One run of a method in this process, with everything that it gave before the engine made it fit."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.bridges.plan import apply_bridges, apply_optional
from refbench.contracts.errors import CancelledError
from refbench.contracts.method import Context, Prediction, TileMethod, tile_method_of
from refbench.contracts.raster import DSM as Heights
from refbench.engine.inputs.prepare import prepare
from refbench.engine.job.members import run_method
from refbench.engine.job.outputs import with_nodata
from refbench.engine.tiles.stream import CONFIDENCE, DSM, ArrayWriter, run_tiles
from refbench.formats.raster import ArraySource
from refbench.testing.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from refbench.contracts.grid import Grid
    from refbench.contracts.scene import Scene
    from refbench.contracts.tiles import TileBatch, TilePlan
    from refbench.registry.records import MethodRecord


class WrongShapeError(Exception):
    """Tiles of another shape than asked for: there is nothing to blend."""


@dataclass(slots=True)
class Trial:
    """What a run gave and did. ``heights`` float32 [rows, cols] are those that the engine would write, None without.

    ``raw`` are the arrays as the method returned them, by name, one per call for tiles. ``prediction`` is that of a
    method that sees the whole scene.
    """

    scene: Scene
    heights: NDArray[np.float32] | None = None
    prediction: Prediction | None = None
    raw: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    sigma: NDArray[np.float32] | None = None
    error: Exception | None = None
    is_cancelled: bool = False
    wrong_shape: str = ""
    changed_inputs: list[str] = field(default_factory=list)
    reports: list[tuple[float, str]] = field(default_factory=list)
    reports_after_cancel: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)
    network: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    @property
    def answer(self) -> dict[str, NDArray[Any]]:
        """Heights, depths and views by name: what two runs are compared by.

        Each is [rows, cols] or [bands, rows, cols].
        """
        found: dict[str, NDArray[Any]] = {} if self.heights is None else {DSM: self.heights}
        if self.prediction is not None:
            found |= {f"depth of {name}": depth for name, depth in self.prediction.depths.items()}
            found |= {f"view {name}": pixels for name, pixels in self.prediction.views.items()}
        return found


def run_trial(
    record: MethodRecord,
    load: Callable[[], Any],
    scene: Scene,
    *,
    seed: int = 0,
    cancelled: bool = False,
    batch_tiles: int | None = None,
    plan: Callable[[Grid], TilePlan] | None = None,
) -> Trial:
    """Run a method as the engine does, bridges included, and keep what it raises.

    Parameters
    ----------
    record
        The method's record.
    load
        Makes an instance of it, with configuration and weights.
    scene
        In memory or on disk.
    seed
        Of every random draw.
    cancelled
        Whether the run is asked to stop from its start.
    batch_tiles
        How many tiles at once; None as the engine does.
    plan
        Where tiles lie instead of where the method says.
    """
    trial = Trial(scene)
    with tempfile.TemporaryDirectory(prefix="refbench-check-") as folder:
        scratch = Path(folder) / "scratch"
        scratch.mkdir()

        def report(fraction: float, message: str) -> None:
            trial.reports.append((fraction, message))
            trial.reports_after_cancel += cancelled

        context = Context(
            seed=seed,
            scratch=scratch,
            threads=1,
            report=report,
            is_cancelled=lambda: cancelled,
            run_method=run_method,
        )
        preparation = prepare(scene, record)
        bridged = apply_bridges(scene, preparation.bridges, scratch)
        bridged = apply_optional(bridged, preparation.optional, scratch)[0].without_reference()
        trial.scene = bridged
        with Surroundings((Path(folder).absolute(), Path(folder).resolve())) as seen:
            try:
                _run(record, load(), context, trial, batch_tiles, plan)
            except CancelledError:
                trial.is_cancelled = True
            except WrongShapeError as error:
                trial.wrong_shape = str(error)
            except Exception as error:
                trial.error = error
        trial.network, trial.written, trial.changed = seen.network, seen.written, seen.changed
    return trial


def _run(
    record: MethodRecord,
    method: Any,  # noqa: ANN401  # the plugin's class
    context: Context,
    trial: Trial,
    batch_tiles: int | None,
    plan: Callable[[Grid], TilePlan] | None,
) -> None:
    scene = trial.scene
    tiled = tile_method_of(method, scene)
    if tiled is None:
        given = method.refine(scene, context)
        _keep(trial, given)
        if trial.prediction is None or trial.prediction.dsm is None:
            return
        grid = scene.grid
        fits = grid is None or trial.prediction.dsm.grid.shape == grid.shape
        prediction = with_nodata(trial.prediction, scene) if fits and not record.fills else trial.prediction
        trial.heights = None if prediction.dsm is None else prediction.dsm.heights
        trial.sigma = prediction.confidence
        return
    trial.notes = dict(tiled.prepare(scene, context))
    spied, shape = SpiedTiles(tiled, trial, plan), scene.require_grid().shape
    names = (*tiled.layers(), *tiled.quality_layers())
    layers = {name: ArrayWriter(np.full(shape, np.nan, np.float32)) for name in names}
    writer = ArrayWriter(np.full(shape, np.nan, np.float32))
    needs = (*record.needs, *record.optional)
    run_tiles(spied, scene, context, writer, needs=needs, fills=record.fills, batch_tiles=batch_tiles, layers=layers)
    trial.heights = writer.heights
    added = tiled.finish(ArraySource(Heights(writer.heights, scene.require_grid())), context)
    trial.notes = {**trial.notes, **added.notes}
    if CONFIDENCE in layers:
        trial.sigma = layers[CONFIDENCE].heights


def _keep(trial: Trial, given: object) -> None:
    """Take over what a method of whole scenes returned."""
    if not isinstance(given, Prediction):
        raise TypeError(f"refine returned a {type(given).__name__}, not a Prediction")
    trial.prediction, trial.notes = given, given.notes
    arrays = {CONFIDENCE: given.confidence, "provenance": given.provenance, **given.layers, **given.depths}
    arrays |= {DSM: None if given.dsm is None else given.dsm.heights, **given.views}
    trial.raw = {name: [values] for name, values in arrays.items() if values is not None}


class SpiedTiles(TileMethod):
    """A tile method whose answers and inputs are looked at on the way."""

    def __init__(self, method: TileMethod, trial: Trial, plan: Callable[[Grid], TilePlan] | None = None) -> None:
        self.method, self.trial, self._plan = method, trial, plan

    def plan(self, grid: Grid) -> TilePlan:
        """Return the plan that was asked for, else the method's."""
        return self.method.plan(grid) if self._plan is None else self._plan(grid)

    def orthos(self, scene: Scene) -> tuple[str, ...]:
        """Return the method's choice."""
        return self.method.orthos(scene)

    def views(self, scene: Scene) -> tuple[str, ...]:
        """Return the method's choice."""
        return self.method.views(scene)

    def layers(self) -> tuple[str, ...]:
        """Return the method's layers."""
        return self.method.layers()

    def quality_layers(self) -> tuple[str, ...]:
        """Return the method's layers that are no heights."""
        return self.method.quality_layers()

    def refine_tiles(self, batch: TileBatch, context: Context) -> NDArray[np.float32] | Mapping[str, NDArray[Any]]:
        """Ask the method; keep its arrays, note which inputs it changed.

        Raises
        ------
        WrongShapeError
            Its heights are not [N, rows, cols].
        """
        names = ("dsm", "orthos", "ndvi", "height_offset", "anchors")
        own = {name: np.array(values) for name in names if (values := getattr(batch, name)) is not None}
        given = self.method.refine_tiles(batch, context)
        for name, values in own.items():
            if (
                not np.array_equal(getattr(batch, name), values, equal_nan=True)
                and name not in self.trial.changed_inputs
            ):
                self.trial.changed_inputs.append(name)
        named = given if isinstance(given, Mapping) else {DSM: given}
        expected = (len(batch), batch.windows[0].height, batch.windows[0].width)
        for name, values in named.items():
            array = np.asarray(values)
            if array.shape != expected:
                raise WrongShapeError(f"tiles of {name} have shape {array.shape}, expected {expected}")
            self.trial.raw.setdefault(name, []).append(array.copy())
        return given
