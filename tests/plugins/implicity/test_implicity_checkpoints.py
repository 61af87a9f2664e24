"""Training checkpoints in the official format, and the schedules in them."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")
from implicity_block import TINY  # noqa: E402

from refbench.contracts.errors import WeightsError  # noqa: E402
from refbench.training.task import TrainState  # noqa: E402
from refbench_implicity.config import (  # noqa: E402
    DecoderConfig,
    ImageEncoderConfig,
    SchedulerConfig,
)
from refbench_implicity.network.network import build_model  # noqa: E402
from refbench_implicity.official.checkpoints import read_training_checkpoint, write_training_checkpoint  # noqa: E402
from refbench_implicity.training.schedule import build_optimizer, build_scheduler  # noqa: E402


def stepped(model, scheduler_config, steps):
    optimizer = build_optimizer(model, 1e-3)
    scheduler = build_scheduler(optimizer, scheduler_config)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.full((1, 5, 3), 0.5), torch.full((1, 4, 3), 0.5)).sum().backward()
        optimizer.step()
        scheduler.step()
    return optimizer, scheduler


def rates(optimizer, scheduler, count):
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_a_resumed_schedule_is_that_of_the_file_unless_it_is_to_start_anew(tmp_path):
    saved, configured = SchedulerConfig(step_size_up=4, step_size_down=6), SchedulerConfig(max_lr=5e-3, step_size_up=50)
    model = build_model(TINY)
    optimizer, scheduler = stepped(model, saved, 3)
    write_training_checkpoint(tmp_path / "m.pt", TrainState(3, 9.0, 0.25), model, optimizer, scheduler)
    expected = rates(optimizer, scheduler, 8)
    for resume_scheduler, wanted in ((True, expected), (False, None)):
        other = build_model(TINY)
        optimizer, scheduler = stepped(other, configured, 0)
        state = read_training_checkpoint(
            tmp_path / "m.pt", other, optimizer, scheduler, resume_scheduler=resume_scheduler
        )
        assert (state.step, state.seconds, state.best) == (3, 9.0, 0.25)
        for key, value in model.state_dict().items():
            assert value.shape == other.state_dict()[key].shape
        found = rates(optimizer, scheduler, 8)
        assert found == pytest.approx(wanted or rates(*stepped(build_model(TINY), configured, 0), 8))


def test_a_checkpoint_is_in_the_official_format(tmp_path):
    images = ImageEncoderConfig(in_channel=1, feature_dim=4, num_hourglass=1, num_stack=1)
    model = build_model(dataclasses.replace(TINY, image_encoder=images))
    optimizer = build_optimizer(model, 1e-3)
    scheduler = build_scheduler(optimizer, SchedulerConfig())
    write_training_checkpoint(tmp_path / "m.pt", TrainState(), model, optimizer, scheduler)
    content = torch.load(tmp_path / "m.pt", weights_only=True)
    assert list(content) == ["n_iter", "loss_val_best", "training_time", "model", "optimizer", "scheduler"]
    assert content["loss_val_best"] == -np.inf  # nothing was validated
    aliases = [key for key in content["model"] if ".downsample.0." in key]
    assert aliases and all(key.replace("downsample.0", "bn4") in content["model"] for key in aliases)
    parameters = content["optimizer"]["param_groups"][0]["params"]
    assert parameters == list(range(len(dict(model.named_parameters()))))  # aliases count once
    state = read_training_checkpoint(tmp_path / "m.pt", model, optimizer, scheduler)
    assert state.best is None and list(tmp_path.iterdir()) == [tmp_path / "m.pt"]


def test_checkpoints_that_do_not_fit_are_refused(tmp_path):
    model = build_model(TINY)
    optimizer, scheduler = stepped(model, SchedulerConfig(), 1)
    write_training_checkpoint(tmp_path / "m.pt", TrainState(1), model, optimizer, scheduler)
    steps = SchedulerConfig(type="MultiStepLR", milestones=(3,))
    with pytest.raises(WeightsError, match="resume_scheduler"):
        read_training_checkpoint(tmp_path / "m.pt", model, optimizer, build_scheduler(optimizer, steps))
    wider = build_model(dataclasses.replace(TINY, decoder=DecoderConfig(feature_dim=4, hidden_size=5, n_blocks=2)))
    with pytest.raises(WeightsError, match="another architecture"):
        read_training_checkpoint(tmp_path / "m.pt", wider, build_optimizer(wider, 1e-3), None)
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="no training checkpoint"):
        read_training_checkpoint(tmp_path / "other.pt", model, optimizer, scheduler)


def test_multi_step_schedules_resume(tmp_path):
    config = SchedulerConfig(type="MultiStepLR", gamma=0.1, milestones=(2, 5))
    model = build_model(TINY)
    optimizer, scheduler = stepped(model, config, 3)
    write_training_checkpoint(tmp_path / "m.pt", TrainState(3), model, optimizer, scheduler)
    other, fresh = stepped(model, config, 0)
    read_training_checkpoint(tmp_path / "m.pt", model, other, fresh)
    assert rates(other, fresh, 4) == pytest.approx([1e-4, 1e-4, 1e-5, 1e-5])
