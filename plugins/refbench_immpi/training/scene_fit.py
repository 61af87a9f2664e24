"""The overfitting of the generator to the posed images of one scene, pair after pair of views."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import UnsupportedError
from refbench.training.per_scene import digest_of
from refbench_immpi.network.network import SCALES, check_batch
from refbench_immpi.planes.mpi import padded
from refbench_immpi.views.pairs import neighbours, spread_references

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from refbench_immpi.config import OptimiseConfig
    from refbench_immpi.planes.mpi import Networks
    from refbench_immpi.training.loss_terms import Comparer
    from refbench_immpi.views.posed import Posed

NO_NUMBERS = ("checkpoint_s", "views")
"""Keys that do not touch the numbers, or whose effect is looked at instead."""


@dataclass(frozen=True, slots=True)
class FitStep:
    """One step: its number, which pair, its loss and the terms."""

    step: int
    reference: str
    target: str
    total: float
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
    """The optimisation of one scene, for ``refbench.training.per_scene.optimise``.

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
        self.taken = 0

    @property
    def total_steps(self) -> int:
        """How many steps are configured."""
        return self.config.steps

    def losses(self, reference: Posed, target: Posed) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a pair and its terms. Both scalars."""
        features = self._features.get(reference.name)
        if features is None:
            features = self.networks.encoder(self._images[reference.name])
        mpi = self.networks.generator(features, self.comparer.planes.number, SCALES)
        found = self.comparer.losses(mpi, reference, target)
        return found.total, found.terms

    def step(self) -> FitStep:
        """Take one step on the next pair."""
        reference, target = self.pairs[self.taken % len(self.pairs)]
        lr = self._learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss, terms = self.losses(reference, target)
        torch.autograd.backward(loss)
        self.optimizer.step()
        self.taken += 1
        values = {name: float(value.detach()) for name, value in terms.items()}
        return FitStep(self.taken, reference.name, target.name, float(loss.detach()), values, lr)

    def steps(self, done: int) -> Iterator[FitStep]:
        """Take the steps after the first ``done``."""
        for _ in range(done, self.config.steps):
            yield self.step()

    def rates(self) -> list[float]:
        """Return the learning rate of the last step."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def digest(self, seed: int) -> str:
        """Return the SHA-256 of what the numbers depend on: configuration, images, cameras, weights to start from."""
        config = {key: value for key, value in dataclasses.asdict(self.config).items() if key not in NO_NUMBERS}
        comparer = self.comparer
        facts = {
            "optimise": config, "planes": dataclasses.asdict(comparer.planes), "seed": seed,
            "loss": dataclasses.asdict(comparer.weights), "half_pixel": comparer.half_pixel,
            "norms": self.networks.batch_norms, "pairs": [[a.name, b.name] for a, b in self.pairs],
        }  # fmt: skip
        return digest_of(facts, self._inputs())

    def _inputs(self) -> Iterator[Tensor | NDArray[Any]]:
        seen: set[int] = set()
        for view in (view for pair in self.pairs for view in pair):
            if id(view) not in seen:
                seen.add(id(view))
                yield from (view.image, view.K, view.E, torch.tensor([view.near, view.far], dtype=torch.float64))
        nets = [self.networks.encoder, self.networks.generator]
        for net in nets if self.comparer.lpips is None else [*nets, self.comparer.lpips]:
            yield from net.state_dict().values()

    def state(self) -> dict[str, Any]:
        """Return networks, optimiser and the number of steps."""
        return {
            "encoder": self.networks.encoder.state_dict(),
            "generator": self.networks.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "taken": self.taken,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Bring networks and optimiser to a state that ``state`` returned."""
        self.networks.encoder.load_state_dict(state["encoder"])
        self.networks.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.taken = int(state["taken"])

    def _learning_rate(self) -> float:
        """Set and return the learning rate: divided after every milestone."""
        fraction = self.taken / max(1, self.config.steps)
        passed = sum(fraction >= milestone for milestone in self.config.milestones)
        lr = self.config.lr / self.config.divisor**passed
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr
