"""Writing a new plugin as a package that installs, is typed and runs at once."""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench.files.new_folder import new_folder
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from refbench.registry.registry import Registry

MethodKind = Literal["tile", "scene", "depth", "learned"]
Kind = Literal["tile", "scene", "depth", "learned", "importer", "assessor"]
METHOD_KINDS: tuple[MethodKind, ...] = get_args(MethodKind)
SUMMARIES: dict[Kind, str] = {
    "tile": "Smooths a DSM, tile by tile.",
    "scene": "Makes a DSM of a point cloud.",
    "depth": "Smooths the depth maps of views.",
    "learned": "Corrects a DSM by a small network.",
    "importer": "Opens folders of a layout of your own.",
    "assessor": "Tells how rough a DSM is.",
}
_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_package(kind: Kind, name: str, out: Path) -> Path:
    """Write the package of a new plugin to the new folder ``out / name`` and return that folder.

    Parameters
    ----------
    kind
        What it holds; see ``SUMMARIES``.
    name
        Lower-case letters, digits and hyphens: the name of the distribution and of what it registers.
    out
        Where its folder is made.

    Raises
    ------
    InputError
        The name cannot be used or is taken, the folder is there, or ``out`` cannot be written.
    """
    folder = out / name
    if os.path.lexists(folder):
        raise InputError(f"{folder} exists; give another name or another --out.")
    package = _package_of(kind, name)
    values = {
        "name": name,
        "package": package,
        "title": "".join(part.capitalize() for part in name.split("-")),
        "kind": kind,
        "summary": SUMMARIES[kind],
        "is_method": kind in METHOD_KINDS,
        "extras": "training" if kind == "learned" else "",
    }
    rendered = {target: _rendered(source, values) for target, source in _files(kind, package).items()}
    with new_folder(folder) as partial:
        for target, text in {**rendered, f"{package}/py.typed": ""}.items():
            (partial / target).parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(partial / target) as file:
                file.write(text.encode())
    return folder


def _files(kind: Kind, package: str) -> dict[str, Path]:
    """Return target -> template; a template of the kind replaces the common one of its name."""
    common = {"pyproject.toml": "pyproject.toml", "README.md": "README.md", f"{package}/__init__.py": "__init__.py"}
    files = {target: _TEMPLATES / "common" / f"{source}.j2" for target, source in common.items()}
    test = _TEMPLATES / kind / "test_package.py.j2"
    files[f"tests/test_{package}.py"] = test if test.is_file() else _TEMPLATES / "common" / "test_method.py.j2"
    for path in sorted((_TEMPLATES / kind).glob("*.py.j2")):
        if path != test:
            files[f"{package}/{path.name.removesuffix('.j2')}"] = path
    return files


def _rendered(source: Path, values: dict[str, object]) -> str:
    # Not at module level: the listing verbs import this file's neighbours.
    import jinja2

    made = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return made.from_string(source.read_text(encoding="utf-8")).render(values)


def _package_of(kind: Kind, name: str) -> str:
    """Return the name of the package; raises ``InputError`` where it cannot be used."""
    if not _NAME.fullmatch(name):
        raise InputError(f"The name {name!r} must be lower-case letters, digits and hyphens, such as my-method.")
    package, registry = name.replace("-", "_"), load_registry()
    registries: dict[str, Registry[Any]] = {"importer": registry.importers, "assessor": registry.assessors}
    records = registries.get(kind, registry.methods)
    if name in records:
        raise InputError(f"{name} is taken by {records.plugin_of(name).origin}; choose another name.")
    if keyword.iskeyword(package) or importlib.util.find_spec(package) is not None:
        raise InputError(f"{package} is already the name of a Python module; choose another name.")
    return package
