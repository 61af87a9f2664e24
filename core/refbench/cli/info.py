"""``refbench info NAME``: everything about a method that can be told without importing it."""

from __future__ import annotations

import click

from refbench.cli.columns import columns, facts
from refbench.cli.completion import complete_methods
from refbench.engine.inputs.shipped_configs import shipped_configs
from refbench.engine.inputs.weights import list_weights, user_weights_folder
from refbench.files.config_keys import config_keys
from refbench.registry.records import MethodRecord, resolve
from refbench.registry.registry import load_registry
from refbench.registry.requirements import install_command, missing_packages
from refbench.reporting.terminal import echo


@click.command()
@click.argument("name", shell_complete=complete_methods)
def command(name: str) -> None:
    """Show what a method needs and gives, its origin, licences, weights and configuration keys."""
    methods = load_registry().methods
    record = methods.get(name)
    echo(f"{record.name}: {record.summary}")
    plugin = ("plugin", methods.plugin_of(name).origin)
    echo(facts([*_behaviour(record), *_origin(record), plugin, *_packages(record), *_weights(record)]))
    if record.is_unlicensed:
        echo("  WARNING: the official code grants no licence. This re-implementation is independent of it;")
        echo("           official weights and data may not be free to use either.")
    for line in _published(record):
        echo(line)
    _echo_config(record)


def _behaviour(record: MethodRecord) -> list[tuple[str, str]]:
    optional = f" (optional: {', '.join(need.value for need in record.optional)})" if record.optional else ""
    traits = {"trainable": record.trainable, "stochastic": record.stochastic, "fills NoData": record.fills}
    return [
        ("needs", ", ".join(need.value for need in record.needs) + optional),
        ("gives", ", ".join(gives.value for gives in record.gives)),
        ("traits", ", ".join(f"{'' if holds else 'not '}{trait}" for trait, holds in traits.items())),
        ("devices", ", ".join(record.device)),
    ]


def _origin(record: MethodRecord) -> list[tuple[str, str]]:
    official = "grants no licence" if record.is_unlicensed else record.official_licence or ""
    return [
        ("origin", record.origin),
        ("paper", record.paper),
        ("licence", f"{record.licence} (this implementation)"),
        ("official code", official),
    ]


def _published(record: MethodRecord) -> list[str]:
    """Return a line per published number, and one on those that could not be had."""
    found = [
        f"  published: {number.metric} {number.value:g}"
        f" ({'; '.join(filter(None, (number.table, number.dataset, number.protocol, number.source)))})"
        for number in record.reported
    ]
    return found + ([f"  published: none available: {record.unreported}"] if record.unreported else [])


def _packages(record: MethodRecord) -> list[tuple[str, str]]:
    missing = missing_packages(record)
    present = [name for name in record.packages if name not in missing]
    return [
        ("packages", ", ".join(present)),
        ("missing", f"{', '.join(missing)}; install with: {install_command(record)}" if missing else ""),
    ]


def _weights(record: MethodRecord) -> list[tuple[str, str]]:
    lines = [("weights", f"{found.name} ({found.where}: {found.path})") for found in list_weights(record)]
    if not lines and (record.needs_weights or record.weights):
        lines = [("weights", f"none found, in the package or in {user_weights_folder() / record.name}")]
    if _imports_weights(record):
        lines.append(("import", f"refbench import-weights --method {record.name} CHECKPOINT --out FOLDER"))
    return lines


def _imports_weights(record: MethodRecord) -> bool:
    """Return whether the plugin reads official weights; a plugin that cannot be asked is taken to."""
    try:
        return record.imports_weights()
    except Exception:  # the plugin's own module
        return True


def _echo_config(record: MethodRecord) -> None:
    if record.config is None:
        return
    if shipped := shipped_configs(record):
        echo(f"\nConfigurations (--config): {', '.join(shipped)}")
    rows = [(key, kind, repr(default)) for key, kind, default in config_keys(resolve(record.config))]
    echo("\n" + columns(("KEY", "TYPE", "DEFAULT"), rows))
