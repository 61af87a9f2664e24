"""Configurations for the tests of the site."""

from dataclasses import dataclass, field


@dataclass
class Inner:
    """Nested."""

    deep: int = 1
    """Deep."""


@dataclass
class Config:
    """Two of three are told. ``named`` is told above."""

    below: float = 1.0
    """A string below."""
    named: bool = True
    silent: str = ""
    inner: Inner = field(default_factory=Inner)
