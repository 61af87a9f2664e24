"""The errors that refbench raises on purpose.

Every error is also the builtin that a user would catch. A message is one sentence: what was given, what was
expected, which option repairs it. Only ``refbench.cli`` turns errors into exit codes.
"""

from __future__ import annotations


class RefbenchError(Exception):
    """Root of every error that refbench raises on purpose."""


class InputError(RefbenchError, ValueError):
    """Bad input from the user: the command ends with exit code 2 and writes nothing."""


class MissingFileError(InputError, FileNotFoundError):
    """A file that does not exist or cannot be read."""

    def __str__(self) -> str:
        """Return the message alone; ``OSError`` would print a tuple."""
        return str(self.args[0]) if self.args else ""


class GridMismatchError(InputError):
    """Two rasters that should share a grid do not; the message says by how much."""


class ArrayError(GridMismatchError):
    """An array of another shape or type than its contract, or its grid, asks for."""


class MethodError(RefbenchError):
    """A method gave something that its contract does not allow: no fault of the user's (status failed)."""


class ConfigError(InputError):
    """A configuration with an unknown or ill-typed key; the message names file, key path and nearest valid key."""


class WeightsError(InputError):
    """Weights that cannot be read or do not fit the architecture."""


class UnknownNameError(InputError, LookupError):
    """A name that no plugin registers; the message suggests near misses and names plugins that failed to load."""


class UnsupportedError(RefbenchError):
    """The scene lacks what the method needs and no chain of bridges makes it (exit code 3)."""


class SkippedError(RefbenchError):
    """A job that cannot run here, such as a method without its weights (exit code 3)."""


class MissingExtraError(SkippedError, ImportError):
    """An optional package is absent; the message names the extra that brings it."""


class CancelledError(RefbenchError):
    """The run was asked to stop."""
