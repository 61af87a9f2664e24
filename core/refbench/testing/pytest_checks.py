"""The checks as tests of pytest, for a plugin's own suite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refbench.testing.kit import all_checks, check_method
from refbench.testing.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from refbench.testing.outcome import CheckResult


def parametrize_with_checks(
    methods: Sequence[str],
    *,
    expected: Mapping[str, str] | None = None,
    **how: Any,  # noqa: ANN401  # as check_method takes
) -> Callable[[Callable[..., None]], Any]:
    """Return a decorator that makes one test of each check of each method.

    The test takes ``method`` and ``check``, names both, and calls ``assert_check(method, check)``. Checks that do not
    apply are skipped with their reason; those in ``expected`` (check -> reason) are expected to fail::

        @parametrize_with_checks(["lift"])
        def test_conforms(method, check):
            assert_check(method, check)
    """
    import pytest

    reasons = dict(expected or {})
    cases = [
        pytest.param(
            Case(method, how), name, id=f"{method}-{name}",
            marks=[pytest.mark.xfail(reason=reasons[name], strict=True)] if name in reasons else [],
        )
        for method in methods
        for name in all_checks()
    ]  # fmt: skip
    return pytest.mark.parametrize(("method", "check"), cases)


class Case(str):
    """The name of a method that remembers how it is checked."""

    how: dict[str, Any]

    def __new__(cls, name: str, how: Mapping[str, Any]) -> Case:
        """Return the name; ``how`` are arguments of ``check_method``."""
        made = super().__new__(cls, name)
        made.how = {**how}
        return made


_ENDED: dict[str, dict[str, CheckResult]] = {}


def assert_check(method: str, check: str) -> None:
    """Run all checks of a method at the first call, then tell of one: it passes, is skipped, or fails with reason."""
    import pytest

    how = method.how if isinstance(method, Case) else {}
    key = f"{method} {how!r}"
    if key not in _ENDED:
        _ENDED[key] = {result.check: result for result in check_method(str(method), **how)}
    result = _ENDED[key][check]
    if result.outcome in (Outcome.NOT_APPLICABLE, Outcome.BLOCKED):
        pytest.skip(f"{result.outcome.value}: {result.reason}")
    if result.outcome is Outcome.EXPECTED_FAILURE:
        pytest.xfail(result.reason)
    assert not result.outcome.is_bad, f"{check}: {result.reason}"
