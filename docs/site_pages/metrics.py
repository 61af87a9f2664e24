"""Every metric by its record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.evaluation.metrics import DEPTH, HEIGHTS, SHAPE, VIEWS
from refbench.registry.registry import load_registry
from site_pages.fields import entry

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {
    "Heights": (HEIGHTS, "On every stratum, of input and refined DSM."),
    "Shape": (SHAPE, "Slopes, edges, planes and buildings; on the strata that the column names."),
    "Depth maps": (DEPTH, "Of each view with a reference depth."),
    "Rendered views": (VIEWS, "Of each view that a method rendered and did not see."),
}
BETTER = {"lower": "lower", "higher": "higher", "zero": "near 0", "one": "near 1", "none": ""}
INTRO = """# Metrics

e is evaluated minus reference in metres, a = |e|. Fractions lie in [0, 1] in `result.json` and are printed in percent.
Every number is taken on a stratum, on the pixels where reference, input and refined are valid; see
[](../concepts/common_ground.md).
"""


def metrics_page() -> str:
    """Return the page of the metrics and of what assessors score."""
    lines = [INTRO]
    for title, (metrics, about) in KINDS.items():
        lines += [
            f"## {title}",
            "",
            about,
            "",
            "| key | name | unit | better | formula | strata |",
            "|---|---|---|---|---|---|",
        ]
        for metric in metrics:
            unit = "" if metric.unit in ("count", "ratio", "fraction") else metric.unit
            strata = ", ".join(getattr(metric, "strata", ()))
            entries = (f"`{metric.key}`", metric.label, unit, BETTER[metric.direction], metric.formula, strata)
            lines.append(f"| {' | '.join(map(entry, entries))} |")
        lines.append("")
    return "\n".join([*lines, *_assessors()]) + "\n"


def _assessors() -> Iterator[str]:
    yield "## Assessors\n\nAsked for with `--assessor NAME`, options with `--option NAME.KEY=VALUE`.\n"
    for record in load_registry().assessors:
        yield f"### {record.name}\n\n{record.summary} {record.reference}\n"
        if record.options:
            yield "| option | meaning |\n|---|---|"
            yield from (f"| `{name}` | {entry(text)} |" for name, text in record.options.items())
            yield ""
        yield "| score | meaning |\n|---|---|"
        yield from (f"| `{score.key}` | {entry(score.summary)} |" for score in record.scores)
        yield ""
