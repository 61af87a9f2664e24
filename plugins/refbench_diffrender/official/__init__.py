"""Official files of the refinement: JSON configurations."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any


def read_config(path: Path) -> dict[str, Any] | None:
    """Return the translation of an official JSON configuration, None for any other file.

    Returns
    -------
    dict
        ``config``: nested values of ``DiffrenderConfig``; ``notes``: what was assumed.

    Raises
    ------
    ConfigError
        A value of another type, or a learning rate that is missing.
    """
    from refbench_diffrender.official.config import is_official, read_official

    path = Path(path)
    if not is_official(path):
        return None
    from refbench_diffrender.official.view import config_of

    official = read_official(path)
    values = dataclasses.asdict(config_of(official, compat=False))
    values["official"] = str(path.absolute())
    notes = [f"{key} is unknown to the official program and is left out." for key in official.ignored]
    return {"config": values, "notes": [*notes, "compat: true reproduces the official program with its defects."]}
