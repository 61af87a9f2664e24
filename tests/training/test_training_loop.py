import builtins
import csv
import itertools

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from refbench.contracts.errors import CancelledError, InputError, MissingExtraError  # noqa: E402
from refbench.contracts.method import Context  # noqa: E402
from refbench.training.batches import BatchNumbers  # noqa: E402
from refbench.training.log import CurveFile, duration  # noqa: E402
from refbench.training.loop import train  # noqa: E402
from refbench.training.settings import TrainSettings  # noqa: E402
from refbench.training.task import CheckpointFiles, TrainState, TrainTask, initialised  # noqa: E402

FILES = CheckpointFiles()


class Numbers(torch.utils.data.Dataset):
    """Batch n: eight points of a noisy line, a pure function of n."""

    def __getitem__(self, number):
        generator = torch.Generator().manual_seed(number)
        x = torch.rand(8, 1, generator=generator)
        return x, 3 * x - 1 + 0.1 * torch.randn(8, 1, generator=generator)


class Line(TrainTask):
    """A line fitted by Adam with a decaying rate; the score is the distance of its slope from 3."""

    def __init__(self, per_step=2, score="error"):
        self.model = initialised(5, lambda: torch.nn.Linear(1, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.05)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.9)
        self.batches, self.batches_per_step = Numbers(), per_step
        self.score, self.score_is_loss = score, True
        self.seen = []

    def loss(self, batch):
        x, y = batch
        self.seen.append(round(float(x[0, 0]), 6))
        error = (self.model(x) - y).square().mean()
        return error, {"slope": self.model.weight.detach().squeeze()}

    def validate(self, device):
        assert not self.model.training and not torch.is_grad_enabled()
        return {"error": abs(float(self.model.weight.detach()) - 3)}

    def write(self, path, state):
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        content = {key: part.state_dict() for key, part in parts.items()}
        torch.save({**content, "step": state.step, "seconds": state.seconds, "best": state.best}, path)

    def read(self, path):
        content = torch.load(path)
        for key in ("model", "optimizer", "scheduler"):
            getattr(self, key).load_state_dict(content[key])
        return TrainState(content["step"], content["seconds"], content["best"])

    @property
    def values(self):
        return [parameter.detach().clone() for parameter in self.model.parameters()]


