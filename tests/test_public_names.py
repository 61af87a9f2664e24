"""The public surface is that of tests/public_names.txt: a change must be meant, and told in CHANGELOG.md.

``REFBENCH_UPDATE_PUBLIC_NAMES=1 pytest tests/test_public_names.py`` writes the list anew.
"""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import refbench
from refbench.public import PUBLIC_MODULES

LIST = Path(__file__).with_name("public_names.txt")
UPDATE = "REFBENCH_UPDATE_PUBLIC_NAMES"


def tree_of(module):
    return ast.parse(Path(importlib.util.find_spec(module).origin).read_text())


def lazily(tree):
    """Return name -> module of what a package offers by lazy_names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "lazy_names":
            return ast.literal_eval(node.args[1])
    return {}


def arguments(function):
    """Return the names of a function's arguments, with * where keywords begin."""
    spec = function.args
    names = [arg.arg for arg in (*spec.posonlyargs, *spec.args) if arg.arg not in ("self", "cls")]
    names += ["*"] if spec.kwonlyargs and not spec.vararg else []
    names += [f"*{spec.vararg.arg}"] if spec.vararg else []
    names += [arg.arg for arg in spec.kwonlyargs] + ([f"**{spec.kwarg.arg}"] if spec.kwarg else [])
    return f"({', '.join(names)})"


def described(tree, name):
    """Return a name with its arguments, fields and methods, as the module writes them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return [name + arguments(node)]
        if isinstance(node, ast.ClassDef) and node.name == name:
            fields = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign)]
            methods = [n for n in node.body if isinstance(n, ast.FunctionDef)]
            lines = [f"{name} [{', '.join(f for f in fields if not f.startswith('_'))}]"]
            lines += [f"{name}.{m.name}{arguments(m)}" for m in methods if not m.name.startswith("_")]
            lines += [f"{name}{arguments(m)}" for m in methods if m.name == "__init__"]
            return lines
    return [name]


def defined(tree):
    """Return what a module defines itself without a leading underscore, or its ``__all__``."""
    names = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if getattr(target, "id", "") == "__all__":
                return list(ast.literal_eval(node.value))
            names += [target.id] if isinstance(target, ast.Name) else []
    return [name for name in names if not name.startswith("_")]


def surface():
    lines = []
    for module in PUBLIC_MODULES:
        tree = tree_of(module)
        lazy = lazily(tree)
        for name in lazy or defined(tree):
            source = tree_of(lazy[name]) if lazy else tree
            lines += [f"{module}: {line}" for line in described(source, name)]
    return sorted(set(lines))


def test_the_public_names_are_those_of_the_list():
    found = surface()
    if os.environ.get(UPDATE):
        LIST.write_text("\n".join(found) + "\n")
    kept = LIST.read_text().splitlines()
    changes = [f"+ {line}" for line in found if line not in kept] + [f"- {line}" for line in kept if line not in found]
    hint = f"tell it in CHANGELOG.md and run this test with {UPDATE}=1"
    assert not changes, "\n".join([hint, *changes])


@pytest.mark.parametrize("name", ["refbench", "refbench.training", "refbench.testing"])
def test_dir_shows_what_can_be_imported(name):
    module = importlib.import_module(name)
    assert set(module.__all__) <= set(dir(module)) and len(set(module.__all__)) == len(module.__all__)
    assert all(getattr(module, item) is not None for item in module.__all__)


def test_help_shows_the_api():
    text = subprocess.run(
        [sys.executable, "-c", "import refbench; help(refbench)"], capture_output=True, text=True, check=True
    ).stdout
    assert "class DSM" in text and "run(scene" in text


def test_public_modules_have_docstrings_on_all_names():
    for module in PUBLIC_MODULES:
        tree = tree_of(module)
        names = set(defined(tree))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
                assert ast.get_docstring(node), f"{module}.{node.name}"


def test_python_m_refbench_is_the_command():
    said = subprocess.run([sys.executable, "-m", "refbench", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout == f"refbench, version {refbench.__version__}\n"
