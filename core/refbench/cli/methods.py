"""``refbench methods``: what there is, at a glance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from refbench.cli.columns import columns
from refbench.cli.options import json_option
from refbench.engine.inputs.weights import list_weights
from refbench.registry.registry import load_registry
from refbench.registry.requirements import missing_packages
from refbench.reporting.terminal import echo

if TYPE_CHECKING:
    from refbench.registry.records import MethodRecord


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the methods: what they need, what they give, whether they can run here."""
    records = list(load_registry().methods)
    if as_json:
        echo(json.dumps([_as_dict(record) for record in records], indent=2))
        return
    header = ("NAME", "NEEDS", "GIVES", "TRAINABLE", "WEIGHTS", "STATUS")
    echo(columns(header, [_row(record) for record in records]))


def status(record: MethodRecord) -> str:
    """Return ``ready``, or what is missing for a run."""
    if missing := missing_packages(record):
        return f"needs {', '.join(missing)}"
    return "no weights" if record.needs_weights and not list_weights(record) else "ready"


def _row(record: MethodRecord) -> tuple[str, ...]:
    return (
        record.name,
        ", ".join(need.value for need in record.needs),
        ", ".join(gives.value for gives in record.gives),
        "yes" if record.trainable else "no",
        ", ".join(found.name for found in list_weights(record)) or ("none" if record.needs_weights else "-"),
        status(record),
    )


def _as_dict(record: MethodRecord) -> dict[str, object]:
    return {
        "name": record.name,
        "summary": record.summary,
        "needs": [need.value for need in record.needs],
        "optional": [need.value for need in record.optional],
        "gives": [gives.value for gives in record.gives],
        "trainable": record.trainable,
        "weights": [found.name for found in list_weights(record)],
        "status": status(record),
    }
