"""Image lists and pair lists: text files that name ortho images and which of them go together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError, MissingFileError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEPARATOR = re.compile(r",\s+")
"""The published one; commas alone are tried where a name with commas is no image."""


def read_image_list(path: Path) -> tuple[Path, ...]:
    """Return the images of a list, one path per line; blank lines and blanks around a path do not matter.

    Relative paths are relative to the working directory.

    Raises
    ------
    MissingFileError
        The list cannot be read.
    InputError
        It names no image.
    """
    images = tuple(Path(line) for _, line in _lines(path))
    if not images:
        raise InputError(f"The image list {path} names no image.")
    return images


def read_pair_list(path: Path, images: Sequence[Path], n_images: int | None = None) -> tuple[tuple[int, ...], ...]:
    """Return the tuples of a pair list as indices into ``images``.

    One tuple per line, names separated by commas; blanks, trailing commas and blank lines do not matter. A name is
    the path, the file name, the file name without extension, or else any part of the path of one image only.

    Parameters
    ----------
    path
        The pair list.
    images
        The images of the image list.
    n_images
        How many images a tuple must have; None takes the number of the first line.

    Raises
    ------
    MissingFileError
        The list cannot be read.
    InputError
        A name fits no or several images, a tuple has the wrong length or is there twice, or there is none.
    """
    found: dict[tuple[int, ...], int] = {}
    for number, line in _lines(path):
        where = f"Line {number} of the pair list {path}"
        names = list(_names(line, images))
        if not names:
            continue
        pair = tuple(_index(name, images, where) for name in names)
        wanted = n_images or len(next(iter(found), pair))
        if len(pair) != wanted:
            raise InputError(f"{where} has {len(pair)} of {wanted} images: {line!r}.")
        if pair in found:
            raise InputError(f"{where} repeats line {found[pair]}: {line!r}.")
        found[pair] = number
    if not found:
        raise InputError(f"The pair list {path} names no image.")
    return tuple(found)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that hold something."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingFileError(f"The list {path} cannot be read: {error}.") from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def _names(line: str, images: Sequence[Path]) -> Iterator[str]:
    for part in SEPARATOR.split(line):
        name = part.strip(", \t")
        if not name:
            continue
        if _matches(name, images):
            yield name
        else:
            yield from filter(None, map(str.strip, name.split(",")))


def _index(name: str, images: Sequence[Path], where: str) -> int:
    matches = _matches(name, images)
    if len(matches) == 1:
        return matches[0]
    if matches:
        several = ", ".join(str(images[index]) for index in matches)
        raise InputError(f"{where}: {name!r} fits several images: {several}; write more of the path.")
    raise InputError(f"{where}: {name!r} fits none of the {len(images)} images of the image list.")


def _matches(name: str, images: Sequence[Path]) -> list[int]:
    """Return the images that a name fits by the first rule that any image satisfies."""
    rules = (
        lambda image: name == str(image) or Path(name) == image,
        lambda image: name == image.name,
        lambda image: name == image.stem,
        lambda image: name in image.as_posix() or name in str(image),
    )
    for rule in rules:
        if matches := [index for index, image in enumerate(images) if rule(image)]:
            return matches
    return []
