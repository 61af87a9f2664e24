"""Checking the folder of a run or a sweep: everything there, of its schema, and as it was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from refbench.contracts.errors import InputError
from refbench.engine.job.request import JobRequest
from refbench.engine.job.result import RESULT_FILE, read_result
from refbench.engine.sweeps.common_domain import COMPARISON
from refbench.engine.sweeps.jobs import jobs_folder
from refbench.engine.sweeps.store import KEY_FILE, MANIFEST_FILE, REQUEST_FILE, SUITE_FILE
from refbench.files.hashing import hash_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def result_faults(folder: Path) -> Iterator[str]:
    """Yield what is wrong with the folder of one result, a sentence each."""
    try:
        result = read_result(folder / RESULT_FILE)
    except InputError as error:
        yield str(error)
        return
    for file in result.outputs.values():
        path = folder / file
        if not path.exists():
            yield f"{path} is missing."
        elif (wanted := result.hashes.outputs.get(file)) is not None and hash_file(path) != wanted:
            yield f"{path} was changed since it was written: its hash is not that of the result."


def sweep_faults(out: Path) -> Iterator[str]:
    """Yield what is wrong with a sweep, a sentence each."""
    for name in (SUITE_FILE, MANIFEST_FILE):
        if not (out / name).is_file():
            yield f"{out / name} is missing."
    jobs = jobs_folder(out)
    folders = sorted(path for path in jobs.iterdir() if path.is_dir() and "." not in path.suffix)
    if not folders:
        yield f"{jobs} holds no job."
    for folder in folders:
        if ".partial-" in folder.name or ".old-" in folder.name:
            yield f"{folder} is a job that was not finished; --resume removes it."
            continue
        yield from result_faults(folder)
        yield from _side_faults(folder)
    for path in sorted((out / COMPARISON).glob("*.json")):
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            yield f"{path} is not JSON: {error}."


def _side_faults(folder: Path) -> Iterator[str]:
    for name in (KEY_FILE, REQUEST_FILE):
        path = folder / name
        try:
            text = path.read_text(encoding="utf-8")
            if name == REQUEST_FILE:
                JobRequest.from_json(text)
            else:
                json.loads(text)
        except (OSError, ValueError, TypeError, KeyError) as error:
            yield f"{path} cannot be read: {error}."
