"""The overfitting of the generator to the posed pictures of one scene (spec, section 6)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from refbench.contracts.errors import UnsupportedError
from refbench_immpi.network.network import SCALES, check_batch
from refbench_immpi.planes.mpi import padded
from refbench_immpi.views.pairs import neighbours, spread_references

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from refbench import Context
    from refbench_immpi.config import OptimiseConfig
    from refbench_immpi.planes.mpi import Networks
    from refbench_immpi.training.loss_terms import Comparer
    from refbench_immpi.views.posed import Posed

REPORT_S = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One step: its number, which pair, its loss and the terms."""

    step: int
    reference: str
    target: str
    loss: float
    terms: dict[str, float]
    lr: float


def pairs_of(
    views: Sequence[Posed], config: OptimiseConfig, turned: Callable[[Posed], Posed] = lambda view: view
) -> tuple[list[Posed], list[tuple[Posed, Posed]]]:
    """Return the references, each as ``turned`` makes it, and all pairs (reference, target), as they are looked at.

    Raises
    ------
    UnsupportedError
        A reference without any other view that its planes could be seen from.
    """
    references = spread_references(views, config.references)
    pairs, found = [], []
    for original in references:
        reference = turned(original)
        found.append(reference)
        targets = neighbours(reference, views, config.neighbours)
        if config.neighbours == 0:  # all: in the order of the scene, as published
            names = {view.name for view in targets}
            targets = [view for view in views if view.name in names]
        targets += [original] if config.supervise_reference else []
        if not targets:
            raise UnsupportedError(f"No other view could see the planes of view {reference.name}.")
        pairs += [(reference, target) for target in targets]
    if len(references) > 1:  # one reference after the other would let the first be forgotten
        of = [[pair for pair in pairs if pair[0] is reference] for reference in found]
        pairs = [row[turn] for turn in range(max(map(len, of))) for row in of if turn < len(row)]
    return found, pairs


class SceneFit:
    """The optimiser of one scene; ``step`` may be called as often as there are steps.

    The encoder's maps are made once (unless it is trained, too); the generator's norms take the statistics of each
    forward pass, as at inference.
    """

    def __init__(
        self, networks: Networks, pairs: Sequence[tuple[Posed, Posed]], comparer: Comparer, config: OptimiseConfig
    ) -> None:
        self.networks, self.pairs, self.comparer, self.config = networks, pairs, comparer, config
        device = networks.device
        self._images: dict[str, Tensor] = {}
        for reference, _ in pairs:
            if reference.name not in self._images:
                image = padded(torch.from_numpy(reference.image)[None].to(device))
                check_batch(image.shape, networks.batch_norms)
                self._images[reference.name] = image
        trained = list(networks.generator.parameters())
        if config.train_encoder:
            trained += list(networks.encoder.parameters())
        self.optimizer = torch.optim.Adam(trained, lr=config.lr, fused=True)
        self._features = {} if config.train_encoder else {n: networks.features(i) for n, i in self._images.items()}
        networks.generator.train(networks.batch_norms)
        networks.encoder.train(networks.batch_norms and config.train_encoder)
        self.steps = 0

    def losses(self, reference: Posed, target: Posed) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a pair and its terms."""
        features = self._features.get(reference.name)
        if features is None:
            features = self.networks.encoder(self._images[reference.name])
        mpi = self.networks.generator(features, self.comparer.planes.number, SCALES)
        found = self.comparer.losses(mpi, reference, target)
        return found.total, found.terms

    def step(self) -> Progress:
        """Take one step on the next pair."""
        reference, target = self.pairs[self.steps % len(self.pairs)]
        lr = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss, terms = self.losses(reference, target)
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        values = {name: float(value.detach()) for name, value in terms.items()}
        return Progress(self.steps, reference.name, target.name, float(loss.detach()), values, lr)

    def _learning_rate(self) -> float:
        """Set and return the learning rate: divided after every milestone."""
        share = self.steps / max(1, self.config.steps)
        passed = sum(share >= milestone for milestone in self.config.milestones)
        lr = self.config.lr / self.config.divisor**passed
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr


def fit_scene(fit: SceneFit, context: Context, report: Callable[[float, str], None]) -> list[Progress]:
    """Take all steps, tell how far it is, and return what was seen of each."""
    history: list[Progress] = []
    started = told = time.monotonic()
    for _ in range(fit.config.steps):
        context.check_cancelled()
        history.append(fit.step())
        now = time.monotonic()
        if now - told >= REPORT_S or len(history) in (1, fit.config.steps):
            told = now
            rate = len(history) / max(now - started, 1e-9)
            left = (fit.config.steps - len(history)) / rate
            last = history[-1]
            terms = ", ".join(f"{name} {value:.3g}" for name, value in last.terms.items())
            where = f"step {last.step}/{fit.config.steps}, loss {last.loss:.4g} ({terms})"
            text = f"{where}, {rate:.2g} steps/s, {left:.0f} s left"
            report(len(history) / fit.config.steps, text)
    fit.networks.generator.eval()
    fit.networks.encoder.eval()
    return history
