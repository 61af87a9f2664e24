"""What a bridge is: one conversion with its conditions, its cost and a description."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from pathlib import Path

    from refbench.contracts.estimate import Estimate
    from refbench.contracts.need import Need
    from refbench.contracts.scene import Scene


class Bridge(ABC):
    """One conversion. ``name`` is short and stable; ``describe`` says how, for the result and the dry run."""

    name: ClassVar[str]
    needs: ClassVar[frozenset[Need]]
    serves_optional: ClassVar[bool] = False
    """Whether it is crossed for what a method could use, too, not only for what it must have."""

    def as_optional(self) -> Bridge:
        """Return the bridge as it is crossed for what a method could use: it may ask for more of the scene."""
        return self

    @abstractmethod
    def makes(self, scene: Scene) -> frozenset[Need]:
        """Return what the scene holds besides after it."""

    def obstacle(self, scene: Scene, held: frozenset[Need]) -> str | None:
        """Return what is missing to cross it where the scene holds ``held`` by then; None: it can be crossed."""
        missing = [need.value.replace("_", " ") for need in self.needs - held]
        return " and ".join(sorted(missing)) or self.condition(scene, held)

    def condition(self, scene: Scene, held: frozenset[Need]) -> str | None:
        """Return what else is missing, beyond ``needs``."""
        del scene, held
        return None

    @abstractmethod
    def describe(self) -> str:
        """Return one phrase: from what to what, and how."""

    @abstractmethod
    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost from headers alone."""

    @abstractmethod
    def apply(self, scene: Scene, scratch: Path) -> Scene:
        """Return the scene with what was made, in memory; its bridges say so, with what was found on the way."""

    def outline(self, scene: Scene) -> Scene:
        """Return the scene with what headers tell of the outcome, such as its grid; the same where they tell nothing.

        Nothing is computed: what comes of it must not be read.
        """
        return scene

    def _extended(self, scene: Scene, found: str = "", **parts: Any) -> Scene:  # noqa: ANN401  # any field of a scene
        said = self.describe() if not found else f"{self.describe()}: {found}"
        return replace(scene, bridges=(*scene.bridges, said), **parts)
