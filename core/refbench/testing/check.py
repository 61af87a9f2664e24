"""What a check is: a small function with a name, a line of help and the checks that it builds upon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench.testing.subject import Subject


@dataclass(frozen=True, slots=True)
class Check:
    """One behaviour. ``after`` names checks whose failure leaves nothing to look at here."""

    name: str
    summary: str
    run: Callable[[Subject], None]
    after: tuple[str, ...] = ()


CHECKS: dict[str, Check] = {}
"""All checks by name, in the order in which they run; ``refbench.testing.checks`` fills it."""


def check(
    name: str, *, after: tuple[str, ...] = ()
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Register a function as a check; the first line of its docstring is its summary."""

    def register(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
        if name in CHECKS:
            raise ValueError(f"There are two checks {name}.")
        if unknown := set(after) - set(CHECKS):
            raise ValueError(f"The check {name} builds upon {unknown}, which come after it.")
        CHECKS[name] = Check(name, (function.__doc__ or "").strip().partition("\n")[0], function, after)
        return function

    return register
