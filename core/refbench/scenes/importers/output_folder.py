"""What importers of other pipelines' output folders share: which files are there, and what becomes of the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError
from refbench.formats.camera_files import read_camera, rpc_of_image
from refbench.formats.raster import open_dsm, open_image
from refbench.scenes.align import NEAREST, Aligner
from refbench.scenes.build import ViewFiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from refbench.contracts.scene import Scene

MAX_FILES = 100_000
"""So many files of one kind are looked for in a folder at most."""


def one_of(folder: Path, *names: str) -> Path | None:
    """Return the first of ``names`` that is a file in the folder, None where none is."""
    return next((path for name in names if (path := folder / name).is_file()), None)


def matching(folder: Path, pattern: str) -> tuple[Path, ...]:
    """Return the regular files below a folder that match a glob pattern, by path.

    Raises
    ------
    InputError
        There are too many to be the output of a pipeline.
    """
    found: list[Path] = []
    for path in folder.glob(pattern):
        if path.is_file():
            found.append(path)
        if len(found) > MAX_FILES:
            raise InputError(f"{folder} holds more than {MAX_FILES:,} files {pattern}; give one product of it.")
    return tuple(sorted(found))


def only(folder: Path, paths: tuple[Path, ...], what: str, advice: str) -> Path | None:
    """Return the one file of ``paths``, None where there is none.

    Raises
    ------
    InputError
        There are several: which one is meant cannot be known; ``advice`` says how to choose.
    """
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
        raise InputError(f"{folder} holds {len(paths)} {what} ({names}); {advice}.")
    return paths[0] if paths else None


def ellipsoidal(dsm: Path) -> str | None:
    """Return ``ellipsoid`` for a DSM of RPC images that names no vertical datum, None where it names one itself."""
    return "ellipsoid" if open_dsm(dsm, any_crs=True).grid.vertical == "unknown" else None


def completed(scene: Scene, notes: Iterable[str], **parts: Any) -> Scene:  # noqa: ANN401  # fields of Scene
    """Return a scene with further masks, layers or other parts, and what the user should know.

    Masks and layers come to the scene's grid as other rasters do: resampled where they lie elsewhere, and said.

    Raises
    ------
    GridMismatchError
        A mask or layer has no geotransform, or does not overlap the scene's grid.
    """
    aligner = Aligner(scene.grid, "the grid of the DSM")
    for name, kernel in (("masks", NEAREST), ("layers", None)):
        if name in parts:
            placed = {key: aligner.onto(source, kernel) for key, source in parts[name].items()}
            parts[name] = {**getattr(scene, name), **placed}
    return replace(scene, warnings=(*scene.warnings, *notes, *aligner.notes), **parts)


def rpc_views(images: Mapping[str, tuple[Path, Path | None]]) -> tuple[dict[str, ViewFiles], list[str]]:
    """Return views of images (name -> image, file of its RPC or None) that can be used, and sentences on the others.

    They are extras of an output folder, often on another machine by now: what lacks is left out, not refused.
    """
    views, lost = {}, []
    for name, (image, camera) in images.items():
        try:
            source = open_image(image, in_camera=True)
            found = rpc_of_image(source) if camera is None else read_camera(camera)
            if found is None:
                raise InputError(f"{image} has no RPC.")
        except InputError as error:
            lost.append((name, error))
        else:
            views[name] = ViewFiles(image, camera)
    if not lost:
        return views, []
    return views, [f"{len(lost)} of {len(images)} images that the folder names are left out as views: {lost[0][1]}"]


def left_over(folder: Path, used: Iterable[Path | None], pattern: str = "*.tif") -> list[str]:
    """Return a sentence that names the files of a folder which no part of the scene was made of, if there are any."""
    known = {path for path in used if path is not None}
    names = sorted(path.name for path in folder.glob(pattern) if path.is_file() and path not in known)
    if not names:
        return []
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return [f"{folder}: {', '.join(names[:6])}{more} {'is' if len(names) == 1 else 'are'} not used."]


def named_beside(path: str, folder: Path) -> Path:
    """Return a path that a configuration in ``folder`` names, relative to it unless it is absolute."""
    return folder / Path(path)
