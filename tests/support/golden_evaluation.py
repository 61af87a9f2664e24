"""Where the golden numbers of the evaluation lie, and how their cases become tests."""

import os
from pathlib import Path

import pytest

GOLDEN = Path(os.environ.get("REFBENCH_GOLDEN", Path(__file__).resolve().parents[3] / "shared" / "golden"))
FOLDER = GOLDEN / "evaluation"
if not FOLDER.is_dir():
    pytest.skip(f"no golden data: {FOLDER} does not exist (set REFBENCH_GOLDEN)", allow_module_level=True)


def cases(argument, values, **options):
    """Parametrise a test; without any value it does not exist (pytest alone would report a skip)."""
    return lambda test: pytest.mark.parametrize(argument, list(values), **options)(test) if values else None
