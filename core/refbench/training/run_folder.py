"""Where a training in an official system's layout goes: a new folder named by the time, found again on resuming."""

from __future__ import annotations

from pathlib import Path

from refbench.contracts.errors import InputError

REMEMBERED = "official_run.txt"
"""In the training's own folder: where its official run folder is."""


def official_run_folder(wanted: Path, own: Path | None, resume: bool) -> Path:
    """Return the folder ``wanted``, made now, or the one that is resumed.

    Parameters
    ----------
    wanted
        Where a new run goes; a number is added where that is taken.
    own
        The training's own folder, which remembers the place; None remembers nothing.
    resume
        Take the remembered one, where there is one.

    Raises
    ------
    InputError
        It cannot be made.
    """
    note = None if own is None else own / REMEMBERED
    if resume and note is not None and note.is_file():
        return Path(note.read_text(encoding="utf-8").strip())
    run, number = wanted, 1
    while run.exists():
        number += 1
        run = wanted.with_name(f"{wanted.name}_{number}")
    try:
        run.mkdir(parents=True)
        if note is not None:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{run.absolute()}\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"The run folder {run} cannot be made: {error.strerror}.") from error
    return run
