"""How a check ends: it holds, it fails with a message, or it does not apply."""

from __future__ import annotations


class CheckFailedError(AssertionError):
    """The method does not behave; the message says what was found and what was expected."""


class NotApplicableError(Exception):
    """The check asks for something that this method does not claim; the message says what."""


def require(holds: bool, message: str) -> None:
    """Raise ``CheckFailedError`` with ``message`` unless it holds."""
    if not holds:
        raise CheckFailedError(message)


def applies(holds: bool, reason: str) -> None:
    """Raise ``NotApplicableError`` with ``reason`` unless it holds."""
    if not holds:
        raise NotApplicableError(reason)
