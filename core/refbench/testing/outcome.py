"""How a check ended, and how many ended so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Outcome(str, Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    EXPECTED_FAILURE = "expected failure"
    UNEXPECTED_PASS = "unexpected pass"
    """It was declared to fail and did not: the declaration is out of date."""
    NOT_APPLICABLE = "not applicable"
    BLOCKED = "blocked"
    """Not asked, because a check that it builds upon failed."""

    @property
    def is_bad(self) -> bool:
        """Whether a method with such an outcome does not conform."""
        return self in (Outcome.FAILED, Outcome.UNEXPECTED_PASS)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of one method: ``reason`` says why it did not simply pass."""

    method: str
    check: str
    outcome: Outcome
    reason: str = ""

    def __str__(self) -> str:
        """Return check, outcome and reason on one line."""
        return f"{self.check:22} {self.outcome.value}{': ' if self.reason else ''}{self.reason}"


def counts(results: Iterable[CheckResult]) -> str:
    """Return how many ended how, such as ``25 passed, 4 not applicable``."""
    found = Counter(result.outcome for result in results)
    return ", ".join(f"{found[outcome]} {outcome.value}" for outcome in Outcome if found[outcome])


def conforms(results: Iterable[CheckResult]) -> bool:
    """Return whether checks ran and none ended badly: a kit that skipped everything is no proof."""
    ended = [result.outcome for result in results]
    return Outcome.PASSED in ended and not any(outcome.is_bad for outcome in ended)
