"""The enhancer's training as a task of the shared loop (docs/methods/pix2pix.md): discriminator, then generator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from refbench.contracts.method import derived_rng
from refbench.training.task import CheckpointFiles, TrainState, TrainTask
from refbench.weights.checkpoint import read_checkpoint
from refbench_pix2pix.official.checkpoints import read_training, write_training
from refbench_pix2pix.training.fake_pool import FakePool
from refbench_pix2pix.training.losses import adversarial, edge_loss, gradient_penalty, normal_loss
from refbench_pix2pix.training.schedule import build_schedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from refbench_pix2pix.config import TrainingConfig
    from refbench_pix2pix.network.pair import Pair

FILES = CheckpointFiles("", "latest.pt", "best.pt")
BETA2 = 0.999
SAMPLE_IMAGES = 4


class Pix2PixTask(TrainTask):
    """Tiles from paired samples: ``x`` inputs, ``y`` reference, ``mask`` what counts, all [B, C, H, W]."""

    score = "mae"
    score_is_loss = True
    files = FILES

    def __init__(
        self,
        pair: Pair,
        batches: torch.utils.data.Dataset[Any],
        config: TrainingConfig,
        *,
        per_epoch: int,
        validation: Sequence[Mapping[str, Tensor]] = (),
        seed: int = 0,
    ) -> None:
        """Take the networks, the batches (``per_epoch`` of them an epoch) and validation batches."""
        self.model: Pair = pair
        self.batches, self.config, self.per_epoch, self.validation = batches, config, per_epoch, validation
        betas = (config.beta1, BETA2)
        nets = (pair.generator, pair.discriminator)
        self.optimizers = [torch.optim.Adam(net.parameters(), lr=config.lr, betas=betas, fused=True) for net in nets]
        self.optimizer, self.adversary_optimizer = self.optimizers
        self.schedules = [build_schedule(optimizer, config) for optimizer in self.optimizers]
        self.scheduler = None
        self.batches_per_step = config.devices  # each device takes a batch of every step
        self._pool = FakePool(config.pool_size, seed)
        self._seed, self._steps = seed, 0
        self._fake: Tensor | None = None

    def adversary_loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """Return the discriminator's loss; the generator's answer is kept for ``loss``.

        A scalar, and plain numbers by name.
        """
        config, discriminator = self.config, self.model.discriminator
        discriminator.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):  # dropout draws from torch's own generator
            torch.manual_seed(int(derived_rng(self._seed, "dropout", self._steps).integers(2**31)))
            self._fake = self.model.generator(batch["x"])
        shown = torch.cat([batch["x"], self._filled(self._fake, batch)], 1).detach()
        fakes = self._pool.draw(shown)
        reals = torch.cat([batch["x"], batch["y"]], 1)
        on_fake = adversarial(discriminator(fakes), False, config.gan_mode)
        on_real = adversarial(discriminator(reals), True, config.gan_mode)
        loss = (on_fake + on_real) / 2
        if config.gradient_penalty:
            draws = derived_rng(self._seed, "penalty", self._steps).random(len(reals), np.float32)
            mix = torch.from_numpy(draws).to(reals.device)
            loss = loss + gradient_penalty(discriminator, reals, fakes, mix=mix, weight=config.gradient_penalty)
        return loss, {"D_fake": on_fake.detach(), "D_real": on_real.detach(), "D": loss.detach()}  # type: ignore[dict-item]

    def loss(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, float]]:
        """Return the generator's loss against the discriminator as it is now. A scalar, and plain numbers by name."""
        config, discriminator, fake = self.config, self.model.discriminator, self._fake
        if fake is None:
            raise RuntimeError("The loop asks for the adversary's loss first.")
        self._fake = None
        discriminator.requires_grad_(False)
        filled = self._filled(fake, batch)
        gan = adversarial(discriminator(torch.cat([batch["x"], filled], 1)), True, config.gan_mode)
        l1 = masked_l1(fake, batch["y"], batch.get("mask"))
        loss = gan + config.lambda_L1 * l1
        if config.lambda_normals:
            loss = loss + config.lambda_normals * normal_loss(filled, batch["y"], batch["pixels_per_unit"])
        if config.beta_MSE:
            loss = loss + config.beta_MSE * edge_loss(filled, batch["y"])
        values = {"G_GAN": gan.detach(), "G_L1": l1.detach(), "MSE": functional.mse_loss(filled, batch["y"]).detach()}
        # The loop sums gradients over the batches of a step; their mean is wanted, as on one device.
        return loss / self.batches_per_step, {**values, "G": loss.detach()}  # type: ignore[dict-item]

    def _filled(self, fake: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return fakes with the reference where it is unknown (it holds a filler there): nobody judges that."""
        mask = batch.get("mask")
        return fake if mask is None else torch.where(mask, fake, batch["y"])

    def validate(self, device: torch.device) -> dict[str, float]:
        """Return the mean absolute error of the validation tiles in metres."""
        total, count = 0.0, 0
        for batch in self.validation:
            fake = self.model.generator(batch["x"].to(device)).cpu()
            error = (fake - batch["y"]).abs() * batch["metres_per_unit"].reshape(-1, 1, 1, 1)
            total, count = total + float(error[batch["mask"]].sum()), count + int(batch["mask"].sum())
        return {"mae": total / count} if count else {}

    def images(self, device: torch.device) -> dict[str, np.ndarray[Any, Any]]:
        """Return input, refined and true heights of the first validation tiles side by side, on one grey scale each.

        Uint8 [rows, cols].
        """
        found = {}
        for number, batch in enumerate(self.validation[:SAMPLE_IMAGES]):
            fake = self.model.generator(batch["x"].to(device)).cpu()
            row = torch.cat([batch["x"][0, 0], fake[0, 0], batch["y"][0, 0]], dim=1).float().numpy()
            low, high = np.percentile(row, (1, 99))
            grey = np.clip((row - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
            found[f"input, refined, reference/{number}"] = grey
        return found

    def epochs(self, step: int) -> int:
        """Return how many epochs are complete after ``step`` steps."""
        return step // self.per_epoch

    def after_step(self, step: int) -> None:
        """Let the learning rates fall at the end of an epoch."""
        self._steps = step
        if step % self.per_epoch == 0:
            for schedule in self.schedules:
                if not isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
                    schedule.step()

    def after_validation(self, scores: Mapping[str, float]) -> None:
        """Let a plateau schedule look at the score."""
        for schedule in self.schedules:
            if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
                schedule.step(scores[self.score])

    def backup_name(self, state: TrainState) -> str:
        """Return the name of a checkpoint that is kept: its epoch."""
        return f"{self.epochs(state.step)}.pt"

    def write(self, path: Path, state: TrainState) -> None:
        """Write a checkpoint to resume from, and the two official files beside it."""
        write_training(path, self.model, self.optimizers, self.schedules, state)

    def read_model(self, path: Path) -> None:
        """Restore the generator alone."""
        self.model.generator.load_state_dict(read_checkpoint(path)["networks"]["generator"])

    def read(self, path: Path) -> TrainState:
        """Restore from a checkpoint of ``write``."""
        state = read_training(path, self.model, self.optimizers, self.schedules)
        self._steps = state.step
        return state


def masked_l1(fake: Tensor, real: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean |fake - real| over the pixels of ``mask``; None counts all.

    Tiles are [B, 1, H, W], normalised heights in [-1, 1].
    """
    if mask is None:
        return functional.l1_loss(fake, real)
    return ((fake - real).abs() * mask).sum() / mask.sum().clamp(min=1)
