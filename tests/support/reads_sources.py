"""Compiles every module below the folders named and asks this interpreter for every name of its own library that they
import at run time. Run with ``-c`` by interpreters that have nothing installed."""

import ast
import importlib.util
import pathlib
import sys


def at_run_time(nodes):
    """Yield the statements that run: what stands below ``if TYPE_CHECKING`` does not."""
    for node in nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from at_run_time(ast.iter_child_nodes(node))


def is_module(package, name):
    """Whether a name is a module of a package, which has no attribute before it is imported."""
    return hasattr(sys.modules[package], "__path__") and importlib.util.find_spec(f"{package}.{name}") is not None


def missing(path):
    """Yield the names of the standard library that a module imports and this interpreter lacks."""
    tree = ast.parse(path.read_bytes(), str(path))
    compile(tree, str(path), "exec")
    for node in at_run_time(tree.body):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in sys.stdlib_module_names:
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name) and not is_module(node.module, alias.name):
                    yield f"{path}: {node.module}.{alias.name}"


found = [name for folder in sys.argv[1:] for path in pathlib.Path(folder).rglob("*.py") for name in missing(path)]
sys.exit("\n".join(found) or 0)