def settings(steps, folder=None, **options):
    return TrainSettings(steps, folder, **{"validate_every": 2, "tensorboard": False, **options})


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_a_step_sums_the_gradients_of_its_batches():
    task, by_hand = Line(per_step=3), Line()
    train(task, settings(1, validate_every=0))
    sum(by_hand.loss(by_hand.batches[n])[0] for n in range(3)).backward()
    by_hand.optimizer.step()
    for ours, theirs in zip(task.values, by_hand.values, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_resuming_gives_the_same_training_as_going_through(tmp_path):
    through, broken, resumed = Line(), Line(), Line()
    state = train(through, settings(7, tmp_path / "a", checkpoint_every=2))
    train(broken, settings(4, tmp_path / "b", checkpoint_every=2))
    again = train(resumed, settings(7, tmp_path / "b", checkpoint_every=2, resume=True))
    assert state.step == again.step == 7 and state.best == again.best
    assert broken.seen + resumed.seen == through.seen
    for ours, theirs in zip(through.values, resumed.values, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    first, second = (rows(tmp_path / run / "training.csv") for run in "ab")
    assert [row["step"] for row in second] == [str(n) for n in range(1, 8)]
    assert [(row["lr"], row["loss"]) for row in first] == [(row["lr"], row["loss"]) for row in second]
    assert [row["step"] for row in rows(tmp_path / "b" / "validation.csv")] == ["2", "4", "6", "7"]


def test_a_finished_training_is_not_prolonged(tmp_path):
    train(Line(), settings(3, tmp_path))
    task = Line()
    assert train(task, settings(3, tmp_path, resume=True)).step == 3
    assert task.seen == []


def test_best_and_backups_are_kept(tmp_path):
    task = Line()
    state = train(task, settings(6, tmp_path, backup_every=3))
    folder = tmp_path / FILES.folder
    assert {path.name for path in folder.iterdir()} == {FILES.last, FILES.best, "model_3.pt", "model_6.pt"}
    assert state.best == min(row["error"] for row in state.history)
    assert torch.load(folder / FILES.best)["best"] == state.best


def test_nan_is_never_the_best():
    task = Line()
    assert not task.is_better(float("nan"), None)
    assert task.is_better(1.0, None) and task.is_better(0.5, 1.0) and not task.is_better(1.5, 1.0)


def test_an_old_training_is_not_overwritten(tmp_path):
    train(Line(), settings(1, tmp_path))
    before = (FILES.last_in(tmp_path)).read_bytes()
    with pytest.raises(InputError, match="--resume"):
        train(Line(), settings(1, tmp_path))
    assert (FILES.last_in(tmp_path)).read_bytes() == before


def test_cancelling_keeps_the_last_step(tmp_path):
    answers = itertools.count()
    context = Context(is_cancelled=lambda: next(answers) >= 2)
    with pytest.raises(CancelledError):
        train(Line(), settings(50, tmp_path, checkpoint_every=0), context)
    assert torch.load(FILES.last_in(tmp_path))["step"] == 3


def test_progress_tells_rate_and_time_left():
    told = []
    train(Line(), settings(4), Context(report=lambda fraction, text: told.append((fraction, text))))
    fraction, text = told[-1]
    assert fraction == 1.0 and "step 4/4" in text and "steps/s" in text and "left" in text and "best error" in text


def test_results_do_not_depend_on_loader_processes():
    alone, helped = Line(), Line()
    train(alone, settings(3))
    train(helped, settings(3, workers=2))
    assert alone.seen == helped.seen
    for ours, theirs in zip(alone.values, helped.values, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@pytest.mark.slow
def test_two_devices_give_the_sums_of_one(tmp_path):
    alone, pair = Line(per_step=4), Line(per_step=4)
    train(alone, settings(3, tmp_path / "one"))
    train(pair, settings(3, tmp_path / "two", devices=2, strategy="ddp_fork"))
    read = [torch.load(FILES.last_in(tmp_path / run))["model"] for run in ("one", "two")]
    for ours, theirs in zip(alone.values, pair.values, strict=True):  # handed over by the forked process
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    for key in read[0]:
        torch.testing.assert_close(read[0][key], read[1][key], rtol=1e-5, atol=1e-6)


def test_ranks_share_the_numbers():
    parts = [list(BatchNumbers(4, 13, rank, 3)) for rank in range(3)]
    assert sorted(itertools.chain(*parts)) == list(range(4, 13))
    assert [len(BatchNumbers(4, 13, rank, 3)) for rank in range(3)] == [len(part) for part in parts]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "at least 1 step"),
        ({"steps": 1, "devices": 0}, "at least 1"),
        ({"steps": 1, "device": "gpu0"}, "cpu, cuda"),
        ({"steps": 1, "devices": 3}, "do not divide"),
        ({"steps": 1, "precision": "half"}, "float32 or mixed"),
    ],
)
def test_bad_settings_are_one_sentence(wrong, words):
    with pytest.raises(InputError, match=words):
        train(Line(), TrainSettings(**{"tensorboard": False, **wrong}))


def test_devices_become_fabrics_words():
    assert TrainSettings(1, device="cuda:1").resources["devices"] == [1]
    assert TrainSettings(1, device="cuda", devices=2).resources["strategy"] == "ddp_find_unused_parameters_true"
    assert TrainSettings(1, device="cpu").resources["strategy"] == "auto"


def test_without_lightning_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("lightning"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match="refbench"):
        train(Line(), settings(1))


def test_tensorboard_gets_the_curves(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(Line(), settings(4, tmp_path, tensorboard=True))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"loss", "lr", "validation/error"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]


def test_initialisation_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second = (initialised(3, lambda: torch.nn.Linear(2, 2)) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not torch.equal(first.weight, initialised(4, lambda: torch.nn.Linear(2, 2)).weight)


def test_a_new_curve_starts_empty(tmp_path):
    CurveFile(tmp_path / "c.csv", 0).add({"step": 1, "loss": 2.0})
    CurveFile(tmp_path / "c.csv", 0).add({"step": 1, "loss": 3.0})
    assert rows(tmp_path / "c.csv") == [{"step": "1", "loss": "3.0"}]


@pytest.mark.parametrize(("seconds", "text"), [(42, "42 s"), (600, "10 min"), (12600, "3.5 h")])
def test_durations_are_for_people(seconds, text):
    assert duration(seconds) == text


def test_mixed_precision_computes_in_bfloat16_and_leaves_batches_alone():
    """What the loss compares with must keep its digits: only layers compute in bfloat16."""
    seen = []

    class Watched(Line):
        def loss(self, batch):
            x, y = batch
            predicted = self.model(x)
            seen.append((predicted.dtype, x.dtype, y.dtype))
            return (predicted.float() - y).square().mean(), {}

    exact, mixed = Line(), Watched()
    train(exact, settings(4))
    train(mixed, settings(4, precision="mixed"))
    assert set(seen) == {(torch.bfloat16, torch.float32, torch.float32)}
    for ours, theirs in zip(mixed.values, exact.values, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.02)
