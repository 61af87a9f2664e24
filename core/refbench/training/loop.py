"""The loop: steps with summed gradients, validation, checkpoints, curves and progress, on Lightning Fabric."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch

from refbench.contracts.errors import CancelledError, InputError, MissingExtraError
from refbench.training.batches import batch_loader
from refbench.training.log import CurveFile, duration, tensorboard_writer
from refbench.training.task import TrainState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refbench.training.settings import TrainSettings
    from refbench.training.task import TrainTask, Values

    Outcome = tuple[TrainState, dict[str, NDArray[Any]] | None]

Log = Callable[[dict[str, float]], None]
REPORT_EVERY_SECONDS = 1.0


def _fabric() -> Any:  # noqa: ANN401  # Fabric is not typed here
    try:
        import lightning_fabric as fabric
    except ImportError:
        raise MissingExtraError(
            "Training needs Lightning Fabric: pip install 'refbench[training]' brings it."
        ) from None
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return fabric


class Observer(Protocol):
    """What a training tells and asks: progress in [0, 1] with a message, and whether to stop. A ``Context`` is one."""

    @property
    def report(self) -> Callable[[float, str], None]:
        """Takes progress."""

    @property
    def is_cancelled(self) -> Callable[[], bool]:
        """Tells whether to stop."""


class _Rhythm:
    """What happens after a step: logs, validation, checkpoints, progress."""

    def __init__(self, task: TrainTask, settings: TrainSettings, state: TrainState, context: Observer | None) -> None:
        self.task, self.settings, self.state, self.context = task, settings, state, context
        self.first_step, self.seconds_before = state.step, state.seconds
        self.start = self.reported = time.monotonic()
        self.written = state.step
        self.validated = -1
        self.curves = self.scores = None
        if settings.folder is not None:
            (settings.folder / task.files.folder).mkdir(parents=True, exist_ok=True)
            self.curves = CurveFile(settings.folder / "training.csv", state.step)
            self.scores = CurveFile(settings.folder / "validation.csv", state.step)

    def _is_due(self, every: int) -> bool:
        return every > 0 and (self.state.step % every == 0)

    def _is_last(self) -> bool:
        return self.state.step >= self.settings.steps

    def after_step(self, read: Callable[[], dict[str, float]], device: torch.device, log: Log) -> None:
        """Do what is due after one optimiser step (rank 0 only); ``read`` waits for the device."""
        state, settings = self.state, self.settings
        state.seconds = self.seconds_before + time.monotonic() - self.start
        if self._is_due(settings.log_every) or self._is_last():
            values = read()
            log(values)
            if self.curves is not None:
                self.curves.add({"step": state.step, "seconds": round(state.seconds, 2), **values})
        if self._is_due(settings.validate_every) or (settings.validate_every > 0 and self._is_last()):
            self._validate(device, log)
        if self._is_due(settings.checkpoint_every) or self._is_last():
            self.write(self.task.files.last)
        if self._is_due(settings.backup_every):
            self.write(self.task.backup_name(state))
        self._report(read)

    def write(self, name: str) -> None:
        """Write one checkpoint, where the training has a folder."""
        if self.settings.folder is not None:
            self.task.write(self.settings.folder / self.task.files.folder / name, self.state)
        if name == self.task.files.last:
            self.written = self.state.step

    def finish(self) -> None:
        """Write the last checkpoint where the training was ended between two."""
        if self.written != self.state.step:
            self.write(self.task.files.last)

    def _validate(self, device: torch.device, log: Log) -> None:
        task, state = self.task, self.state
        was_training = task.model.training
        task.model.eval()
        with torch.no_grad():
            scores = dict(task.validate(device))
        task.model.train(was_training)
        if not scores:
            return
        self.validated = state.step
        row = {"step": float(state.step), **scores}
        state.history.append(row)
        log({f"validation/{key}": value for key, value in scores.items()})
        if self.scores is not None:
            self.scores.add({**row, "step": state.step})
        if task.score and task.is_better(scores[task.score], state.best):
            state.best = scores[task.score]
            self.write(task.files.best)
        task.after_validation(scores)

    def _report(self, read: Callable[[], dict[str, float]]) -> None:
        now = time.monotonic()
        if self.context is None or (now - self.reported < REPORT_EVERY_SECONDS and not self._is_last()):
            return
        self.reported = now
        step, steps = self.state.step, self.settings.steps
        rate = (step - self.first_step) / max(now - self.start, 1e-9)
        left = duration((steps - step) / rate)
        text = f"step {step}/{steps}, loss {read()['loss']:.4g}, {rate:.3g} steps/s, {left} left"
        if self.state.best is not None:
            text += f", best {self.task.score} {self.state.best:.4g}"
        self.context.report(step / steps, text)


class _Batch:
    """A batch on its way through the wrapped module: out of the reach of what casts a module's arguments."""

    __slots__ = ("content",)

    def __init__(self, content: Any) -> None:  # noqa: ANN401  # the task's own type
        self.content = content


