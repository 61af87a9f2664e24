"""What a method is: the interface that plugins implement and the engine runs."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from refbench.contracts.errors import CancelledError, UnsupportedError
from refbench.contracts.tiles import TilePlan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench.contracts.estimate import Estimate
    from refbench.contracts.grid import Grid
    from refbench.contracts.raster import DSM
    from refbench.contracts.scene import Scene
    from refbench.contracts.source import RasterSource
    from refbench.contracts.tiles import TileBatch


def _empty() -> Mapping[str, Any]:
    return MappingProxyType({})


def derived_rng(seed: int, *scope: str | int) -> np.random.Generator:
    """Return the generator of one purpose, a pure function of the job's seed and the scope's names."""
    return np.random.default_rng([seed & 0xFFFFFFFF, *(zlib.crc32(str(part).encode()) for part in scope)])


class RunsMethods(Protocol):
    """What runs other methods for one that joins their answers."""

    def __call__(self, name: str, scene: Scene, context: Context, options: Mapping[str, Any]) -> MemberAnswer:
        """Return what the method ``name`` gives on ``scene``; ``options`` are those of its configuration.

        Raises
        ------
        UnknownNameError, ConfigError
            There is no such method, or it has no such option.
        SkippedError, UnsupportedError
            Its packages or weights are missing, or the scene lacks something that nothing stands in for.
        MethodError
            It did not keep to its contract.
        """


def _no_methods(name: str, scene: Scene, context: Context, options: Mapping[str, Any]) -> MemberAnswer:
    del scene, context, options
    raise UnsupportedError(f"{name} can be run for another method inside a job only.")


@dataclass(frozen=True, slots=True)
class Context:
    """What a method may use of its surroundings: everything else is off limits."""

    device: str = "cpu"
    seed: int = 0
    scratch: Path | None = None
    memory_budget_bytes: int = 2 << 30
    threads: int | None = None
    report: Callable[[float, str], None] = field(default=lambda fraction, message: None)
    """Takes progress in [0, 1] and a short message."""
    is_cancelled: Callable[[], bool] = field(default=lambda: False)
    checkpoints: Path | None = None
    """Where a method that optimises on a scene keeps its state between runs; None: nothing is kept."""
    run_method: RunsMethods = _no_methods
    """Runs another method on a scene, bridges included, as it would run alone; in this process."""

    def rng(self, *scope: str | int) -> np.random.Generator:
        """Return the generator of one purpose, derived from the job's seed."""
        return derived_rng(self.seed, *scope)

    def check_cancelled(self) -> None:
        """Raise ``CancelledError`` where the run was asked to stop."""
        if self.is_cancelled():
            raise CancelledError("The run was asked to stop.")


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a method returns: a DSM on the scene's grid, depth maps [rows, cols] or images per view, or several.

    ``views`` are rendered images float32 [bands, rows, cols] in [0, 1], NaN where nothing is seen. ``files`` are
    further results in the scratch folder, by name: the engine keeps them beside ``result.json``.

    ``confidence`` float32 [rows, cols] on the DSM's grid is the standard deviation of each height in metres, NaN where
    that is not known. Anything else that is known of the pixels (a count of views, a score in [0, 1]) is one of the
    ``layers``: name -> [rows, cols] of any raster type on the DSM's grid, written as ``<name>.tif``. ``provenance``
    uint8 [rows, cols] is 0 none, 1 measured, 3 interpolated. ``notes`` are facts for the result file, of JSON types.
    """

    dsm: DSM | None = None
    depths: Mapping[str, NDArray[np.float32]] = field(default_factory=_empty)
    views: Mapping[str, NDArray[np.float32]] = field(default_factory=_empty)
    confidence: NDArray[np.float32] | None = None
    layers: Mapping[str, NDArray[Any]] = field(default_factory=_empty)
    provenance: NDArray[np.uint8] | None = None
    files: Mapping[str, Path] = field(default_factory=_empty)
    notes: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True, eq=False)
class MemberAnswer:
    """What another method gave, and what has to be told of it: notes of JSON types (weights and their hashes, bridges,
    its own notes) and warnings in sentences.
    """

    prediction: Prediction
    notes: Mapping[str, Any] = field(default_factory=_empty)
    warnings: tuple[str, ...] = ()


@runtime_checkable
class Method(Protocol):
    """A method that sees the whole scene."""

    def refine(self, scene: Scene, context: Context) -> Prediction:
        """Return the refined DSM, depths or views. The inputs are read-only."""


@runtime_checkable
class NamesWeights(Protocol):
    """What a method fulfils that may take other weights than it was given, such as those for fewer images."""

    weights_used: Path | None
    """Folder or file of the weights that ran, once the method is prepared for a scene; None where none did."""


@runtime_checkable
class ChoosesWeights(Protocol):
    """What a method fulfils that finds weights for what a scene holds by itself; a dry run asks it before any pixel."""

    def choose_weights(self, scene: Scene) -> list[str]:
        """Switch to the weights that ``scene`` can feed; return what was done, in sentences.

        Raises
        ------
        UnsupportedError
            There are none.
        """


@runtime_checkable
class EstimatesCost(Protocol):
    """What a method fulfils that knows what it will cost better than its record's tags."""

    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost of refining ``scene`` from headers alone, without bridges, scoring and the packages.

        Raises
        ------
        UnsupportedError
            Headers tell that ``refine`` will raise it.
        """


@runtime_checkable
class NamesMembers(Protocol):
    """What a method fulfils that runs other methods; a dry run adds their costs."""

    def members(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the methods that it runs: name -> options of its configuration."""


