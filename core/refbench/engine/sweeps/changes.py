"""Two sweeps side by side: per method and scene, what changed beyond noise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from refbench.contracts.errors import InputError, RefbenchError
from refbench.engine.inputs.scene import open_scene
from refbench.engine.sweeps.common_domain import compare_jobs, compare_sweep, dsm_loaders, moved, shift_of, surfaces
from refbench.engine.sweeps.finished import by_label, by_scene, is_run, read_run, read_sweep
from refbench.evaluation.comparison import compare
from refbench.evaluation.metrics import METRICS, RANKED
from refbench.evaluation.ranking import MIN_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from refbench.engine.sweeps.finished import SweepJob

Basis = Literal["identical", "paired", "intervals", "none"]
SIDES = ("A", "B")


@dataclass(frozen=True, slots=True)
class Change:
    """One method on one scene in both sweeps.

    ``basis`` is how the numbers were compared: ``identical`` DSMs byte for byte; ``paired`` on the same pixels and
    blocks, because the scene's files are the same; ``intervals`` that overlap or not, each DSM on its own domain;
    ``none`` where a side has no DSM. ``metrics`` is key -> ``a``, ``b``, ``value`` = b - a, ``low``, ``high`` (None
    where not paired), ``blocks`` and ``better``: ``A``, ``B`` or None where nothing changed beyond noise.
    """

    scene: str
    label: str
    jobs: tuple[tuple[SweepJob, ...], tuple[SweepJob, ...]]
    basis: Basis
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    remark: str = ""

    @property
    def statuses(self) -> tuple[str, str]:
        """The statuses of both sides, such as ``ok`` or ``ok, timeout``; ``missing`` where there is no job."""
        first, second = (", ".join(dict.fromkeys(c.result.status.value for c in of)) or "missing" for of in self.jobs)
        return first, second

    def cost(self, name: str) -> tuple[float | None, float | None]:
        """Return the mean of a figure of ``Cost`` on both sides."""
        first, second = (_mean([getattr(job.result.cost, name) for job in of]) for of in self.jobs)
        return first, second


def _mean(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return sum(given) / len(given) if given else None


def sweep_changes(first: Path, second: Path) -> list[Change]:
    """Return the changes from ``first`` to ``second``, two sweeps, for every method and scene that either has.

    Two runs are compared likewise, also those of two methods.

    Raises
    ------
    InputError
        One of them is no folder of a sweep or a run, one is a sweep and the other a run, or two runs are of two scenes.
    """
    if is_run(first) and is_run(second):
        return [_change_of_runs(read_run(first), read_run(second))]
    for out, other in ((first, second), (second, first)):
        if is_run(out) and not is_run(other):
            raise InputError(f"{out} is a run and {other} is not; give two runs or two sweeps.")
    sides = [by_scene(read_sweep(out)) for out in (first, second)]
    compared = [compare_sweep(out) for out in (first, second)]
    found = []
    for scene in sorted({*sides[0], *sides[1]}):
        labelled = [by_label(side.get(scene, ())) for side in sides]
        rows = [of.get(scene, {}) for of in compared]
        for label in sorted({*labelled[0], *labelled[1]}):
            pair = (tuple(labelled[0].get(label, ())), tuple(labelled[1].get(label, ())))
            found.append(_change(scene, label, pair, rows))
    return found


def _change_of_runs(first: SweepJob, second: SweepJob) -> Change:
    """Compare two runs on one scene; their label names both methods where these differ."""
    if first.scene != second.scene:
        raise InputError(
            f"{first.folder} is of scene {first.scene}, {second.folder} of {second.scene}; give two runs on one scene."
        )
    label = first.label if first.label == second.label else f"{first.label}, {second.label}"
    jobs = tuple(replace(job, label=label) for job in (first, second))
    return _change(first.scene, label, ((jobs[0],), (jobs[1],)), [compare_jobs([job])[0] for job in jobs])


def _change(
    scene: str,
    label: str,
    jobs: tuple[tuple[SweepJob, ...], tuple[SweepJob, ...]],
    rows: Sequence[Mapping[str, Any]],
) -> Change:
    scored = [[job for job in of if job.dsm_path is not None] for of in jobs]
    if not all(scored):
        return Change(scene, label, jobs, "none")
    own = [row.get("methods", {}).get(label, {}).get("own", {}) for row in rows]
    unpaired = {key: change for key in RANKED if (change := _by_intervals(key, own)) is not None}
    if scored[0][0].result.hashes.inputs != scored[1][0].result.hashes.inputs:
        return Change(scene, label, jobs, "intervals", unpaired, "the scene's files differ")
    files = [[job.result.hashes.outputs.get(job.result.outputs["dsm"]) for job in of] for of in scored]
    if None not in files[0] and files[0] == files[1]:
        same = {key: {**of, "value": 0.0, "better": None} for key, of in unpaired.items()}
        return Change(scene, label, jobs, "identical", same)
    try:
        return Change(scene, label, jobs, "paired", _paired(scored))
    except RefbenchError as error:
        return Change(scene, label, jobs, "intervals", unpaired, str(error))


def _paired(scored: Sequence[Sequence[SweepJob]]) -> dict[str, dict[str, Any]]:
    """Compare both sides' DSMs as two methods of one scene."""
    initial, reference, masks, gt_mask = surfaces(open_scene(scored[0][0].request()))
    shifts = [shift_of(jobs) for jobs in scored]
    loaders = {side: dsm_loaders(jobs, at) for side, jobs, at in zip(SIDES, scored, shifts, strict=True)}
    # What refinement did to the input is told by the pair where both sides laid that input down alike.
    baseline = None if initial is None or shifts[0] != shifts[1] else moved(initial, shifts[0])
    found = compare(reference, loaders, baseline=baseline, masks=masks, gt_mask=gt_mask).values
    names = {"first": SIDES[0], "second": SIDES[1], None: None}
    changes: dict[str, dict[str, Any]] = {}
    for key, entries in found["differences"]["all"].items():
        values = {side.lower(): found["methods"][side]["common"]["all"][key] for side in SIDES}
        for entry in entries:
            bounds = {name: entry[name] for name in ("value", "low", "high", "blocks")}
            changes[key] = {**values, **bounds, "better": names[entry["better"]]}
    return changes


def _by_intervals(key: str, own: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Compare two numbers of different pixels: beyond noise where their intervals do not overlap."""
    a, b = (of.get("all", {}).get(key) for of in own)
    if a is None or b is None:
        return None
    bounds = [of.get("intervals", {}).get("all", {}).get(key) for of in own]
    blocks = min((bound["blocks"] if bound else 0) for bound in bounds)
    change: dict[str, Any] = {
        "a": a,
        "b": b,
        "value": b - a,
        "low": None,
        "high": None,
        "blocks": blocks,
        "better": None,
    }
    if blocks >= MIN_BLOCKS and (bounds[0]["high"] < bounds[1]["low"] or bounds[1]["high"] < bounds[0]["low"]):
        is_second = METRICS[key].distance(b) < METRICS[key].distance(a)
        change["better"] = SIDES[1] if is_second else SIDES[0]
    return change