class _Objective(torch.nn.Module):
    """The losses of a task as calls of one module: strategies and precisions act on such calls."""

    def __init__(self, task: TrainTask) -> None:
        super().__init__()
        self.model, self.task = task.model, task

    def forward(self, batch: _Batch, of_adversary: bool = False) -> tuple[torch.Tensor, Values]:
        """Return the loss of a batch, and values to log."""
        return (self.task.adversary_loss if of_adversary else self.task.loss)(batch.content)


class _Steps:
    """The optimiser steps of one process: gradients are summed, not averaged, over the batches of a step and ranks."""

    def __init__(self, task: TrainTask, rhythm: _Rhythm, fabric: Any) -> None:  # noqa: ANN401  # Fabric
        self.task, self.rhythm, self.fabric = task, rhythm, fabric
        both = [task.optimizer] if task.adversary_optimizer is None else [task.optimizer, task.adversary_optimizer]
        self.objective, *self.optimizers = fabric.setup(_Objective(task), *both)
        settings = rhythm.settings
        is_first = fabric.is_global_zero
        self.board = tensorboard_writer(
            settings.log_folder or settings.folder, settings.tensorboard and is_first, rhythm.first_step
        )
        self.count = 0
        self.sums: dict[str, Any] = {}  # tensors are read when they are logged, not each step

    def run(self) -> None:
        """Take the steps that are left, or as many as the context allows."""
        fabric, rhythm = self.fabric, self.rhythm
        batches = batch_loader(self.task, rhythm.settings, rhythm.state.step, fabric.global_rank, fabric.world_size)
        try:
            for batch in batches:
                self._batch(_Batch(fabric.to_device(batch)))
                if self.count == 0 and self._is_over():
                    return
        finally:
            if self.board is not None:
                self.board.close()

    def _batch(self, batch: _Batch) -> None:
        task, fabric = self.task, self.fabric
        before = {} if task.adversary_optimizer is None else self._adversary_step(batch)
        loss, values = self.objective(batch)
        fabric.backward(loss * fabric.world_size)  # ranks average, the sum is wanted
        for key, value in {"loss": loss.detach(), **before, **values}.items():
            self.sums[key] = self.sums.get(key, 0.0) + value
        self.count += 1
        if self.count * fabric.world_size >= task.batches_per_step:
            self._step()

    def _adversary_step(self, batch: _Batch) -> Values:
        loss, values = self.objective(batch, of_adversary=True)
        self.fabric.backward(loss)
        self.optimizers[1].step()
        self.optimizers[1].zero_grad()
        return values  # type: ignore[no-any-return]  # of the task, through a wrapper that is not typed

    def _step(self) -> None:
        task, rhythm = self.task, self.rhythm
        rate = task.optimizer.param_groups[0]["lr"]
        self.optimizers[0].step()
        self.optimizers[0].zero_grad()
        if task.scheduler is not None:
            task.scheduler.step()
        rhythm.state.step += 1
        task.after_step(rhythm.state.step)
        count, sums = self.count, self.sums
        self.count, self.sums = 0, {}

        def read() -> dict[str, float]:
            return {"lr": rate, **{key: float(value) / count for key, value in sums.items()}}

        if self.fabric.is_global_zero:
            rhythm.after_step(read, self.fabric.device, self._log)
            if rhythm.validated == rhythm.state.step:
                self._log_images()

    def _is_over(self) -> bool:
        """Return whether any rank is to stop: one that stopped alone would leave the others waiting."""
        context = self.rhythm.context
        own = context is not None and context.is_cancelled()
        return bool(self.fabric.all_reduce(torch.tensor(float(own), device=self.fabric.device), reduce_op="sum") > 0)

    def _log(self, values: dict[str, float]) -> None:
        if self.board is not None:
            for key, value in values.items():
                self.board.add_scalar(self.task.log_names.get(key, key), value, self.rhythm.state.step)

    def _log_images(self) -> None:
        if self.board is None:
            return
        self.task.model.eval()
        with torch.no_grad():
            images = self.task.images(self.fabric.device)
        self.task.model.train()
        for name, image in images.items():
            self.board.add_image(name, image, self.rhythm.state.step, dataformats="HW")


