"""ImMPI as a method of refbench: posed views in; depth maps, held-out views and a fused DSM out."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from refbench import Prediction
from refbench.contracts.errors import WeightsError
from refbench.contracts.estimate import Estimate
from refbench.training.learnt import first_network, without_weights
from refbench.training.per_scene import optimise
from refbench.training.step_log import StepLog, kept_log, log_folder
from refbench_immpi.baseline import held_out_scores
from refbench_immpi.config import ImMPIConfig, NetworkConfig
from refbench_immpi.network.pair import Pair
from refbench_immpi.official.checkpoints import write_official
from refbench_immpi.planes.mpi import Networks, multiplane_image
from refbench_immpi.training.loss_terms import Comparer, lpips_of, plane_depths
from refbench_immpi.training.scene_fit import SceneFit, pairs_of
from refbench_immpi.views.fusion import fuse
from refbench_immpi.views.nadir_view import turned
from refbench_immpi.views.pairs import chosen, nearest_reference, split
from refbench_immpi.views.posed import image_at, pinhole_cameras, posed_views
from refbench_immpi.weights import FACTS, filled_network, read_model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from refbench import Context, Scene
    from refbench.training import Trained
    from refbench_immpi.planes.mpi import MultiplaneImage
    from refbench_immpi.views.posed import Posed
    from refbench_immpi.weights import Stored

SPEED = 2.3
"""CPU seconds of a step for a megapixel of planes and a million parameters."""
PLANE_BYTES = 1000
"""Memory of a step for a pixel of a plane."""
OPTIMISED = "optimizedImMPI.ckpt"
"""Name of the optimised networks, as the official code looks for it."""
CHECKPOINT = "planes"
"""Name of the state file and of the curves."""
FITTED = 0.85
"""Fraction of the progress bar that the optimisation fills."""


class ImMPI:
    """Multiplane images, overfitted to the views of a scene."""

    def __init__(self, config: ImMPIConfig | None = None, weights: Path | None = None) -> None:
        """Open the weights; without any, fresh networks of the configured widths are there to be trained.

        Raises
        ------
        WeightsError
            The weights are damaged, or of other widths than the configuration asks for.
        """
        self.config = config or ImMPIConfig()
        self.is_trained = weights is not None
        self.weights_used: Path | None = None
        self.facts: dict[str, Any] = {}
        if weights is None:
            self.nets = Pair.fresh(self.config.network or NetworkConfig())
        else:
            self._adopt(read_model(Path(weights)))

    def _adopt(self, stored: Stored) -> None:
        """Build the networks and take what belongs to their weights."""
        asked = self.config.network
        if asked is not None and asked != stored.model:
            raise WeightsError(f"{stored.path} holds networks {stored.model}, the configuration asks for {asked}.")
        self.nets, self.weights_used, self.facts = filled_network(stored), stored.path, stored.facts(*FACTS)

    def refine(self, scene: Scene, context: Context) -> Prediction:
        """Optimise on the scene's views and return what its planes show.

        Raises
        ------
        SkippedError
            There are no weights to start from.
        UnsupportedError
            Fewer than two pinhole views, or nothing that tells their range of depths.
        """
        if not self.is_trained:
            raise without_weights("ImMPI", "immpi")
        config = self.config
        whole = posed_views(scene, config.planes.margin)
        views = [view.scaled(config.most_pixels) for view in whole]
        learnt, held = chosen(views, config.optimise.views) if config.optimise.views else split(views, config.holdout)
        nets = copy.deepcopy(self.nets).to(context.device)  # another scene begins with the weights, too
        networks = Networks(nets.encoder, nets.generator, config.norms == "batch")
        references, pairs = pairs_of(learnt, config.optimise, turned(scene, config))
        notes: dict[str, Any] = {
            "references": [view.name for view in references],
            "held_out": [view.name for view in held],
            "planes": config.planes.number,
            "image_px": list(views[0].shape),
            "remarks": self._remarks(),
        }
        notes["weights"] = None if self.weights_used is None else str(self.weights_used)
        notes |= self._optimised(networks, pairs, context)
        images = self._images(networks, references, context)
        shown = {view.name: self._shown(view, images) for view in views}
        files = kept_log(context)
        if context.scratch is not None:
            files["networks"] = context.scratch / OPTIMISED
            write_official(files["networks"], nets.encoder, nets.generator, max(0, notes["steps"] - 1), {})
        return self._prediction(scene, whole, views, held, images, shown, files, notes)

    def estimate(self, scene: Scene) -> Estimate:
        """Return the cost of the optimisation: steps times planes times the pixels of a reduced image.

        Raises
        ------
        UnsupportedError
            Fewer than two pinhole views.
        """
        shapes = [scene.views[name].image.shape for name in pinhole_cameras(scene)]
        pixels = max(rows * cols for rows, cols in shapes)
        pixels = min(pixels, self.config.most_pixels or pixels)
        parameters = sum(tensor.numel() for tensor in self.nets.parameters())
        work = self.config.planes.number * pixels / 1e6
        seconds = SPEED * (self.config.optimise.steps + len(shapes)) * work * parameters / 1e6
        return Estimate(int(PLANE_BYTES * self.config.planes.number * pixels), seconds)

    def _remarks(self) -> list[str]:
        trained = self.facts.get("planes")
        if (
            trained is not None
            and trained != self.config.planes.number
            and self.nets.generator.config.encoding == "scrambled"
        ):
            return [f"The weights know {trained} planes; with {self.config.planes.number} their encoding is another."]
        return []

    def _optimised(self, networks: Networks, pairs: Sequence[tuple[Posed, Posed]], context: Context) -> dict[str, Any]:
        """Optimise the networks in place and return what was seen; see ``optimise`` for the errors."""
        config = self.config.optimise
        if config.steps == 0:
            return {"steps": 0}
        comparer = Comparer.of(
            self.config.loss, self.config.planes, half_pixel=config.half_pixel, device=context.device
        )
        started = time.monotonic()
        progress = optimise(
            SceneFit(networks, pairs, comparer, config),
            context,
            CHECKPOINT,
            span=(0.0, FITTED),
            checkpoint_s=config.checkpoint_s,
            log=lambda done: StepLog(log_folder(context), CHECKPOINT, tuple(comparer.terms), resumed_step=done),
        )
        networks.generator.eval()
        networks.encoder.eval()
        losses = progress.losses
        turn = min(len(pairs), len(losses))
        return {
            "steps": len(losses),
            "seconds": round(time.monotonic() - started, 1),
            "loss_first": round(float(np.mean(losses[:turn])), 4),
            "loss_last": round(float(np.mean(losses[-turn:])), 4),
            **progress.notes,
        }

    def _images(self, networks: Networks, references: Sequence[Posed], context: Context) -> dict[str, MultiplaneImage]:
        """Return the planes of every reference by its name."""
        found = {}
        for number, view in enumerate(references):
            context.check_cancelled()
            fraction = FITTED + (1 - FITTED) * number / len(references)
            context.report(fraction, f"planes of view {number + 1} of {len(references)}")
            depths = plane_depths(view, self.config.planes)
            found[view.name] = multiplane_image(
                networks, view, depths, tile=self.config.tile, overlap=self.config.overlap
            )
        return found

    def _shown(self, view: Posed, images: Mapping[str, MultiplaneImage]) -> _Shown:
        """Return what the planes show in a view: its own, or those of the reference that looks from nearest by."""
        image = images[nearest_reference(view, [found.view for found in images.values()]).name]
        rendered = image.seen_from(view, depth=self.config.fusion.depth)
        hidden = (rendered.weight_sum[0, 0] >= self.config.fusion.opacity) & (rendered.mask[0, 0] > 0)
        depth = torch.where(hidden, rendered.depth[0, 0], torch.nan).cpu().numpy()
        return _Shown(
            depth.astype(np.float32),
            rendered.rgb[0].cpu().numpy().astype(np.float32),
            rendered.mask[0, 0].cpu().numpy() > 0,
            image.spacing,
        )

    def _prediction(
        self,
        scene: Scene,
        whole: Sequence[Posed],
        views: Sequence[Posed],
        held: Sequence[Posed],
        images: Mapping[str, MultiplaneImage],
        shown: Mapping[str, _Shown],
        files: Mapping[str, Path],
        notes: dict[str, Any],
    ) -> Prediction:
        learnt = [view for view in views if view not in held]
        medians = {v.name: float(np.nanmedian(shown[v.name].depth)) for v in learnt if _knows(shown[v.name].depth)}
        if held:
            lpips = lpips_of(self.config.loss, "cpu")
            notes["views"] = {
                v.name: held_out_scores(v, shown[v.name].rgb, shown[v.name].seen, learnt, medians, lpips) for v in held
            }
        dsm, count = None, None
        if scene.grid is not None:
            kept = [view for view in views if _knows(shown[view.name].depth)]
            dsm, count = fuse(
                kept,
                [shown[view.name].depth for view in kept],
                [shown[view.name].spacing for view in kept],
                scene.grid,
                self.config.fusion,
            )
        sizes = {view.name: view.shape for view in whole}
        rendered = {v.name: np.where(shown[v.name].seen, shown[v.name].rgb, np.float32(np.nan)) for v in held}
        return Prediction(
            dsm=dsm,
            layers={} if count is None else {"view_count": count},
            depths={name: image_at(found.depth, sizes[name]) for name, found in shown.items()},
            views={name: image_at(image, sizes[name]) for name, image in rendered.items()},
            files=files,
            notes=notes,
        )

    def fit(
        self,
        scenes: Sequence[Scene],
        context: Context,
        *,
        steps: int | None = None,
        folder: Path | None = None,
        resume: bool = False,
    ) -> Trained:
        """Train both networks over many scenes, from these weights or afresh; see ``fit.fit_scenes``."""
        from refbench_immpi.training.fit import fit_scenes  # Fabric is loaded for training only

        shape = self.nets.generator.config
        nets = first_network(self.nets if self.is_trained else None, context.seed, lambda: Pair.fresh(shape))
        return fit_scenes(nets, self.config, scenes, context, steps=steps, folder=folder, resume=resume)


class _Shown:
    """What the planes show in one view: depth [h, w], rgb [3, h, w], where [h, w], and the gap between planes."""

    __slots__ = ("depth", "rgb", "seen", "spacing")

    def __init__(
        self, depth: NDArray[np.float32], rgb: NDArray[np.float32], seen: NDArray[np.bool_], spacing: float
    ) -> None:
        self.depth, self.rgb, self.seen, self.spacing = depth, rgb, seen, spacing


def _knows(depth: NDArray[np.float32]) -> bool:
    return bool(np.isfinite(depth).any())