class TileMethod(ABC):
    """A method that sees tiles; the engine cuts, blends and streams them."""

    def prepare(self, scene: Scene, context: Context) -> Mapping[str, Any]:
        """Look at the scene once before the first tile (image statistics, fallbacks); return notes for the result."""
        del scene, context
        return {}

    def plan(self, grid: Grid) -> TilePlan:
        """Return where the tiles lie; by default 512 px with a halo of 32 and linear ramps."""
        return TilePlan.regular(grid)

    def orthos(self, scene: Scene) -> tuple[str, ...]:
        """Return the orthos that tiles hold, in order: the first pair, else all by name.

        Called after ``prepare``, where the record asks for orthos.
        """
        return scene.pairs[0] if scene.pairs else tuple(sorted(scene.orthos))

    def views(self, scene: Scene) -> tuple[str, ...]:
        """Return the names of the views that tiles hold, in order: all by name.

        Called after ``prepare``, where the record asks for views.
        """
        return tuple(sorted(scene.views))

    def layers(self) -> tuple[str, ...]:
        """Return the names of what tiles give beside the DSM, for the scene of the last ``prepare``.

        ``confidence`` is the standard deviation of each height in metres, ``provenance`` (0 none, 1 measured,
        3 interpolated) says where a height comes from: measured where any tile that counts there measured it. Every
        other layer is an alternative DSM, written as ``dsm_<name>.tif``.
        """
        return ()

    def quality_layers(self) -> tuple[str, ...]:
        """Return the names of layers that are no heights, such as a score in [0, 1]; written as ``<name>.tif``."""
        return ()

    @abstractmethod
    def refine_tiles(self, batch: TileBatch, context: Context) -> NDArray[np.float32] | Mapping[str, NDArray[Any]]:
        """Return heights float32 [N, rows, cols] above the batch's ``height_offset``, NaN where unknown.

        With ``layers`` or ``quality_layers`` a mapping: ``dsm`` and every layer by name, ``provenance`` uint8, all
        others float32, NaN where unknown. They blend with the DSM's weights.
        """

    def finish(self, refined: RasterSource[DSM], context: Context) -> Prediction:
        """Look at the refined DSM once all tiles are blended; return what there is beside it: depths, files, notes.

        The DSM and its layers are written already: those of the prediction are None.
        """
        del refined, context
        return Prediction()


@runtime_checkable
class ChoosesTiles(Protocol):
    """What a method of whole scenes fulfils that refines some scenes tile by tile."""

    def tile_method(self, scene: Scene) -> TileMethod | None:
        """Return the method that refines the tiles of ``scene``; None where ``refine`` is to see the whole.

        Raises
        ------
        UnsupportedError
            The configuration asks for what the scene does not hold.
        """


def tile_method_of(method: object, scene: Scene) -> TileMethod | None:
    """Return what refines a scene's tiles; None where the method sees the whole scene."""
    if isinstance(method, TileMethod):
        return method
    return method.tile_method(scene) if isinstance(method, ChoosesTiles) else None


class TrainedWeights(Protocol):
    """What a training ends with."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What was trained on, how long, with which scores; of JSON types."""

    def save(self, folder: Path) -> None:
        """Write a weights folder: ``model.safetensors``, ``model.yaml`` with the provenance, a model card."""


@runtime_checkable
class TrainableMethod(Protocol):
    """What a method with ``trainable`` in its record also has."""

    def fit(
        self,
        scenes: Sequence[Scene],
        context: Context,
        *,
        steps: int | None = None,
        folder: Path | None = None,
        resume: bool = False,
    ) -> TrainedWeights:
        """Train on ``scenes`` for ``steps`` optimiser steps (None: as configured) and return what was learnt.

        The method itself stays as it is: its weights, or a fresh network of the seed, are the start. Checkpoints and
        logs go to ``folder``; ``resume`` continues from the last one there. ``refbench.training.Trained`` is such a
        result.
        """
