"""The fusion: other methods run one after the other on the same scene, and their DSMs become one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench import DSM, Need, Prediction
from refbench.contracts.errors import SkippedError, UnsupportedError
from refbench_fusion.joint import joined

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from refbench import Context, Scene
    from refbench.contracts.method import MemberAnswer
    from refbench_fusion.config import FusionConfig


class Fusion:
    """Joins the DSMs of its members; members that cannot run on a scene are left out, and that is noted."""

    def __init__(self, config: FusionConfig, weights: Path | None = None) -> None:
        del weights
        self.config = config

    def members(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the methods that are run: name -> options."""
        return {name: self.config.options.get(name, {}) for name in self.config.members}

    def refine(self, scene: Scene, context: Context) -> Prediction:
        """Return the joint DSM with its standard deviation, and how many members each height is of.

        Raises
        ------
        UnsupportedError
            No member can run on the scene, or gives a DSM.
        """
        scene.require(Need.DSM)
        answers, left_out = self._answers(scene, context)
        if not answers:
            why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
            raise UnsupportedError(f"None of the fusion's members can run on scene {scene.id}: {why}")
        heights = [dsm.heights for answer in answers.values() if (dsm := answer.prediction.dsm) is not None]
        sigmas = [self._sigma(name, answer.prediction) for name, answer in answers.items()]
        joint = joined(heights, sigmas, self.config.agree_m)
        known = max(1, int(np.isfinite(joint.heights).sum()))
        told = {
            name: {
                **answer.notes,
                "states_sigma": answer.prediction.confidence is not None,
                "anchor_fraction": round(float((joint.anchor == number).sum()) / known, 4),
                **({"warnings": list(answer.warnings)} if answer.warnings else {}),
            }
            for number, (name, answer) in enumerate(answers.items(), 1)
        }
        notes = {"members": told, "agreeing_fraction": round(float((joint.count > 1).sum()) / known, 4)}
        return Prediction(
            DSM(joint.heights, scene.require_grid()),
            confidence=joint.sigma,
            layers={"members_agreeing": joint.count},
            notes={**notes, **({"left_out": left_out} if left_out else {})},
        )

    def _answers(self, scene: Scene, context: Context) -> tuple[dict[str, MemberAnswer], dict[str, str]]:
        """Return what the members gave, by name, and why others did not run."""
        answers: dict[str, MemberAnswer] = {}
        left_out: dict[str, str] = {}
        for place, (name, options) in enumerate(self.members().items()):
            context.check_cancelled()
            own = replace(context, report=self._part(context, name, place))
            try:
                answer = context.run_method(name, scene, own, options)
            except (SkippedError, UnsupportedError) as error:
                left_out[name] = str(error)
                continue
            if answer.prediction.dsm is None:
                left_out[name] = "it gives no DSM"
            else:
                answers[name] = answer
        return answers, left_out

    def _part(self, context: Context, name: str, place: int) -> Any:  # noqa: ANN401  # as Context.report is typed
        """Return a reporter of one member's progress as a part of the whole."""
        count = len(self.config.members)

        def report(fraction: float, message: str) -> None:
            context.report((place + fraction) / count, f"{name}: {message}")

        return report

    def _sigma(self, name: str, prediction: Prediction) -> NDArray[np.float32]:
        """Return the standard deviations of a member's heights, [rows, cols] in metres."""
        assert prediction.dsm is not None  # members without one were left out
        unknown = np.float32(self.config.sigmas_m.get(name, self.config.unknown_sigma_m))
        stated = None if name in self.config.sigmas_m else prediction.confidence
        if stated is None:
            return np.full(prediction.dsm.grid.shape, unknown, np.float32)
        return np.where(np.isfinite(stated), stated, unknown).astype(np.float32)
