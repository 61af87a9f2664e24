"""What a result was made with: package, commit, versions, machine."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from refbench import version as release

PACKAGES = (
    *("affine", "laspy", "lazrs", "lightning-fabric", "matplotlib", "numba", "numpy", "nvdiffrast", "open3d"),
    *("opencv-python-headless", "pluggy", "pydantic", "rasterio", "safetensors", "scipy", "torch", "torch-scatter"),
)
VARIABLES = ("CUDA_VISIBLE_DEVICES", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REFBENCH_PLUGINS")


def manifest() -> dict[str, Any]:
    """Return the facts, of JSON types. GPU facts only where torch is loaded already: importing it costs seconds."""
    return {
        "refbench": {"version": release.__version__, **_commit()},
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "plugins": _plugins(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": _gpu(),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, Any]:
    """Return commit and dirty flag of the installed package's own repository, not of the working directory."""
    folder = Path(release.__file__).resolve().parent

    def git(*arguments: str) -> str | None:
        try:
            run = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return run.stdout.strip() if run.returncode == 0 else None

    # A wheel in a virtual environment inside some other project's repository is not of that repository.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return {"commit": None, "dirty": None}
    changes = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if changes is None else bool(changes)}


def _plugins() -> dict[str, str]:
    found = {}
    for point in metadata.entry_points(group="refbench"):
        if point.dist is not None:
            found[point.name] = f"{point.dist.name} {point.dist.version}"
    return found


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpu() -> dict[str, Any] | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return {
        "name": torch.cuda.get_device_name(0),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory,
    }
