"""The keys of ``scene.yaml``, of suites, and the fields of ``result.json``."""

from __future__ import annotations

import inspect

from refbench.engine.job.result import Cost, Hashes, Phase, Result, Status
from refbench.engine.sweeps.suite_file import (
    BudgetItem,
    CityItem,
    CutItem,
    MethodItem,
    ProtocolItem,
    SceneItem,
    SuiteFile,
)
from refbench.scenes.scene_model import ReferenceItem, SceneModel, ViewItem
from site_pages.fields import own_rows, table

SCENE = {"Top level": SceneModel, "A view": ViewItem, "reference": ReferenceItem}
SUITE = {
    "Top level": SuiteFile,
    "An entry of methods": MethodItem,
    "An entry of scenes": SceneItem,
    "city": CityItem,
    "cut": CutItem,
    "protocol": ProtocolItem,
    "budgets": BudgetItem,
}
RESULT = {"Top level": Result, "An entry of phases": Phase, "cost": Cost, "hashes": Hashes}


def scene_page() -> str:
    """Return the page of ``scene.yaml``."""
    about = "Paths are relative to the file. Unknown keys are refused with the nearest known one."
    return _page("scene.yaml", about, SCENE)


def suite_page() -> str:
    """Return the page of suites."""
    about = (
        "`methods` and `scenes` take names as well as mappings: `methods: [input, median]`, `methods: all`, "
        "`scenes: [embedded, my-scene]`."
    )
    return _page("Suite", about, SUITE)


def result_page() -> str:
    """Return the page of ``result.json``."""
    statuses = ", ".join(f"`{status.value}`" for status in Status)
    about = f"{inspect.getdoc(Result)}\n\nA status is one of {statuses}. JSON Schema: `refbench validate --schema`."
    return _page("result.json", about.replace("``", "`"), RESULT)


def _page(title: str, about: str, parts: dict[str, type]) -> str:
    lines = [f"# {title}", "", about, ""]
    for name, model in parts.items():
        lines += [f"## {name}", "", table(own_rows(model)), ""]
    return "\n".join(lines)
