"""What the method does with what it is given: needs honoured, inputs unchanged, the reference never touched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from refbench.contracts.need import Need
from refbench.contracts.raster import DSM
from refbench.formats.raster import ArraySource
from refbench.testing import scenes
from refbench.testing.check import check
from refbench.testing.require import applies, require
from refbench.testing.subject import difference, ended_well

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from refbench.contracts.scene import Scene
    from refbench.testing.subject import Subject

_PARTS = {"dsm": (Need.DSM,), "points": (Need.POINTS,), "ndvi": (Need.NDVI,)}
"""Sources of a scene and the needs that open them."""
_REFERENCE_RAISED_M = 37.0


@check("inputs-unchanged", after=("shape",))
def inputs_unchanged(subject: Subject) -> None:
    """The scene's arrays and the tiles are as they were after the run."""
    scene = subject.scene()
    before = {name: values.copy() for name, values in contents(scene)}
    trial = subject.trial(scene)
    changed = [name for name, values in contents(scene) if not np.array_equal(values, before[name], equal_nan=True)]
    require(not changed, f"it changed {', '.join(changed)} of the scene")
    require(not trial.changed_inputs, f"it changed {', '.join(trial.changed_inputs)} of its tiles; work on a copy")


def contents(scene: Scene) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield name and array of every source of a scene in memory. Arrays of any shape and unit."""
    if scene.dsm is not None:
        yield "dsm", scene.dsm.read().heights
    if scene.points is not None:
        yield "points", scene.points.read().xyz
    if scene.ndvi is not None:
        yield "ndvi", scene.ndvi.read().pixels
    for name, image in scene.orthos.items():
        yield f"ortho {name}", image.read().pixels
    for name, view in scene.views.items():
        yield f"image of {name}", view.image.read().pixels
        if view.depth is not None:
            yield f"depth of {name}", view.depth.read().pixels
    for name, mask in scene.masks.items():
        yield f"mask {name}", mask.read().values


@dataclass(frozen=True)
class Tripwire:
    """A source that tells when it is read."""

    source: Any
    seen: Callable[[], None]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever the source has
        """Return what the source has; reading it is noted."""
        if name in ("read", "bounds", "count"):
            self.seen()
        return getattr(self.source, name)


@check("needs-declared", after=("shape",))
def needs_declared(subject: Subject) -> None:
    """It reads nothing that its record does not ask for."""
    asked, read = set(subject.needs()), set[str]()
    scene = scenes.scene(scenes.EVERYTHING)

    def wired(name: str, source: Any) -> Any:  # noqa: ANN401  # a source of any kind
        return Tripwire(source, lambda: read.add(name))

    # Bridges may open what makes up for something: only what nobody needs is wired, and grids come with the scene.
    for name, needs in _PARTS.items():
        if not asked & set(needs) and (name != "dsm" or subject.is_tiled):
            scene = replace(scene, **{name: wired(name, getattr(scene, name))})
    if not asked & {Need.ORTHO, Need.ORTHO_PAIR}:
        scene = replace(scene, orthos={name: wired("orthos", image) for name, image in scene.orthos.items()})
    if not asked & {Need.VIEWS, Need.DEPTHS}:
        views = {n: replace(v, image=wired("views", v.image), depth=None) for n, v in scene.views.items()}
        scene = replace(scene, views=views)
    scene = replace(scene, masks={name: wired("masks", mask) for name, mask in scene.masks.items()})
    ended_well(subject.trial(scene))
    require(not read, f"it reads {', '.join(sorted(read))} without naming it in needs or optional")


@check("optional-absent", after=("shape",))
def optional_absent(subject: Subject) -> None:
    """It runs on a scene that holds what it needs and nothing of what is optional."""
    applies(bool(subject.record.optional), "nothing is optional")
    ended_well(subject.trial(subject.scene(optional=False)))


@check("reference-untouched", after=("shape",))
def reference_untouched(subject: Subject) -> None:
    """Another reference beside the inputs does not change the answer."""
    first = subject.scene()
    assert first.reference is not None and first.reference.dsm is not None
    reference = first.reference.dsm.read()
    raised = ArraySource(DSM(reference.heights + np.float32(_REFERENCE_RAISED_M), reference.grid))
    second = replace(first, reference=replace(first.reference, dsm=raised))
    trials = []
    from refbench.scenes.scene_yaml import load_scene

    for name, scene in (("reference-a", first), ("reference-b", second)):
        trials.append(ended_well(subject.trial(load_scene(subject.written_scene(name, scene)))))
    worst, where = difference(*trials)
    # A method that draws numbers of its own may differ a little; one that looks at the reference follows it.
    require(worst < _REFERENCE_RAISED_M / 4, f"{where} follows the reference, by {worst:.3g} m")
