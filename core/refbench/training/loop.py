"""The loop: steps with summed gradients, validation, checkpoints, curves and progress, run by Lightning."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from refbench.contracts.errors import CancelledError, InputError, MissingExtraError
from refbench.training.batches import batch_loader
from refbench.training.log import CurveFile, duration, tensorboard_logger
from refbench.training.task import TrainState

if TYPE_CHECKING:
    from refbench.contracts.method import Context
    from refbench.training.settings import TrainSettings
    from refbench.training.task import TrainTask

Log = Callable[[dict[str, float]], None]
REPORT_EVERY_SECONDS = 1.0


def _lightning() -> Any:  # noqa: ANN401  # Lightning is not typed here
    try:
        import lightning.pytorch as lightning
    except ImportError:
        raise MissingExtraError("Training needs Lightning: pip install 'refbench[training]' brings it.") from None
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return lightning


class _Rhythm:
    """What happens after a step: logs, validation, checkpoints, progress, the early end."""

    def __init__(self, task: TrainTask, settings: TrainSettings, state: TrainState, context: Context | None) -> None:
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
        return self.state.step >= self.settings.steps or self.is_out_of_time

    @property
    def is_out_of_time(self) -> bool:
        """Whether ``max_seconds`` of this session are used up."""
        return self.settings.max_seconds is not None and time.monotonic() - self.start >= self.settings.max_seconds

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


def _module(task: TrainTask, rhythm: _Rhythm) -> Any:  # noqa: ANN401  # a LightningModule
    """Return the LightningModule of a task; its class is made here, since Lightning is imported on use."""
    lightning = _lightning()

    class TaskModule(lightning.LightningModule):  # type: ignore[misc, name-defined]  # Lightning is not typed here
        """Manual optimisation: gradients are summed, not averaged, over the batches of a step and over ranks."""

        automatic_optimization = False

        def __init__(self) -> None:
            super().__init__()
            self.model = task.model
            self.count = 0
            self.sums: dict[str, Any] = {}  # tensors are read when they are logged, not each step

        def configure_optimizers(self) -> list[torch.optim.Optimizer]:
            return [task.optimizer] if task.adversary_optimizer is None else [task.optimizer, task.adversary_optimizer]

        def training_step(self, batch: Any, batch_idx: int) -> None:  # noqa: ANN401  # the task's own type
            del batch_idx
            before = {} if task.adversary_optimizer is None else self._adversary_step(batch)
            loss, values = task.loss(batch)
            self.manual_backward(loss * self.trainer.world_size)  # ranks average, the sum is wanted
            values = {**before, **values}
            for key, value in {"loss": loss.detach(), **values}.items():
                self.sums[key] = self.sums.get(key, 0.0) + value
            self.count += 1
            if self.count * self.trainer.world_size >= task.batches_per_step:
                self._step()

        def _adversary_step(self, batch: Any) -> Mapping[str, float]:  # noqa: ANN401  # the task's own type
            optimizer = self.optimizers()[1]
            loss, values = task.adversary_loss(batch)
            self.manual_backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            return values

        def _step(self) -> None:
            rate = task.optimizer.param_groups[0]["lr"]
            optimizers = self.optimizers()
            optimizer = optimizers[0] if isinstance(optimizers, list) else optimizers
            optimizer.step()
            optimizer.zero_grad()
            if task.scheduler is not None:
                task.scheduler.step()
            rhythm.state.step += 1
            task.after_step(rhythm.state.step)
            count, sums = self.count, self.sums
            self.count, self.sums = 0, {}

            def read() -> dict[str, float]:
                return {"lr": rate, **{key: float(value) / count for key, value in sums.items()}}

            if self.trainer.is_global_zero:
                rhythm.after_step(read, self.device, self._log)
                if rhythm.validated == rhythm.state.step:
                    self._log_pictures()
            is_over = rhythm.is_out_of_time or (rhythm.context is not None and rhythm.context.is_cancelled())
            # All ranks or none: one that stopped alone would leave the others waiting.
            if self.trainer.strategy.reduce_boolean_decision(is_over, all=False):
                self.trainer.should_stop = True

        def _log(self, values: dict[str, float]) -> None:
            if self.logger is not None:
                named = {task.log_names.get(key, key): value for key, value in values.items()}
                self.logger.log_metrics(named, step=rhythm.state.step)

        def _log_pictures(self) -> None:
            board = getattr(self.logger, "experiment", None)
            if board is None or not hasattr(board, "add_image"):
                return
            task.model.eval()
            with torch.no_grad():
                pictures = task.pictures(self.device)
            task.model.train()
            for name, picture in pictures.items():
                board.add_image(name, picture, rhythm.state.step, dataformats="HW")

        def train_dataloader(self) -> Any:  # noqa: ANN401  # a DataLoader
            trainer = self.trainer
            return batch_loader(task, rhythm.settings, rhythm.state.step, trainer.global_rank, trainer.world_size)

    return TaskModule()


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
    task: TrainTask, settings: TrainSettings, context: Context | None = None, start: TrainState | None = None
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
        Lightning is not installed.
    CancelledError
        ``context`` cancelled; the last checkpoint was written.
    """
    lightning = _lightning()
    resources = settings.accelerator
    state = _start(task, settings)
    if start is not None and state.step == 0:
        state = start
    if task.batches_per_step % (settings.devices * settings.nodes):
        raise InputError(f"{task.batches_per_step} batches per step do not divide over {settings.devices} device(s).")
    if state.step >= settings.steps:
        return state
    rhythm = _Rhythm(task, settings, state, context)
    task.model.train()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning.*")
        trainer = lightning.Trainer(
            **resources,
            precision=settings.precision,
            max_epochs=1,
            logger=tensorboard_logger(settings.log_folder or settings.folder, settings.tensorboard),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(_module(task, rhythm))
    task.model.eval()
    if trainer.is_global_zero:
        rhythm.finish()
    if context is not None and context.is_cancelled():
        raise CancelledError("The training was asked to stop; its last checkpoint is written.")
    return state