def _start(task: TrainTask, settings: TrainSettings) -> TrainState:
    if settings.folder is None:
        return TrainState()
    path = task.files.last_in(settings.folder)
    if not settings.resume:
        if path.exists():
            raise InputError(f"{settings.folder} already holds a training; add --resume or name another folder.")
        return TrainState()
    return task.read(path) if path.exists() else TrainState()


def train(
    task: TrainTask, settings: TrainSettings, context: Observer | None = None, start: TrainState | None = None
) -> TrainState:
    """Run a training and return how far it came.

    Parameters
    ----------
    task
        The model with its batches, loss and files.
    settings
        Budget, rhythm, device, folder. With ``resume`` the folder's last checkpoint is taken up, if there is one.
    context
        Gets progress with rate and time left, and may cancel; None is silent.
    start
        How far the task already is, where it was restored from elsewhere; step 0 by default.

    Raises
    ------
    InputError
        The folder already holds a training that is not to be resumed, or the device is unknown.
    MissingExtraError
        Lightning Fabric is not installed.
    CancelledError
        ``context`` cancelled; the last checkpoint was written.
    """
    fabric = _fabric()
    resources = settings.resources
    state = _start(task, settings)
    if start is not None and state.step == 0:
        state = start
    if task.batches_per_step % (settings.devices * settings.nodes):
        raise InputError(f"{task.batches_per_step} batches per step do not divide over {settings.devices} device(s).")
    if state.step >= settings.steps:
        return state
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning_fabric.*")
        launcher = fabric.Fabric(**resources)
        own = os.getpid()
        # What a forked rank 0 learnt is in its own memory: it is handed over.
        state, learnt = cast("Outcome", launcher.launch(_run, task, settings, state, context, own))
    if learnt is not None:
        task.model.load_state_dict({name: torch.from_numpy(value) for name, value in learnt.items()})
    task.model.eval()
    if context is not None and context.is_cancelled():
        raise CancelledError("The training was asked to stop; its last checkpoint is written.")
    return state


def _run(
    fabric: Any,  # noqa: ANN401  # Fabric is not typed here
    task: TrainTask,
    settings: TrainSettings,
    state: TrainState,
    context: Observer | None,
    starter: int,
) -> Outcome:
    """Train in this process; return how far it came, and the model where ``starter`` is another process."""
    rhythm = _Rhythm(task, settings, state, context)
    task.model.train()
    _Steps(task, rhythm, fabric).run()
    if fabric.is_global_zero:
        rhythm.finish()
    if os.getpid() == starter:
        return state, None
    # Arrays travel by value; tensors would lie in memory that ends with this process.
    return state, {name: value.detach().cpu().numpy() for name, value in task.model.state_dict().items()}
