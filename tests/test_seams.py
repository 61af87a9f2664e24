"""The seams of the house: no two modules know each other, not even by type; cameras and official files are asked by
their protocols, never guessed."""

import ast
import functools
import re

import pytest
from house_modules import CORE_MODULES, PLUGIN_MODULES, module_name

MODULES = {module_name(path): path for path in (*CORE_MODULES, *PLUGIN_MODULES)}
ASKED = re.compile(r"\b(camera|cam|pinhole|rpc|official|files)\w*\b", re.IGNORECASE)
"""Names of values that hold cameras and official modules."""
MODELS = {"Pinhole", "RPC", "AffineCamera", "BiasedCamera", "CameraModel", "Camera", "OfficialFiles", "NoOfficialFiles"}


@functools.cache
def tree_of(name):
    return ast.parse(MODULES[name].read_text())


def known_by(name):
    """The modules of the house that a module imports anywhere: at once, on use or for its types."""
    found = set()
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            items = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= items & set(MODULES) or {node.module}
    return {module for module in found if module in MODULES and module != name}


def circles(graph):
    """Groups of modules that reach each other (Tarjan)."""
    number, lowest, stack, found = {}, {}, [], []

    def visit(name):
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in number:
                visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], number[other])
        if lowest[name] == number[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in number:
            visit(name)
    return found


def test_no_modules_know_each_other():
    assert circles({name: known_by(name) for name in MODULES}) == []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def guesses(tree):
    """Where code asks a camera or an official module what it is, or what it has, instead of calling it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            first = ast.unparse(node.args[0]) if node.args else ""
            if node.func.id in {"getattr", "hasattr"} and ASKED.search(first):
                yield node.lineno, ast.unparse(node)
            if (
                node.func.id == "isinstance"
                and {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} & MODELS
            ):
                yield node.lineno, ast.unparse(node)
        elif (
            isinstance(node, ast.ExceptHandler) and node.type is not None and "AttributeError" in ast.unparse(node.type)
        ):
            body = " ".join(ast.unparse(line) for line in node.body)
            if ASKED.search(body):
                yield node.lineno, ast.unparse(node.type)


@pytest.mark.parametrize("name", MODULES)
def test_cameras_and_official_files_are_asked_not_guessed(name):
    assert list(guesses(tree_of(name))) == []


@pytest.mark.parametrize(
    "text",
    [
        "getattr(view.camera, 'height_range', None)",
        "hasattr(official, 'read_config')",
        "isinstance(camera, (Pinhole, RPC))",
        "try:\n    pass\nexcept AttributeError:\n    camera = None",
    ],
)
def test_guesses_are_found(text):
    assert len(list(guesses(ast.parse(text)))) == 1
