"""The kit is proved by methods each of which breaks one behaviour, and by the built-in ones, which break none."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from refbench.contracts.errors import UnknownNameError
from refbench.registry.registry import load_registry
from refbench.testing import Outcome, all_checks, check_method, conforms, counts
from refbench.testing.outcome import CheckResult

HERE = Path(__file__).parent
sys.path.append(str(HERE))
BREAKS = {name: check for name, (_, check, _) in importlib.import_module("broken_methods").BREAKS.items()}
BASELINES = [record.name for record in load_registry().methods if "torch" not in record.packages]
LEARNED = [record.name for record in load_registry().methods if "torch" in record.packages]
HEAVY_RECORD = {"import-budget"}
"""Of the file that holds all broken methods: it imports numpy."""
PROCESSES = {"import-budget", "subprocess"}
"""Checks that start processes; the fast tests run them where they are the point."""


@pytest.fixture(autouse=True)
def plugins(monkeypatch, tmp_path):
    """Load the broken methods, in the processes of jobs as well."""
    files = [HERE / "broken_methods.py", HERE / "heavy_record.py"]
    monkeypatch.setenv("REFBENCH_PLUGINS", os.pathsep.join(map(str, files)))
    monkeypatch.setenv("BROKEN_LITTER", str(tmp_path))
    load_registry.cache_clear()
    yield
    load_registry.cache_clear()


def failed(results):
    return {result.check for result in results if result.outcome.is_bad}


def of_one_file(name, only=()):
    """Check a broken method; their common record module imports numpy."""
    expected = {"import-budget": "all broken methods are in one file"} if not only else {}
    results, broken = check_method(name, only=only, expected=expected), {BREAKS[name]} - {None}
    assert failed(results) == broken, [str(result) for result in results if result.outcome.is_bad]
    assert conforms(results) == (not broken)


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_method_fails_exactly_its_check(name):
    of_one_file(name, [check for check in all_checks() if check not in PROCESSES or check == BREAKS[name]])


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_method_fails_no_check_of_processes_either(name):
    of_one_file(name)


def test_a_heavy_record_is_found():
    assert failed(check_method("heavy", only=["import-budget", "units"])) == {"import-budget"}


def test_every_check_has_a_method_that_breaks_it():
    assert set(all_checks()) == {check for check in BREAKS.values() if check} | HEAVY_RECORD


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_conform(name):
    results = check_method(name)
    assert conforms(results), [str(result) for result in results if result.outcome.is_bad]
    assert sum(result.outcome is Outcome.PASSED for result in results) >= 24
    assert len(results) == len(all_checks()) and "not applicable" in counts(results)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_learned_methods_conform(name):
    results = check_method(name)
    assert conforms(results), [str(result) for result in results if result.outcome.is_bad]


def test_expected_failures_have_a_reason_and_must_fail():
    results = {r.check: r for r in check_method("doubles", only=["dtype"], expected={"dtype": "it is research code"})}
    assert results["dtype"].outcome is Outcome.EXPECTED_FAILURE and "research code" in results["dtype"].reason
    results = check_method("good", only=["dtype"], expected={"dtype": "it is research code"})
    assert [r.outcome for r in results if r.check == "dtype"] == [Outcome.UNEXPECTED_PASS] and not conforms(results)


def test_a_kit_that_ran_nothing_is_no_proof():
    skipped = [CheckResult("m", name, Outcome.NOT_APPLICABLE, "no") for name in all_checks()]
    assert not conforms(skipped) and not conforms([])


def test_unknown_checks_are_refused():
    with pytest.raises(UnknownNameError, match="no check 'nodta'"):
        check_method("good", only=["nodta"])
