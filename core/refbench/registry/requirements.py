"""Whether the packages that a method needs are there, asked without importing them."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from refbench.contracts.errors import MissingExtraError

if TYPE_CHECKING:
    from refbench.registry.records import MethodRecord


def is_installed(module: str) -> bool:
    """Return whether a top-level module can be found."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # a module without a spec, such as one made by hand, is there
        return True


def missing_packages(record: MethodRecord) -> tuple[str, ...]:
    """Return the modules of ``record.packages`` that cannot be found."""
    return tuple(name for name in record.packages if not is_installed(name))


def install_command(record: MethodRecord) -> str:
    """Return the command that brings the packages of a method."""
    if record.extras:
        return f"pip install 'refbench[{','.join(record.extras)}]'"
    return f"pip install {' '.join(record.packages)}"


def check_packages(record: MethodRecord) -> None:
    """Raise ``MissingExtraError``, which names the packages and the command, where one is missing."""
    if missing := missing_packages(record):
        message = f"{record.name} needs {', '.join(missing)}; install it with: {install_command(record)}"
        raise MissingExtraError(message)
