"""Says at the end of a run what the golden numbers were made by: a module names it as ``GOLDENS``."""

from collections import Counter

OFFICIAL = "the official code"
_counts: dict[str, Counter] = {}
_makers: dict[str, str] = {}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "parity":
            _makers[item.nodeid] = getattr(item.module, "GOLDENS", OFFICIAL)


def pytest_runtest_logreport(report):
    maker = _makers.get(report.nodeid)
    if maker is not None and (report.when == "call" or report.outcome != "passed"):
        _counts.setdefault(maker, Counter())[report.outcome] += 1


def pytest_terminal_summary(terminalreporter):
    if _counts:
        terminalreporter.section("parity")
    for maker, counts in sorted(_counts.items()):
        terminalreporter.write_line(f"with {maker}: {', '.join(f'{n} {name}' for name, n in sorted(counts.items()))}")
