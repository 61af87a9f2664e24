"""``refbench check``: whether a method behaves as its contract says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from refbench.cli.columns import columns
from refbench.cli.completion import complete_checks, complete_methods
from refbench.cli.options import config_option, json_option, set_option, weights_option
from refbench.contracts.errors import InputError
from refbench.reporting.terminal import echo

if TYPE_CHECKING:
    from refbench.testing.outcome import CheckResult


def _reasons(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for value in values:
        name, _, reason = value.partition("=")
        if not (name and reason):
            raise click.BadParameter(f"{value!r} must read CHECK=REASON.", ctx, param)
        found[name] = reason
    return found


@click.command()
@click.argument("method", required=False, shell_complete=complete_methods)
@click.option("--scene", type=click.Path(path_type=Path), help="A scene of your own instead of the made one.")
@click.option(
    "--only",
    multiple=True,
    metavar="CHECK",
    shell_complete=complete_checks,
    help="Run this check; repeatable.",
)
@click.option(
    "--expect-failure", "expected", multiple=True, metavar="CHECK=REASON", callback=_reasons, help="It fails; why."
)
@click.option("--list", "is_listing", is_flag=True, help="List the checks and stop.")
@config_option
@set_option
@weights_option
@json_option
def command(method: str | None, as_json: bool, is_listing: bool, **options: Any) -> int:  # noqa: ANN401  # the options above
    """Check how METHOD behaves on small made scenes, on the CPU: grid, NoData, units, repeatability, training ...

    Exit code 1 where a check failed. A record's tag check.config names a configuration that is quick enough,
    check.expected.CHECK the reason why a check is expected to fail.
    """
    from refbench.testing.kit import all_checks
    from refbench.testing.outcome import conforms

    if is_listing:
        echo(columns(("CHECK", "WHAT"), [(check.name, check.summary) for check in all_checks().values()]))
        return 0
    if method is None:
        raise InputError("Name a method; refbench methods lists them.")
    results = _results(method, as_json, options)
    if as_json:
        echo(json.dumps([_as_dict(result) for result in results], indent=2))
    return 0 if conforms(results) else 1


def _results(method: str, as_json: bool, options: dict[str, Any]) -> list[CheckResult]:
    """Run the checks; print each as it ends unless JSON was asked for."""
    from refbench.scenes.scan import scanned
    from refbench.scenes.scene_yaml import load_scene
    from refbench.testing.kit import run_checks
    from refbench.testing.outcome import counts
    from refbench.testing.subject import Subject

    scene = None if options["scene"] is None else scanned(load_scene(options["scene"]))
    results = []
    with Subject(method, options["config"], options["overrides"], options["weights"], scene) as subject:
        for result in run_checks(subject, options["only"], options["expected"]):
            results.append(result)
            if not as_json:
                echo(str(result))
    if not as_json:
        echo(f"\n{method}: {counts(results)}")
    return results


def _as_dict(result: CheckResult) -> dict[str, str]:
    return {"method": result.method, "check": result.check, "outcome": result.outcome.value, "reason": result.reason}
