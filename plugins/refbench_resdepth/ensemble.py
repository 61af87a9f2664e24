"""The forward passes that make up one answer: tuples of images, their orders, flips and rotations."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from refbench import Scene
    from refbench_resdepth.config import InferenceConfig

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Symmetry:
    """One of the 8 flips and rotations: ``turns`` quarter turns counter-clockwise, then a flip of the rows."""

    turns: int = 0
    flip: bool = False

    def apply(self, layers: NDArray[Any]) -> NDArray[Any]:
        """Return turned layers [..., rows, cols]. The unit of each layer stays, metres for heights."""
        turned = np.rot90(layers, self.turns, axes=(-2, -1))
        return turned[..., ::-1, :] if self.flip else turned

    def undo(self, layers: NDArray[Any]) -> NDArray[Any]:
        """Return what ``apply`` was given. [..., rows, cols]; units stay."""
        turned = layers[..., ::-1, :] if self.flip else layers
        return np.rot90(turned, -self.turns, axes=(-2, -1))


def symmetries(config: InferenceConfig) -> tuple[Symmetry, ...]:
    """Return the symmetries to average over: the identity, or all 8."""
    if not config.average_flips:
        return (Symmetry(),)
    return tuple(Symmetry(turns, flip) for flip in (False, True) for turns in range(4))


def orders(names: Names, config: InferenceConfig) -> Iterator[Names]:
    """Yield the orders of the images to average over: the given one, or all."""
    yield from itertools.permutations(names) if config.average_orders else (names,)


def image_tuples(scene: Scene, count: int) -> tuple[Names, ...]:
    """Return the images of each run of a network that takes ``count`` of them.

    Those of the scene's pairs that have ``count`` images. Where there are none: for one image every ortho by itself
    (those of the pairs first), else the first ``count`` orthos by name.

    Raises
    ------
    UnsupportedError
        The scene has fewer orthos.
    """
    if not count:
        return ((),)
    if stated := tuple(tuple(pair) for pair in scene.pairs if len(pair) == count):
        return stated
    names = tuple(dict.fromkeys([*itertools.chain.from_iterable(scene.pairs), *sorted(scene.orthos)]))
    if len(names) < count:
        raise UnsupportedError(f"The network takes {count} ortho images, the scene {scene.id} has {len(names)}.")
    return tuple((name,) for name in names) if count == 1 else (names[:count],)


def layer_name(names: Sequence[str]) -> str:
    """Return the name of the result of one tuple of images, fit for a file."""
    return "+".join("".join(c if c.isalnum() or c in "_-." else "-" for c in name) for name in names)
