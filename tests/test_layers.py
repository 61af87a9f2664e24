"""The shape of the house: who may import whom, how long a module may be, and that importing has no effect."""

import ast
import functools
import json
import re
import subprocess
import sys

import pytest
from house_modules import CORE, CORE_MODULES, PLUGIN_MODULES, PLUGINS, module_name

import refbench
from refbench.registry.registry import load_registry

LEVELS = (
    ("cli",),
    ("testing", "reporting"),
    ("engine", "training"),
    ("stereo",),
    ("bridges", "city", "evaluation"),
    ("scenes",),
    ("formats", "weights", "registry"),
    ("geometry", "files"),
    ("contracts",),
)
LEVEL_OF = {wing: level for level, wings in enumerate(LEVELS) for wing in wings}
PUBLIC_TO_PLUGINS = {
    "contracts",
    "files",
    "geometry",
    "formats",
    "weights",
    "scenes",
    "bridges",
    "city",
    "evaluation",
    "training",
}
MAX_LINES = 400


@functools.cache
def imports(path):
    """Return (line, module, names, is_lazy) of every import; those for type checkers alone do not count."""
    found = []

    def walk(node, lazy):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    walk(other, lazy)
                continue
            if isinstance(child, ast.Import):
                found.extend((child.lineno, alias.name, (), lazy) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}:{child.lineno} imports relatively"
                found.append((child.lineno, child.module, tuple(alias.name for alias in child.names), lazy))
            walk(child, lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    walk(ast.parse(path.read_text()), lazy=False)
    return found


def wing_of(module):
    """Return the wing of a module of refbench; None outside of it and for the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == "refbench" and len(parts) > 1 and parts[1] in LEVEL_OF else None


def imported_wings(path):
    for line, module, names, _ in imports(path):
        if module == "refbench":
            for name in names:
                if name in LEVEL_OF:
                    yield line, name
        elif wing := wing_of(module):
            yield line, wing


def test_every_wing_has_its_place():
    folders = {path.name for path in CORE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == set(LEVEL_OF)


def test_the_package_itself_imports_no_more_than_contracts():
    assert {wing for _, wing in imported_wings(CORE / "__init__.py")} == {"contracts"}


@pytest.mark.parametrize("path", [path for path in CORE_MODULES if wing_of(module_name(path))], ids=module_name)
def test_arrows_run_one_way(path):
    own = wing_of(module_name(path))
    for line, wing in imported_wings(path):
        is_allowed = wing == own or LEVEL_OF[wing] > LEVEL_OF[own]
        assert is_allowed, f"{module_name(path)}:{line}: {own} must not import {wing}"


@pytest.mark.parametrize("path", CORE_MODULES, ids=module_name)
def test_core_imports_no_plugin(path):
    names = {folder.name for folder in PLUGINS}
    assert not [module for _, module, _, _ in imports(path) if module.split(".")[0] in names]


@pytest.mark.parametrize("path", PLUGIN_MODULES, ids=module_name)
def test_plugins_import_only_what_is_public(path):
    own = module_name(path).split(".")[0]
    others = {folder.name for folder in PLUGINS} - {own}
    for line, module, names, _ in imports(path):
        parts = module.split(".")
        assert parts[0] not in others, f"{path.name}:{line} imports another plugin"
        if parts[0] != "refbench":
            continue
        where = f"{path.name}:{line}: {module}"
        if len(parts) == 1:
            assert set(names) <= set(refbench.__all__), where
        else:
            assert parts[1] in PUBLIC_TO_PLUGINS, f"{where} is not public"
            assert not [part for part in (*parts, *names) if part.startswith("_")], f"{where} is private"


@pytest.mark.parametrize("path", [path for path in PLUGIN_MODULES if path.name == "record.py"], ids=module_name)
def test_records_and_configs_are_light(path):
    heavy = {"numpy", "torch", "scipy", "rasterio", "cv2", "open3d", "pydantic", "yaml"}
    for file in (path, path.with_name("config.py")):
        if file.is_file():
            assert not {module.split(".")[0] for _, module, _, lazy in imports(file) if not lazy} & heavy


@pytest.mark.parametrize("wing", sorted(set(LEVEL_OF) - {"geometry", "training", "city"}))
def test_torch_and_open3d_are_imported_on_use_only(wing):
    for path in CORE.joinpath(wing).rglob("*.py"):
        eager = {module.split(".")[0] for _, module, _, lazy in imports(path) if not lazy}
        assert not eager & {"torch", "open3d", "lightning_fabric"}, module_name(path)


def test_no_module_imports_itself_in_a_circle():
    names = {module_name(path): path for path in (*CORE_MODULES, *PLUGIN_MODULES)}
    graph = {
        name: {
            target
            for _, module, imported, lazy in imports(path)
            if not lazy
            for target in (module, *(f"{module}.{item}" for item in imported))
            if target in names and target != name
        }
        for name, path in names.items()
    }
    done, active = set(), []

    def visit(name):
        assert name not in active, f"circle: {' -> '.join([*active[active.index(name) :], name])}"
        if name not in done:
            active.append(name)
            for target in sorted(graph[name]):
                visit(target)
            active.pop()
            done.add(name)

    for name in graph:
        visit(name)


@pytest.mark.parametrize("path", [*CORE_MODULES, *PLUGIN_MODULES], ids=module_name)
def test_modules_are_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_core_knows_no_method_by_name():
    # Names that are words of everyday programming cannot be told from a method.
    everyday = {"input", "median", "bilateral", "guided", "fill"}
    names = {record.name for record in load_registry().methods} - everyday
    plugins = {folder.name.removeprefix("refbench_") for folder in PLUGINS} - {"baselines"}
    pattern = re.compile(rf"\b({'|'.join(sorted(map(re.escape, names | plugins)))})\b", re.IGNORECASE)
    for path in CORE_MODULES:
        tree = ast.parse(path.read_text())
        docstrings = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False)
        }
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings
            # Prose may cite a paper; only names in code would make the core depend on a method.
            text = node.value if is_text else node.id if isinstance(node, ast.Name) else ""
            assert not pattern.search(text), f"{module_name(path)}:{node.lineno} names a method: {text!r}"


CHILD = """
import importlib, json, logging, os, random, sys, threading, warnings
sys.argv = ["python"]
folder = os.getcwd()

def state():
    seen = {
        "files": sorted(os.listdir(folder)),
        "environment": dict(os.environ),
        "handlers": len(logging.getLogger().handlers),
        "cwd": os.getcwd(),
        "random": hash(random.getstate()),
        "arguments": list(sys.argv),
        "threads": threading.active_count(),
    }
    if "numpy" in sys.modules:
        seen["errors"] = sys.modules["numpy"].geterr()
    return seen

# Third parties may do as they like: they are loaded first.
light = ("rich.style", "numpy", "scipy.ndimage", "cv2", "pydantic", "rasterio", "matplotlib")
for name in (*light, "torch", "lightning_fabric", "open3d"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
report = {}
for name in json.loads(sys.stdin.read()):
    before = state()
    try:
        importlib.import_module(name)
    except ImportError as error:
        report[name] = f"cannot be imported: {error}"
        continue
    after = state()
    if before != after:
        report[name] = str([key for key in after if after[key] != before.get(key)])
print("|" + json.dumps(report))
"""


def test_importing_any_module_has_no_effect(tmp_path):
    """Every module in one fresh process, one after the other, in an empty folder."""
    names = [module_name(path) for path in (*CORE_MODULES, *PLUGIN_MODULES) if path.name != "__main__.py"]
    done = subprocess.run(
        [sys.executable, "-c", CHILD], input=json.dumps(names), capture_output=True, text=True, cwd=tmp_path, check=True
    )
    effects = json.loads(done.stdout.rpartition("|")[2])
    optional = ("torch", "open3d", "lightning_fabric", "tensorboard", "refbench[")  # the last names an extra
    missing = {name: effect for name, effect in effects.items() if any(f"'{package}" in effect for package in optional)}
    # One module speaks with Dask's cluster and says the extra that brings it.
    missing |= {name: effect for name, effect in effects.items() if "refbench[dask]" in effect}
    assert not {name: effect for name, effect in effects.items() if name not in missing}
    assert done.stdout.startswith("|"), "a module prints when it is imported"


@pytest.mark.parametrize("path", sorted(CORE.joinpath("registry").glob("*.py")), ids=module_name)
def test_the_registry_is_free_of_numpy(path):
    code = f"import sys, {module_name(path)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "rasterio", "scipy"} & set(done.stdout.split())


def _reached(graph, start):
    found, waiting = set(), list(graph.get(start, ()))
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += graph.get(module, ())
    return found


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_official_files_and_the_method_form_no_circle(folder):
    """Every import counts: lazy ones and those for type checkers, too."""
    paths = {module_name(path): path for path in sorted(folder.rglob("*.py"))}
    graph = {}
    for module, path in paths.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        graph[module] = {node.module for node in nodes if node.module in paths}
    method = f"{folder.name}.method"
    official = [module for module in paths if module.startswith(f"{folder.name}.official.")]
    by_method = _reached(graph, method)
    assert not [module for module in official if module in by_method and method in _reached(graph, module)]
    for package in (f"{folder.name}.official",):
        assert package not in paths or not graph[package], "official/__init__.py is a docstring"
