"""``refbench doctor``: what this machine has, what it lacks, what for and how to get it."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import click

from refbench.cli.columns import columns
from refbench.cli.options import json_option
from refbench.engine.inputs.weights import user_weights_folder
from refbench.registry.records import resolve
from refbench.registry.registry import load_registry
from refbench.registry.requirements import install_command, is_installed, missing_packages
from refbench.reporting.terminal import echo

_REQUIRED = {
    "click": "click",
    "cv2": "opencv-python-headless",
    "jinja2": "jinja2",
    "laspy": "laspy",
    "lazrs": "lazrs",
    "matplotlib": "matplotlib",
    "numpy": "numpy",
    "pluggy": "pluggy",
    "pydantic": "pydantic",
    "rasterio": "rasterio",
    "rich": "rich",
    "safetensors": "safetensors",
    "scipy": "scipy",
    "yaml": "pyyaml",
}
_OPTIONAL = {
    "torch": ("torch", "learned methods", "pip install torch"),
    "open3d": ("open3d", "city, PLY files", "pip install 'refbench[city]'"),
    "torch_scatter": ("torch-scatter", "faster point encoding; torch's own is used without it", "refbench[scatter]"),
}
_OPEN3D_LIBRARIES = {
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libX11.so.6": "libx11-6",
    "libgomp.so.1": "libgomp1",
}
_LOW_DISK_BYTES = 2 << 30


class Check(NamedTuple):
    """One finding; ``status`` is ``ok``, ``missing`` (needed), ``absent`` (optional) or ``low``."""

    name: str
    status: str
    detail: str


@click.command()
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Check packages, GPU, system libraries and folders. Exit code 1 where something that is needed is missing."""
    checks = [*_system(), *_required(), *_optional(), *_torch(), *_libraries(), *_folders(), *_methods(), *_parts()]
    if as_json:
        echo(json.dumps([check._asdict() for check in checks], indent=2))
    else:
        echo(columns(("WHAT", "STATUS", "DETAIL"), checks))
    if any(check.status == "missing" for check in checks):
        ctx.exit(1)


def _version(package: str) -> str:
    """Return the version of a distribution; another one may bring the same module."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "from another distribution"


def _system() -> list[Check]:
    return [Check("python", "ok", f"{platform.python_version()} ({sys.executable}), {platform.platform()}")]


def _required() -> list[Check]:
    return [
        Check(package, "ok", _version(package))
        if is_installed(module)
        else Check(package, "missing", f"install with: pip install {package}")
        for module, package in _REQUIRED.items()
    ]


def _optional() -> list[Check]:
    return [
        Check(package, "ok", f"{_version(package)}, for {purpose}")
        if is_installed(module)
        else Check(package, "absent", f"for {purpose}; {remedy}")
        for module, (package, purpose, remedy) in _OPTIONAL.items()
    ]


def _torch() -> list[Check]:
    if not is_installed("torch"):
        return []
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Check("torch import", "missing", " ".join(str(error).split()))]
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"
    checks = [Check("torch build", "ok", f"{build}, {torch.get_num_threads()} threads")]
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return [*checks, Check("cuda", "ok", names)]
    why = "no GPU or driver was found" if torch.version.cuda else "torch was built without CUDA"
    return [*checks, Check("cuda", "absent", f"{why}; methods run on the CPU")]


def _libraries() -> list[Check]:
    if sys.platform != "linux":
        return []
    checks = []
    for library, package in _OPEN3D_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
            checks.append(Check(package, "ok", f"{library}, for open3d"))
        except OSError:
            checks.append(Check(package, "absent", f"open3d needs {library}; apt-get install {package}"))
    return checks


def _folders() -> list[Check]:
    checks = []
    for name, folder in (("working folder", Path.cwd()), ("scratch folder", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        checks.append(
            Check(name, "ok" if free > _LOW_DISK_BYTES else "low", f"{free / 2**30:.1f} GiB free in {folder}")
        )
    weights = user_weights_folder()
    nearest = next(folder for folder in (weights, *weights.parents) if folder.exists())
    if os.access(nearest, os.W_OK):
        return [*checks, Check("weights folder", "ok", str(weights))]
    return [*checks, Check("weights folder", "low", f"{weights} cannot be written; set REFBENCH_WEIGHTS to another")]


def _methods() -> list[Check]:
    return [
        Check(f"method {record.name}", "absent", f"needs {', '.join(missing)}; {install_command(record)}")
        if (missing := missing_packages(record))
        else Check(f"method {record.name}", "ok", "all packages are there")
        for record in load_registry().methods
    ]


def _parts() -> list[Check]:
    """Ask every method that runs here about its optional parts; what such a question raises is a finding, too."""
    checks = []
    for record in load_registry().methods:
        if record.checks is None or missing_packages(record):
            continue
        try:
            found = [(str(name), bool(works), str(detail)) for name, works, detail in resolve(record.checks)()]
        except Exception as error:  # a plugin's own code
            found = [("checks", False, f"failed: {error!r}")]
        checks += [
            Check(f"{record.name}: {name}", "ok" if works else "absent", detail) for name, works, detail in found
        ]
    return checks
