"""Training over many scenes (docs/methods/immpi.md): a view and a random neighbour a step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from refbench.contracts.errors import InputError, WeightsError
from refbench.contracts.method import derived_rng
from refbench.training.task import CheckpointFiles, TrainState, TrainTask
from refbench.weights.checkpoint import read_checkpoint
from refbench_immpi.network.network import SCALES, check_batch
from refbench_immpi.official.checkpoints import NETWORKS
from refbench_immpi.planes.mpi import padded
from refbench_immpi.views.pairs import neighbours

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from refbench_immpi.config import TrainingConfig
    from refbench_immpi.network.pair import Pair
    from refbench_immpi.training.loss_terms import Comparer
    from refbench_immpi.views.posed import Posed

FILES = CheckpointFiles("", "latest.pt", "best.pt")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A view whose planes are learnt, and those that may be compared with it, as published or the nearest ones."""

    reference: Posed
    targets: tuple[Posed, ...]


class Draws(torch.utils.data.Dataset[tuple[int, int]]):
    """Batch number n: places of a sample and of its neighbour.

    An epoch goes through all samples in an order of its own, each with one random neighbour.
    """

    def __init__(self, samples: Sequence[Sample], seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, number: int) -> tuple[int, int]:
        """Return the places of a sample and of its neighbour."""
        epoch, place = divmod(number, len(self.samples))
        order = derived_rng(self.seed, "epoch", epoch).permutation(len(self.samples))
        chosen = int(order[place])
        targets = len(self.samples[chosen].targets)
        return chosen, int(derived_rng(self.seed, "neighbour", number).integers(targets))


def samples_of(
    views: Sequence[Posed], number: int, turned: Callable[[Posed], Posed] = lambda view: view
) -> list[Sample]:
    """Return every view, as ``turned`` makes it, with its nearest ``number`` (0: all); lonely views are left out."""
    found = [Sample(turned(view), tuple(neighbours(view, views, number))) for view in views]
    return [sample for sample in found if sample.targets]


class PriorTask(TrainTask):
    """Both networks, trained on pairs of views of many scenes."""

    score = "loss"
    score_is_loss = True
    files = FILES

    def __init__(
        self,
        networks: Pair,
        samples: Sequence[Sample],
        comparer: Comparer,
        config: TrainingConfig,
        *,
        steps: int,
        validation: Sequence[Sample] = (),
        seed: int = 0,
    ) -> None:
        if not samples:
            raise InputError("There is no pair of views to train ImMPI on: give scenes with two pinhole views or more.")
        self.model: Pair = networks
        self.batches: Draws = Draws(samples, seed)
        self.comparer, self.config, self.validation = comparer, config, validation
        self.optimizer = torch.optim.Adam(networks.parameters(), lr=config.lr, fused=True)
        self.scheduler = torch.optim.lr_scheduler.MultiStepLR(
            self.optimizer, [max(1, round(fraction * steps)) for fraction in config.milestones], 1 / config.divisor
        )

    def loss(self, batch: tuple[int, int]) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Return the loss of a view against one neighbour. A scalar, and plain numbers by name of the term."""
        chosen, place = batch
        total, terms = self.compared(self.batches.samples[chosen], place)
        return total, {name: value.detach() for name, value in terms.items()}

    def compared(self, sample: Sample, place: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return total and terms of a pair. Scalars, losses without a unit."""
        device = next(self.model.parameters()).device
        image = padded(torch.from_numpy(sample.reference.image)[None].to(device))
        check_batch(image.shape, self.model.training)
        mpi = self.model.generator(self.model.encoder(image), self.comparer.planes.number, SCALES)
        found = self.comparer.losses(mpi, sample.reference, sample.targets[place])
        return found.total, found.terms

    def _networks(self) -> tuple[tuple[str, nn.Module], ...]:
        return tuple(zip(NETWORKS, (self.model.encoder, self.model.generator), strict=True))

    def validate(self, device: torch.device) -> dict[str, float]:
        """Return the mean loss of every validation view against its first neighbour, with running norms."""
        del device
        rows = [self.compared(sample, 0) for sample in self.validation]
        if not rows:
            return {}
        means = {"loss": float(np.mean([float(total) for total, _ in rows]))}
        return means | {name: float(np.mean([float(terms[name]) for _, terms in rows])) for name in rows[0][1]}

    def write(self, path: Path, state: TrainState) -> None:
        """Write a checkpoint of the official layout that holds, besides, what resuming needs."""
        content = {
            "epoch": state.step // len(self.batches.samples) - 1,
            **{name: _bare(net) for name, net in self._networks()},
            "optimizer": self.optimizer.state_dict(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "step": state.step,
            "seconds": float(state.seconds),
            "best": state.best,
        }
        beside = path.with_name(f".{path.name}.new")
        try:
            torch.save(content, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def read_model(self, path: Path) -> None:
        """Restore both networks alone."""
        content = read_checkpoint(path)
        for name, net in self._networks():
            net.load_state_dict(content[name])

    def read(self, path: Path) -> TrainState:
        """Restore a checkpoint of ``write``, or an official one, whose count of epochs is kept.

        Raises
        ------
        WeightsError
            Damaged or of other networks.
        """
        content: dict[str, Any] = read_checkpoint(path)
        try:
            for name, net in self._networks():
                net.load_state_dict(content[name])
            if content.get("optimizer"):
                self.optimizer.load_state_dict(content["optimizer"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise WeightsError(f"{path} is no checkpoint of these networks: {_short(error)}.") from None
        step = int(content.get("step", (int(content["epoch"]) + 1) * len(self.batches.samples)))
        if self.scheduler is not None and content.get("scheduler"):
            self.scheduler.load_state_dict(content["scheduler"])
        return TrainState(step=step, seconds=float(content.get("seconds", 0.0)), best=content.get("best"))


def _bare(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in net.state_dict().items()}


def _short(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error))[:300]
