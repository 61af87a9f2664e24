"""Which views get planes, which ones they are compared with, which are held out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.contracts.errors import InputError
from refbench_immpi.views.posed import baseline_planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refbench_immpi.views.posed import Posed


def split(views: Sequence[Posed], holdout: int) -> tuple[list[Posed], list[Posed]]:
    """Return the views to learn from and those that are held out: every ``holdout``-th, the last of each stretch."""
    if holdout == 0 or len(views) < max(holdout, 3):
        return list(views), []
    held = [view for number, view in enumerate(views) if number % holdout == holdout - 1]
    return [view for view in views if view not in held], held


def chosen(views: Sequence[Posed], names: Sequence[str]) -> tuple[list[Posed], list[Posed]]:
    """Return the views of these names, in their order, and the others.

    Raises
    ------
    InputError
        A name that no view has.
    """
    of = {view.name: view for view in views}
    if missing := [name for name in names if name not in of]:
        raise InputError(f"optimise.views names {missing[0]}, but the scene has {', '.join(of)}.")
    return [of[name] for name in names], [view for view in views if view.name not in names]


def spread_references(views: Sequence[Posed], number: int) -> list[Posed]:
    """Return so many views, evenly spread over the list; 0 or more than there are: all."""
    if number == 0 or number >= len(views):
        return list(views)
    return [views[int(place)] for place in np.floor(np.arange(number) * len(views) / number)]


def neighbours(reference: Posed, views: Sequence[Posed], number: int) -> list[Posed]:
    """Return the other views that look from nearest by, nearest first; 0: all.

    Nearest by is the angle between the two lines of sight to where the reference looks; cameras that its planes pass
    through are left out.
    """
    others = [view for view in views if view.name != reference.name and baseline_planes(reference, view)]
    middle = 0.5 * (reference.near + reference.far)
    aim = np.linalg.inv(reference.E) @ np.array([0.0, 0.0, middle, 1.0])

    def angle(view: Posed) -> float:
        rays = [_centre(v) - aim[:3] for v in (reference, view)]
        cosine = rays[0] @ rays[1] / (np.linalg.norm(rays[0]) * np.linalg.norm(rays[1]))
        return float(np.arccos(np.clip(cosine, -1, 1)))

    ordered = sorted(others, key=lambda view: (angle(view), view.name))
    return ordered if number == 0 else ordered[:number]


def nearest_reference(target: Posed, references: Sequence[Posed]) -> Posed:
    """Return the reference that looks from nearest by at what the target sees."""
    found = [view for view in references if view.name == target.name] or neighbours(target, references, 1)
    return found[0] if found else references[0]


def _centre(view: Posed) -> np.ndarray:
    return np.asarray(-view.E[:3, :3].T @ view.E[:3, 3])
