"""The conformance kit that plugin authors run: ``refbench check``, ``parametrize_with_checks``, scenes for tests.

Names are loaded on use.
"""

from typing import TYPE_CHECKING

from refbench.contracts.lazy import lazy_names

if TYPE_CHECKING:
    from refbench.testing.kit import all_checks as all_checks
    from refbench.testing.kit import check_method as check_method
    from refbench.testing.outcome import CheckResult as CheckResult
    from refbench.testing.outcome import Outcome as Outcome
    from refbench.testing.outcome import conforms as conforms
    from refbench.testing.outcome import counts as counts
    from refbench.testing.pytest_checks import assert_check as assert_check
    from refbench.testing.pytest_checks import parametrize_with_checks as parametrize_with_checks

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "CheckResult": "refbench.testing.outcome",
        "Outcome": "refbench.testing.outcome",
        "all_checks": "refbench.testing.kit",
        "assert_check": "refbench.testing.pytest_checks",
        "check_method": "refbench.testing.kit",
        "conforms": "refbench.testing.outcome",
        "counts": "refbench.testing.outcome",
        "parametrize_with_checks": "refbench.testing.pytest_checks",
    },
)
