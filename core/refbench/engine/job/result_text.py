"""A result in a line, and as a small HTML table for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from enum import Enum


class Told(Protocol):
    """What is told of a ``Result``."""

    method: str
    scene: str
    seed: int
    reason: str | None
    metrics: dict[str, Any] | None
    metrics_reason: str | None

    @property
    def status(self) -> Enum:
        """How the job ended."""


SHOWN = ("mae", "rmse", "nmad", "median", "n")


def one_line(result: Told) -> str:
    """Return method, scene, seed, how it ended, and the error before and after."""
    before, after = _all(result, "input").get("mae"), _all(result, "refined").get("mae")
    score = "" if after is None else f", MAE {after:.3f} m" + ("" if before is None else f" (input {before:.3f} m)")
    why = f" ({result.reason})" if result.reason else ""
    return f"Result({result.method} on {result.scene}, seed {result.seed}: {result.status.value}{why}{score})"


def html_table(result: Told) -> str:
    """Return head line and the metrics of input and refined DSM over all pixels, as HTML."""
    surfaces = {name: _all(result, name) for name in ("input", "refined")}
    keys = [key for key in SHOWN if any(key in values for values in surfaces.values())]
    head = "".join(f"<th>{key}</th>" for key in keys)
    rows = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{_text(values.get(key))}</td>' for key in keys)}</tr>"
        for name, values in surfaces.items()
        if values
    )
    table = (
        f"<table><tr><th></th>{head}</tr>{rows}</table>" if rows else f"<p>{escape(result.metrics_reason or '')}</p>"
    )
    return f"<p><code>{escape(one_line(result))}</code></p>{table}"


def _all(result: Told, surface: str) -> dict[str, Any]:
    """Return the metrics of a surface over all pixels of the common domain."""
    values: dict[str, Any] = ((result.metrics or {}).get(surface) or {}).get("all") or {}
    return values


def _text(value: Any) -> str:  # noqa: ANN401  # a metric or None
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
