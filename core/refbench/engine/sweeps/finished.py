"""The finished cells of a sweep, read from its folder whether the sweep has ended or not."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError, MissingFileError
from refbench.engine.job.request import CellRequest
from refbench.engine.job.result import RESULT_FILE, Result, Status, read_result
from refbench.engine.sweeps.jobs import CELLS_FOLDER
from refbench.engine.sweeps.store import REQUEST_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

_CELL_ID = re.compile(r"(?P<label>.+?)--(?P<scene>.+)--seed(?P<seed>\d+)")


@dataclass(frozen=True, slots=True)
class SweepCell:
    """One cell of a sweep: what its folder's name says, and its result."""

    label: str
    scene: str
    seed: int
    folder: Path
    result: Result

    @property
    def id(self) -> str:
        """The name of the folder: ``<label>--<scene>--seed<seed>``."""
        return self.folder.name

    @property
    def is_ok(self) -> bool:
        """Whether the cell ended ok."""
        return self.result.status is Status.OK

    @property
    def dsm_path(self) -> Path | None:
        """The refined DSM; None where the cell has none."""
        name = self.result.outputs.get("dsm")
        path = None if name is None else self.folder / name
        return path if self.is_ok and path is not None and path.is_file() else None

    def request(self) -> CellRequest:
        """Return what was asked of the cell; a scene that lies in the sweep is looked for where the sweep is now.

        Raises
        ------
        MissingFileError
            The sweep kept no request.
        """
        path = self.folder / REQUEST_FILE
        if not path.is_file():
            raise MissingFileError(f"The cell {self.id} has no {REQUEST_FILE}; run the sweep again with --resume.")
        request = CellRequest.from_json(path.read_text(encoding="utf-8"))
        scene, old = request.scene.path, request.folder.parent.parent
        if scene is None or not Path(scene).is_relative_to(old):
            return request
        moved = self.folder.parent.parent / Path(scene).relative_to(old)
        return replace(request, out=str(self.folder), scene=replace(request.scene, path=str(moved)))


def read_sweep(out: Path) -> tuple[SweepCell, ...]:
    """Return the finished cells of a sweep, ordered by scene, label and seed.

    Raises
    ------
    MissingFileError
        ``out`` is no folder of a sweep.
    InputError
        A result is not of the schema, or no cell has finished.
    """
    folder = out / CELLS_FOLDER
    if not folder.is_dir():
        raise MissingFileError(f"{out} holds no sweep: it has no folder {CELLS_FOLDER}. refbench bench makes one.")
    found = []
    for path in folder.iterdir():
        # Names of unfinished folders have a suffix, so they do not match.
        parts = _CELL_ID.fullmatch(path.name)
        if parts is not None and (path / RESULT_FILE).is_file():
            result = read_result(path / RESULT_FILE)
            found.append(SweepCell(parts["label"], parts["scene"], int(parts["seed"]), path, result))
    if not found:
        raise InputError(f"{out} holds no finished cell yet.")
    return tuple(sorted(found, key=lambda cell: (cell.scene, cell.label, cell.seed)))


def by_scene(cells: Iterable[SweepCell]) -> dict[str, list[SweepCell]]:
    """Return scene -> its cells, in order."""
    found: dict[str, list[SweepCell]] = {}
    for cell in cells:
        found.setdefault(cell.scene, []).append(cell)
    return found


def by_label(cells: Iterable[SweepCell]) -> dict[str, list[SweepCell]]:
    """Return label -> its cells, in order."""
    found: dict[str, list[SweepCell]] = {}
    for cell in cells:
        found.setdefault(cell.label, []).append(cell)
    return found
