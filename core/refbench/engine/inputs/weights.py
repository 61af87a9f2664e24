"""Finding the weights of a method: explicit, configured, the user's folder, the package."""

from __future__ import annotations

import difflib
import importlib.resources
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.contracts.errors import MissingFileError
from refbench.weights.weights_folder import META_FILE, TENSORS_FILE, is_weights_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from refbench.registry.records import MethodRecord

FOLDER_VARIABLE = "REFBENCH_WEIGHTS"
OPTION = "--weights"


@dataclass(frozen=True, slots=True)
class FoundWeights:
    """A weights folder that a name stands for, and where it was found: ``user`` or ``package``."""

    name: str
    path: Path
    where: str


def user_weights_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the user's weights: ``$REFBENCH_WEIGHTS``, else the platform's folder for data."""
    if folder := environment.get(FOLDER_VARIABLE):
        return Path(folder).expanduser()
    if sys.platform == "win32":
        data = Path(environment.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        data = Path.home() / "Library" / "Application Support"
    else:
        data = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "refbench" / "weights"


def list_weights(record: MethodRecord) -> tuple[FoundWeights, ...]:
    """Return all weights of a method that have a name; the user's hide those of the package of the same name."""
    found: dict[str, FoundWeights] = {}
    for where, root in (("package", _package_folder(record)), ("user", user_weights_folder() / record.name)):
        if root is not None and root.is_dir():
            for path in sorted(root.iterdir()):
                if is_weights_folder(path):
                    found[path.name] = FoundWeights(path.name, path, where)
    return tuple(found.values())


def find_weights(
    record: MethodRecord,
    explicit: str | Path | None = None,
    configured: str | Path | None = None,
) -> Path | None:
    """Return the folder or file of the weights to use, None where the method has none.

    Parameters
    ----------
    record
        The method.
    explicit
        The option: a name, a folder or a file.
    configured
        The same from the configuration; asked where there is no option.

    Without both the record's default name is looked for (``default`` where the record names none).

    Raises
    ------
    MissingFileError
        What the option or the configuration names is neither a path nor a known name.
    """
    known = {found.name: found.path for found in list_weights(record)}
    wanted = explicit if explicit is not None else configured
    if wanted is None:
        return known.get(record.weights[0] if record.weights else "default")
    path = Path(wanted).expanduser()
    # A bare name means the known weights, also where a folder of that name lies in the working directory.
    if str(wanted) in known:
        return known[str(wanted)]
    if path.exists():
        _check_whole(path)
        return path
    near = difflib.get_close_matches(str(wanted), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known names: {', '.join(known) or 'none'}."
    asked = OPTION if explicit is not None else "The configuration's weights"
    raise MissingFileError(f"{asked} {wanted}: there is no such file, folder or name for {record.name}; {hint}")


def _check_whole(path: Path) -> None:
    """Refuse a folder of tensors that nothing describes, in the same words for every method."""
    folder = path.parent if path.name == TENSORS_FILE else path
    if (folder / TENSORS_FILE).is_file() and not (folder / META_FILE).is_file():
        raise MissingFileError(
            f"{folder} holds {TENSORS_FILE} but no {META_FILE}, which says what network it is; copy the whole weights "
            "folder, as refbench train wrote it."
        )


def _package_folder(record: MethodRecord) -> Path | None:
    """Return the folder of the built-in weights, without importing more than the package of ``weights_in``."""
    if record.weights_in is None:
        return None
    package, _, folder = record.weights_in.partition(":")
    return Path(str(importlib.resources.files(package))) / folder
