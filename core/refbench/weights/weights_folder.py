"""A folder of weights: ``model.safetensors``, ``model.yaml`` (architecture, normalisation, provenance), a card."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError, MissingFileError, WeightsError
from refbench.weights.domain import read_domain

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from refbench.weights.domain import Domain

TENSORS_FILE = "model.safetensors"
MAX_HEADER = 16 * 2**20
"""Bytes; a tensor takes about 100 of them, and each many times that once it is parsed."""
META_FILE = "model.yaml"
CARD_FILE = "README.md"


@dataclass(frozen=True, slots=True)
class WeightsFolder:
    """Weights on disk: ``meta`` is the content of ``model.yaml``; the tensors are read when asked for."""

    path: Path
    meta: Mapping[str, Any]

    @property
    def card(self) -> str:
        """The model card, Markdown; empty where there is none."""
        file = self.path / CARD_FILE
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    @property
    def domain(self) -> Domain:
        """What the weights are good for, as far as ``model.yaml`` says it; ``WeightsError`` where that cannot be."""
        return read_domain(self.meta, self.path / META_FILE)

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the tensors by name.

        Weights in the shape in which they were written.

        Raises
        ------
        WeightsError
            ``model.safetensors`` is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            self._check_header()
            return dict(load_file(self.path / TENSORS_FILE))
        except (SafetensorError, OSError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, WeightsError):
                raise
            raise WeightsError(f"{self.path / TENSORS_FILE} cannot be read: {error}.") from error

    def _check_header(self) -> None:
        """Refuse a header that is longer than its file, or than the names of any network's tensors."""
        file = self.path / TENSORS_FILE
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
        if length > min(file.stat().st_size - 8, MAX_HEADER):
            raise WeightsError(f"{file} is damaged: its header is said to have {length} bytes.")


def is_weights_folder(path: Path) -> bool:
    """Return whether ``path`` is a folder with tensors and their description."""
    return (path / TENSORS_FILE).is_file() and (path / META_FILE).is_file()


def check_weights_target(folder: Path) -> None:
    """Refuse a folder that holds anything but weights: those are replaced, nothing else is.

    Raises
    ------
    InputError
        Nothing is written then.
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give another one.")
    names = {path.name for path in folder.iterdir()}
    if names and not is_weights_folder(folder):
        raise InputError(f"{folder} exists and is no weights folder; give another folder.")
    if foreign := sorted(names - {TENSORS_FILE, META_FILE, CARD_FILE}):
        raise InputError(f"{folder} holds other files than weights, such as {foreign[0]}; give another folder.")


def read_weights(path: Path) -> WeightsFolder:
    """Open a weights folder (or the ``model.safetensors`` in it).

    Raises
    ------
    MissingFileError
        The folder lacks one of the two files.
    WeightsError
        ``model.yaml`` is not a YAML mapping.
    """
    import yaml

    from refbench.files.yaml_text import parse_yaml

    folder = path.parent if path.name == TENSORS_FILE else path
    if not is_weights_folder(folder):
        raise MissingFileError(f"{folder} is no weights folder: it must hold {TENSORS_FILE} and {META_FILE}.")
    try:
        meta = parse_yaml((folder / META_FILE).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise WeightsError(f"{folder / META_FILE} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(meta, dict):
        raise WeightsError(f"{folder / META_FILE} must hold keys and values, got a {type(meta).__name__}.")
    return WeightsFolder(folder, meta)


def write_weights(
    folder: Path, tensors: Mapping[str, NDArray[np.generic]], meta: Mapping[str, Any], card: str
) -> WeightsFolder:
    """Write a weights folder beside its place and rename it; an older one of that name is replaced.

    Parameters
    ----------
    folder
        Where to write; a folder that holds anything but weights is refused.
    tensors
        Name -> array of any shape.
    meta
        What ``model.yaml`` holds, of YAML types.
    card
        The model card, Markdown.

    Raises
    ------
    InputError
        ``folder`` holds something else than weights.
    """
    import shutil
    import tempfile

    import numpy as np
    import yaml
    from safetensors.numpy import save

    check_weights_target(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        # save_file would make a private file
        (new / TENSORS_FILE).write_bytes(save({name: np.asarray(array, order="C") for name, array in tensors.items()}))
        (new / META_FILE).write_text(yaml.safe_dump(dict(meta), sort_keys=False), encoding="utf-8")
        (new / CARD_FILE).write_text(card, encoding="utf-8")
        if folder.exists():
            folder.replace(scratch / "old")
        new.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return WeightsFolder(folder, dict(meta))
