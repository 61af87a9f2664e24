import csv
import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from refbench.contracts.errors import CancelledError, InputError  # noqa: E402
from refbench.contracts.method import Context  # noqa: E402
from refbench.training.per_scene import ANEW, StateFile, digest_of, has_settled, optimise  # noqa: E402
from refbench.training.step_log import StepLog, kept_log, log_folder  # noqa: E402


@dataclass
class Seen:
    total: float
    terms: dict[str, float] = field(default_factory=dict)


class Descent:
    """Noisy descent to 0: the noise is torch's own, so that its random state must come back, too."""

    def __init__(self, total_steps=8, rate=0.25, start=4.0):
        self.total_steps, self.rate, self.start = total_steps, rate, start
        self.x = torch.tensor(start)

    def digest(self, seed):
        return digest_of({"rate": self.rate, "seed": seed}, (torch.tensor(self.start),))

    def steps(self, done):
        for _ in range(done, self.total_steps):
            self.x = self.x * (1 - self.rate) + 0.01 * torch.randn(())
            yield Seen(float(self.x**2), {"x": float(self.x)})

    def rates(self):
        return [self.rate]

    def state(self):
        return {"x": self.x}

    def restore(self, state):
        self.x = state["x"]


def run(problem, folder=None, stop_after=None, seed=0, **options):
    torch.manual_seed(5)
    asked = itertools.count(1)
    context = Context(
        seed=seed, checkpoints=folder, is_cancelled=lambda: stop_after is not None and next(asked) >= stop_after
    )
    log = None if folder is None else lambda done: StepLog(log_folder(context), "descent", ("x",), resumed_step=done)
    return optimise(problem, context, "descent", log=log, **options)


def test_a_stopped_run_is_resumed_with_the_same_numbers(tmp_path):
    through, first, second = Descent(), Descent(), Descent()
    whole = run(through)
    with pytest.raises(CancelledError):
        run(first, tmp_path, stop_after=3)
    torch.manual_seed(99)
    rest = run(second, tmp_path)
    assert rest.notes["checkpoint"] == "Resumed from step 3." and "checkpoint" not in whole.notes
    assert rest.losses == whole.losses and torch.equal(second.x, through.x) and rest.settled
    with (tmp_path / "log" / "descent.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["step"] for row in rows] == [str(n) for n in range(1, 9)]
    assert [float(row["total"]) for row in rows] == whole.losses and {row["lr"] for row in rows} == {"0.25"}


def test_a_finished_run_takes_no_step_more(tmp_path):
    run(Descent(), tmp_path)
    again = Descent()
    again.steps = None  # asking for steps would fail
    assert len(run(again, tmp_path).losses) == 8


@pytest.mark.parametrize("other", [{"rate": 0.5}, {"start": 3.0}])
def test_a_state_of_another_problem_is_left(tmp_path, other):
    run(Descent(), tmp_path)
    found = run(Descent(**other), tmp_path)
    assert found.notes["checkpoint"] == ANEW and len(found.losses) == 8
    assert run(Descent(**other), tmp_path, seed=1).notes["checkpoint"] == ANEW


def test_a_damaged_state_is_named(tmp_path):
    run(Descent(), tmp_path)
    path = tmp_path / "descent.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"descent\.pt is damaged .* delete it"):
        run(Descent(), tmp_path)
    file = StateFile(path, Descent().digest(0), 1e9)
    file.write({"state": {"y": 1}, "progress": {"losses": [1.0]}})
    with pytest.raises(InputError, match="is damaged"):
        run(Descent(), tmp_path)


def test_states_are_written_in_time(tmp_path):
    context = Context(checkpoints=tmp_path / "new")
    assert StateFile.of(context, "a", "d", 0.0).is_due() and not StateFile.of(context, "a", "d", 1e9).is_due()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        StateFile.of(Context(checkpoints=tmp_path / "file" / "under"), "a", "d", 1.0)


def test_an_optimisation_ends_early_where_it_no_longer_improves():
    found = run(Descent(total_steps=400), patience=10)
    assert 20 <= len(found.losses) < 400 and found.settled and has_settled(found.losses, 10)
    assert not has_settled([3.0, 2.0, 1.0, 0.5], 2) and has_settled([1.0, 1.0, 1.0, 1.0], 2)
    assert not has_settled([1.0] * 9, 0)


def test_progress_is_within_the_span(tmp_path):
    told = []
    context = Context(report=lambda fraction, text: told.append((fraction, text)))
    optimise(Descent(), context, "descent", span=(0.2, 0.5))
    assert told[0][0] == pytest.approx(0.2 + 0.5 / 8) and told[-1][0] == pytest.approx(0.7)
    assert told[-1][1].startswith("descent: step 8/8, loss ") and "(x " in told[-1][1] and "0 s left" in told[-1][1]


def test_digests_tell_values_types_shapes_and_facts_apart():
    ones = np.ones((2, 3), np.float32)
    base = digest_of({"a": 1}, (ones,))
    assert base == digest_of({"a": 1}, (torch.ones(2, 3),))
    others = [(2 * ones,), (ones.astype(np.float64),), (ones.reshape(3, 2),), (ones, ones)]
    assert len({base, digest_of({"a": 2}, (ones,)), *(digest_of({"a": 1}, other) for other in others)}) == 6


def test_curves_beside_the_checkpoints_come_with_the_prediction(tmp_path):
    context = Context(checkpoints=tmp_path / "state", scratch=tmp_path / "scratch")
    (tmp_path / "scratch").mkdir()
    assert kept_log(context) == {}
    with StepLog(log_folder(context), "one", ("x",), tensorboard=False) as log:
        log.add(1, Seen(2.0, {"x": 1.0}), [0.1])
    assert (kept_log(context)["log"] / "one.csv").read_text().splitlines() == ["step,total,lr,x", "1,2.0,0.1,1.0"]
