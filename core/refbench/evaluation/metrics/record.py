"""What a metric is: its formula, unit, direction, strata and where it is shown, in one record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Unit = Literal["m", "fraction", "deg", "ratio", "count"]
Direction = Literal["lower", "higher", "zero", "one", "none"]
Place = Literal["table", "page", "strata", "summary", "compared", "verb", "narrow"]
"""Where a metric is a column unless the user asks otherwise: the tables of a sweep, the page of a run and its table of
strata, what a run prints (``compared``: beside the input's, where there are both), ``refbench evaluate``, and that in a
narrow terminal."""
ARROWS: dict[Direction, str] = {"lower": "↓", "higher": "↑", "zero": "→0", "one": "→1", "none": ""}

State = TypeVar("State")
"""What a kind of metric is computed from."""
Sample = TypeVar("Sample")
"""What its bootstrap samples are computed from."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Metric:
    """One metric. e = evaluated - reference and a = |e| in the formula; fractions lie in [0, 1], printed in percent."""

    key: str
    label: str
    unit: Unit
    direction: Direction
    formula: str
    """The formula in words or symbols, as tables print it."""
    short: str = ""
    """Label for narrow columns; empty: ``label``."""
    shown: tuple[Place, ...] = ()

    @property
    def arrow(self) -> str:
        """The arrow that says which way is better; empty where none is."""
        return ARROWS[self.direction]

    @property
    def heading(self) -> str:
        """Label, unit and arrow, such as ``MAE (m) ↓``."""
        unit = {"m": " (m)", "deg": " (deg)"}.get(self.unit, "")
        return f"{self.label}{unit} {self.arrow}".rstrip()

    @property
    def narrow_heading(self) -> str:
        """Short label and arrow."""
        return f"{self.short or self.label} {self.arrow}".rstrip()

    def text(self, value: float | None, decimals: int = 3) -> str:
        """Return a value as text: fractions in percent, counts whole, a dash where it is missing.

        >>> mae = Metric(key="mae", label="MAE", unit="m", direction="lower", formula="mean a")
        >>> mae.text(1.25), mae.text(None)
        ('1.250', '–')
        """
        if value is None:
            return "–"
        if self.unit == "fraction":
            return f"{100 * value:.1f} %"
        return f"{value:,.0f}" if self.unit == "count" else f"{value:.{decimals}f}"

    def distance(self, value: float) -> float:
        """Return how far a value is from the best one: what comparisons order by."""
        return {"higher": -value, "zero": abs(value), "one": abs(value - 1)}.get(self.direction, value)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ComputedMetric(Metric, Generic[State]):
    """A metric that is a function of a state; None where the state does not define it."""

    compute: Callable[[State], float | int | None]
    strata: tuple[str, ...] = ()
    """Strata without which there is no such metric; empty: it is taken on every stratum."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SampledMetric(ComputedMetric[State], Generic[State, Sample]):
    """A metric with an interval by block bootstrap.

    Its paired differences between methods are tested, and its ranks given, where ``is_ranked``.
    """

    resample: Callable[[Sample], Floats] | None = None
    """From the samples of a bootstrap, its value in every draw, float64 [repeats]."""
    intervals: Literal["none", "all", "every"] = "none"
    """On which strata there are intervals: none, that of all pixels, or every one."""
    is_ranked: bool = False
    has_gain: bool = False
    """Whether the relative gain of refined over input is given."""
