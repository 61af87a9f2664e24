"""A distribution of somebody else: public names only; it loads by its path, installs, and keeps to the contract."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from run_refbench import ONE_THREAD, command

from refbench.public import PUBLIC_MODULES
from refbench.registry.registry import load_registry
from refbench.testing import check_method, conforms

FOLDER = Path(__file__).parent / "acme-dsm"
FILES = sorted(FOLDER.rglob("*.py"))


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.setenv("REFBENCH_PLUGINS", str(FOLDER / "acme_dsm" / "record.py"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    load_registry.cache_clear()
    yield
    load_registry.cache_clear()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_uses_public_names_only(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "refbench":
            module = importlib.import_module(node.module)
            assert node.module in PUBLIC_MODULES
            assert all(hasattr(module, alias.name) and not alias.name.startswith("_") for alias in node.names)


def test_the_cloud_method_conforms(plugin):
    results = check_method("acme-cloud")
    assert conforms(results), [str(result) for result in results if result.outcome.is_bad]


def test_info_tells_its_own_licence_and_warns_of_none(tmp_path):
    environment = {**ONE_THREAD, "REFBENCH_PLUGINS": "acme_dsm/record.py"}
    done = subprocess.run(command("info", "acme-net"), cwd=FOLDER, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Apache-2.0 (this implementation)" in done.stdout
    assert "WARNING" not in done.stdout and "import-weights" not in done.stdout


@pytest.mark.slow
def test_the_learned_method_conforms(plugin):
    results = check_method("acme-net")
    assert conforms(results), [str(result) for result in results if result.outcome.is_bad]


@pytest.mark.slow
def test_it_installs(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(tmp_path)]
    subprocess.run([*pip, str(FOLDER)], check=True)
    environment = {**ONE_THREAD, "PYTHONPATH": str(tmp_path)}
    listed = subprocess.run(command("methods"), env=environment, capture_output=True, text=True, check=True).stdout
    assert "acme-net" in listed and "acme-cloud" in listed
