"""Errors of the Python API speak Python: options of the command line become the arguments that stand for them."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from refbench.contracts.errors import RefbenchError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

FLAGS = ("overwrite", "resume", "trust")
FILES = ("points", "dsm", "ndvi", "reference", "gsd", "crs", "vertical", "height-unit", "scene-id")
NAMES = ("out", "config", "weights", "seed", "device", "threads", "method", "only", "retry", "workers")
ARGUMENTS = {
    **{flag: f"{flag}=True" for flag in FLAGS},
    **{name: f"files[{name.replace('-', '_')!r}]" for name in FILES},
    "ortho": "files['orthos']",
    "view": "files['views']",
    "mask": "files['masks']",
    "set": "configuration values (keywords)",
    "timeout": "deadline_s",
    **{name: name for name in NAMES},
}
"""Option without its dashes -> what a caller from Python writes."""
_SETTING = re.compile(r"--set ([A-Za-z_][\w.]*)=")
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")


def python_words(message: str) -> str:
    """Return a message with the options that have an argument in Python replaced by it; others stay."""
    settings = _SETTING.sub(lambda found: f"{found[1].replace('.', '__')}=", message)
    return _OPTION.sub(lambda found: ARGUMENTS.get(found[1], found[0]), settings)


def speaks_python(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function of the API: its errors name arguments instead of options."""

    @functools.wraps(function)
    def spoken(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except RefbenchError as error:
            if (message := python_words(str(error))) == str(error):
                raise
            raise type(error)(message) from error

    return spoken
