"""Which patches are drawn for training. Positions are counted, never listed, so that memory does not depend on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from refbench_resdepth.regions import Extent


class Positions:
    """All upper-left pixels of patches that lie inside one of several regions: region by region, row by row."""

    def __init__(self, regions: Sequence[Extent], tile: int) -> None:
        inside = [r for r in regions if min(r.rows, r.cols) >= tile]
        self._corners = np.array([(r.y_first, r.x_first) for r in inside], np.int64).reshape(-1, 2)
        self._cols = np.array([r.cols - tile + 1 for r in inside], np.int64)
        rows = np.array([r.rows - tile + 1 for r in inside], np.int64)
        self._ends = np.cumsum(rows * self._cols)

    def __len__(self) -> int:
        """Return the number of positions."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def at(self, indices: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return the positions (y, x), int64 [n, 2], of some ``indices`` [n] from 0 to the length - 1."""
        wanted = np.asarray(indices, np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(f"There are {len(self)} positions, asked for {wanted.min()} to {wanted.max()}.")
        region = np.searchsorted(self._ends, wanted, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        row, col = np.divmod(wanted - starts[region], self._cols[region])
        return np.asarray(self._corners[region] + np.stack([row, col], axis=-1), np.int64)


def draw(n_positions: int, n_samples: int, seed: int | np.random.RandomState) -> NDArray[np.int64]:
    """Return ``n_samples`` different indices below ``n_positions``, int64 [n_samples].

    They are those of numpy's legacy generator, ``choice(n_positions, n_samples, replace=False)`` after ``seed``, as
    published. A generator instead of a seed goes on where it stands.

    Raises
    ------
    InputError
        There are fewer positions than samples.
    """
    if n_samples > n_positions:
        raise InputError(
            f"{n_samples} training patches are asked for, but only {n_positions} positions lie inside the training "
            "regions; lower n_training_samples or tile_size."
        )
    rng = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    # What choice does, in half its memory: it shuffles all indices as int64.
    order = np.arange(n_positions, dtype=np.uint32 if n_positions <= 2**32 else np.int64)
    rng.shuffle(order)
    return order[:n_samples].astype(np.int64)
