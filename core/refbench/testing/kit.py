"""Running the checks on a method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.contracts.errors import InputError, SkippedError, UnknownNameError
from refbench.testing.check import CHECKS
from refbench.testing.outcome import CheckResult, Outcome
from refbench.testing.require import CheckFailedError, NotApplicableError
from refbench.testing.subject import Subject, describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from refbench.contracts.scene import Scene
    from refbench.testing.check import Check

EXPECTED_TAG = "check.expected."
"""A record's tag ``check.expected.<name>`` says why a check is expected to fail."""


def all_checks() -> dict[str, Check]:
    """Return every check by name, in the order in which they run."""
    import refbench.testing.checks  # noqa: F401  # fills the table

    return CHECKS


def check_method(
    name: str,
    *,
    config: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    weights: str | None = None,
    scene: Scene | None = None,
    only: Sequence[str] = (),
    expected: Mapping[str, str] | None = None,
) -> list[CheckResult]:
    """Run the checks on a method and return how each ended.

    Parameters
    ----------
    name
        Of a registered method.
    config, overrides, weights
        As on the command line; without ``config`` the record's tag ``check.config`` names one, else the default.
    scene
        The standard scene instead of a made one of 64 x 64 px.
    only
        Names of checks; empty runs all. Those that they build upon run, too.
    expected
        Check -> reason why it is expected to fail, beside those of the record's tags ``check.expected.<check>``.

    Raises
    ------
    UnknownNameError
        There is no such method or check.
    ConfigError
        The configuration is wrong.
    SkippedError
        Packages or weights of the method are missing: nothing can be said of it.
    """
    with Subject(name, config, overrides or {}, weights, scene) as subject:
        return list(run_checks(subject, only, expected))


def run_checks(
    subject: Subject, only: Sequence[str] = (), expected: Mapping[str, str] | None = None
) -> Iterator[CheckResult]:
    """Yield the result of every check as it ends; see ``check_method``."""
    checks = all_checks()
    for name in (*only, *(expected or {})):
        if name not in checks:
            raise UnknownNameError(f"There is no check {name!r}; there are: {', '.join(checks)}.")
    tags = subject.record.tags
    reasons = {key.removeprefix(EXPECTED_TAG): text for key, text in tags.items() if key.startswith(EXPECTED_TAG)}
    reasons |= expected or {}
    wanted, failed = _with_those_below(checks, only), dict[str, bool]()
    for name in wanted:
        result = _run(
            checks[name], subject, reasons.get(name), [below for below in checks[name].after if failed[below]]
        )
        # What is blocked blocks what builds upon it.
        failed[name] = result.outcome in (Outcome.FAILED, Outcome.BLOCKED)
        yield result


def _with_those_below(checks: Mapping[str, Check], only: Sequence[str]) -> list[str]:
    wanted = set(only or checks)
    while below := {name for key in wanted for name in checks[key].after} - wanted:
        wanted |= below
    return [name for name in checks if name in wanted]


def _run(check: Check, subject: Subject, expected: str | None, failed: list[str]) -> CheckResult:
    if failed:
        return CheckResult(subject.name, check.name, Outcome.BLOCKED, f"after {', '.join(failed)}")
    try:
        check.run(subject)
    except NotApplicableError as reason:
        return CheckResult(subject.name, check.name, Outcome.NOT_APPLICABLE, str(reason))
    except SkippedError:
        raise
    except (CheckFailedError, InputError) as error:
        return _failed(check, subject, expected, str(error))
    except Exception as error:
        return _failed(check, subject, expected, f"it raised {describe(error)}")
    if expected is not None:
        return CheckResult(subject.name, check.name, Outcome.UNEXPECTED_PASS, f"it was expected to fail: {expected}")
    return CheckResult(subject.name, check.name, Outcome.PASSED)


def _failed(check: Check, subject: Subject, expected: str | None, message: str) -> CheckResult:
    if expected is None:
        return CheckResult(subject.name, check.name, Outcome.FAILED, message)
    return CheckResult(subject.name, check.name, Outcome.EXPECTED_FAILURE, f"{expected} ({message})")
