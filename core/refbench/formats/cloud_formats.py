"""Point cloud files by their suffix: LAS and LAZ, NPZ, PLY. Headers first, points when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError, MissingExtraError, MissingFileError
from refbench.formats.cloud_las import LasReader
from refbench.formats.cloud_npz import NpzReader
from refbench.formats.cloud_ply import PlyReader

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.formats.cloud_reader import CloudReader

SUFFIXES = (".laz", ".las", ".npz", ".ply")


def open_reader(path: Path) -> CloudReader:
    """Return the reader of a file by its suffix.

    Raises
    ------
    MissingFileError, InputError
        No such file, a folder, an unknown suffix, or a damaged header.
    """
    try:
        is_folder, exists, is_file = path.is_dir(), path.exists(), path.is_file()
        advice = _folder_advice(path) if is_folder else ""
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise InputError(f"{str(path)[:300]} cannot be opened: {error.strerror}.") from error
    if is_folder:
        raise InputError(advice)
    if not exists:
        raise MissingFileError(f"There is no file {path}.")
    if not is_file:
        raise InputError(f"{path} is no regular file; give a point cloud ({', '.join(SUFFIXES)}).")
    suffix = path.suffix.lower()
    if suffix in (".laz", ".las"):
        return LasReader(path)
    if suffix == ".npz":
        return NpzReader(path)
    if suffix == ".ply":
        return PlyReader(path)
    raise InputError(f"{path} is no point cloud that refbench reads; it reads {', '.join(SUFFIXES)}.")


def _folder_advice(folder: Path) -> str:
    """Return the sentence for a folder given as a cloud, with a file of it to give where there is one."""
    inside = sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not inside:
        return f"{folder} is a folder without a point cloud; give a file ({', '.join(SUFFIXES)})."
    several = f" (it holds {len(inside)}; several --points are read as one cloud)" if len(inside) > 1 else ""
    return f"{folder} is a folder; give the point cloud in it, such as {folder / inside[0]}{several}."


def import_open3d(purpose: str) -> Any:  # noqa: ANN401  # open3d carries no types
    """Return open3d, or raise ``MissingExtraError`` that names the extra."""
    try:
        import open3d
    except ImportError as error:
        raise MissingExtraError(
            f"open3d is needed for {purpose} and cannot be imported ({error}): pip install 'refbench[city]', and "
            "the system library that it lacks, if the reason names one."
        ) from error
    return open3d
