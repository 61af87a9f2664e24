"""Completion of names on the shell: methods, suites, configurations, weights, assessors, checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refbench.contracts.errors import RefbenchError
from refbench.registry.registry import load_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

INSTALL = {
    "bash": """echo 'eval "$(_REFBENCH_COMPLETE=bash_source refbench)"' >> ~/.bashrc""",
    "zsh": """echo 'eval "$(_REFBENCH_COMPLETE=zsh_source refbench)"' >> ~/.zshrc""",
    "fish": "_REFBENCH_COMPLETE=fish_source refbench > ~/.config/fish/completions/refbench.fish",
}
"""Shell -> the line that installs completion."""


def _completer(names: Callable[[click.Context], Iterable[str]]) -> Callable[..., list[str]]:
    """Return a ``shell_complete`` of click that offers ``names``; an error offers none."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        del param
        try:
            return [name for name in names(ctx) if name.startswith(incomplete)]
        except (RefbenchError, ImportError):
            return []

    return complete


def _method(ctx: click.Context) -> str:
    """Return the method that the line names so far."""
    return str(ctx.params.get("method") or ctx.params.get("name") or "")


def _configs(ctx: click.Context) -> Iterable[str]:
    from refbench.engine.inputs.shipped_configs import shipped_configs

    return shipped_configs(load_registry().methods.get(_method(ctx)))


def _weights(ctx: click.Context) -> Iterable[str]:
    from refbench.engine.inputs.weights import list_weights

    return [found.name for found in list_weights(load_registry().methods.get(_method(ctx)))]


def _suites(ctx: click.Context) -> Iterable[str]:
    from refbench.engine.sweeps.suite import shipped_suites

    del ctx
    return shipped_suites()


def _checks(ctx: click.Context) -> Iterable[str]:
    from refbench.testing.kit import all_checks

    del ctx
    return all_checks()


complete_methods = _completer(lambda ctx: load_registry().methods.names())
complete_assessors = _completer(lambda ctx: load_registry().assessors.names())
complete_reporters = _completer(lambda ctx: load_registry().reporters.names())
complete_configs = _completer(_configs)
complete_weights = _completer(_weights)
complete_suites = _completer(_suites)
complete_checks = _completer(_checks)
