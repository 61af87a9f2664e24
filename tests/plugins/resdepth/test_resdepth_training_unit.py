import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from makers import grid_of  # noqa: E402

from refbench import DSM, Context, Image, InputError, Scene  # noqa: E402
from refbench.contracts.errors import CancelledError, ConfigError  # noqa: E402
from refbench.contracts.scene import Reference  # noqa: E402
from refbench.engine.inputs.weights import find_weights  # noqa: E402
from refbench.formats.memory_budget import MemoryBudget  # noqa: E402
from refbench.formats.raster import ArraySource, open_dsm  # noqa: E402
from refbench.formats.raster_write import write_dsm  # noqa: E402
from refbench.registry.registry import load_registry  # noqa: E402
from refbench.training.task import TrainState  # noqa: E402
from refbench.weights.weights_folder import read_weights  # noqa: E402
from refbench_resdepth.config import (  # noqa: E402
    ModelConfig,
    OptimizerConfig,
    ResDepthConfig,
    SchedulerConfig,
    TrainingConfig,
)
from refbench_resdepth.method import ResDepth  # noqa: E402
from refbench_resdepth.network.network import UNet  # noqa: E402
from refbench_resdepth.regions import Extent  # noqa: E402
from refbench_resdepth.scale import Scale  # noqa: E402
from refbench_resdepth.training.loss import metric_l1  # noqa: E402
from refbench_resdepth.training.samples import Area, Cutter, EpochBatches, GridSamples, TrainSamples  # noqa: E402
from refbench_resdepth.training.task import FILES, ResDepthTask, build_schedule  # noqa: E402

GSD, TILE = 0.5, 16
MODEL = ModelConfig(depth=2, start_kernel=4)
TRAINING = TrainingConfig(
    n_training_samples=24, tile_size=TILE, batch_size=4, optimizer=OptimizerConfig(learning_rate=1e-2)
)


def place(seed=0, rows=60, cols=80, bias=1.5):
    """A town whose initial DSM is too high by ``bias`` where the images are bright."""
    rng = np.random.default_rng(seed)
    grid = grid_of(rows, cols, GSD)
    reference = np.full((rows, cols), 400.0)
    reference[10:40, 20:50] += 9
    bright = rng.random((rows // 4, cols // 4)).repeat(4, 0).repeat(4, 1) > 0.5
    initial = reference + bias * bright + rng.normal(0, 0.1, reference.shape)
    images = {
        n: ArraySource(Image((200 + 500 * bright + rng.normal(0, 9, reference.shape))[None].astype(np.float32), grid))
        for n in "ab"
    }
    sources = [ArraySource(DSM(values.astype(np.float32), grid)) for values in (initial, reference)]
    return Scene(
        f"place-{seed}", grid, dsm=sources[0], orthos=images, pairs=(("a", "b"),), reference=Reference(sources[1])
    )


def area_of(scene, n_samples=24, tuples=(("a", "b"), ("b", "a"))):
    whole = (Extent(0, scene.grid.width - 1, 0, scene.grid.height - 1),)
    return Area(scene.id, scene.dsm, scene.reference.dsm, dict(scene.orthos), tuples, whole, n_samples)


def cutter():
    return Cutter(MODEL, Scale(3.0, "fixed", 400.0, 200.0), TILE)


def task_of(seed=0, **changes):
    config = dataclasses.replace(TRAINING, **changes)
    samples = TrainSamples([area_of(place())], cutter(), config, seed)
    torch.manual_seed(seed)
    return ResDepthTask(
        UNet(MODEL), EpochBatches(samples, config.batch_size), config, GridSamples([area_of(place(1))], cutter())
    )


# --- samples --------------------------------------------------------------------------------------------------------


def test_every_position_comes_with_all_pairs_or_with_one():
    both = TrainSamples([area_of(place())], cutter(), TRAINING, 0)
    assert len(both) == 48
    assert (both._at[::2] == both._at[1::2]).all() and both._tuple.tolist() == [0, 1] * 24
    one = TrainSamples([area_of(place())], cutter(), TrainingConfig(tile_size=TILE, use_all_stereo_pairs=False), 0)
    assert len(one) == 24 and set(one._tuple.tolist()) == {0, 1}


def test_images_are_permuted_at_every_access():
    samples = TrainSamples([area_of(place())], cutter(), TrainingConfig(tile_size=TILE, augment=False), 0)
    firsts = {samples.sample(0, epoch)["x"][1].tobytes() for epoch in range(12)}
    assert len(firsts) == 2
    fixed = TrainingConfig(tile_size=TILE, augment=False, permute_images_within_pair=False)
    samples = TrainSamples([area_of(place())], cutter(), fixed, 0)
    assert len({samples.sample(0, epoch)["x"].tobytes() for epoch in range(12)}) == 1


def test_inputs_reference_and_mask_turn_together():
    config = TrainingConfig(tile_size=TILE, permute_images_within_pair=False)
    samples = TrainSamples([area_of(place(bias=0))], cutter(), config, 0)
    for epoch in range(8):
        sample = samples.sample(3, epoch)
        assert np.abs(sample["x"][0] - sample["y"][0])[sample["mask"][0]].max() < 0.3


def test_batches_are_a_function_of_their_number():
    first, second = task_of().batches, task_of().batches
    for number in (0, 5, 17):
        a, b = first[number], second[number]
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(first[0]["x"], first[first.per_epoch]["x"])  # another epoch, another order


def test_an_epoch_sees_every_sample_once():
    samples = TrainSamples([area_of(place())], cutter(), TrainingConfig(tile_size=TILE, augment=False), 0)
    batches = EpochBatches(samples, 5)
    assert batches.per_epoch == 10
    seen = np.concatenate([batches[n]["mean"].numpy() for n in range(10)])
    assert len(seen) == 48
    expected = [samples.sample(i, 0)["mean"] for i in range(48)]
    np.testing.assert_allclose(np.sort(seen), np.sort(expected), rtol=1e-6)


def test_validation_counts_every_pixel_once_per_pair():
    area = area_of(place(), tuples=(("a", "b"),))
    grid = GridSamples([area], cutter())
    assert sum(int(grid[i]["mask"].sum()) for i in range(len(grid))) == 60 * 80


def test_missing_heights_do_not_reach_the_network():
    scene = place()
    broken = scene.dsm.read().heights.copy()
    broken[:20] = np.nan
    holes = ArraySource(DSM(broken, scene.grid))
    area = dataclasses.replace(area_of(scene), dsm=holes)
    for y in (0, 10, 30):
        sample = cutter().sample(area, (y, 5), ("a", "b"), None)
        assert np.isfinite(sample["x"]).all() and np.isfinite(sample["y"]).all()


def test_windows_are_read_from_the_file_where_memory_is_short(tmp_path):
    scene = place()
    write_dsm(tmp_path / "dsm.tif", scene.dsm.read())
    source = open_dsm(tmp_path / "dsm.tif")
    budget = MemoryBudget(8 * 60 * 80 + 10)
    assert isinstance(budget.hold(source), ArraySource)
    assert budget.hold(source) is source


# --- loss and schedules ---------------------------------------------------------------------------------------------


def test_a_batch_without_valid_pixels_gives_no_nan():
    predicted = torch.randn(2, 1, 4, 4, requires_grad=True)
    empty = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    loss = metric_l1(predicted, torch.zeros(2, 1, 4, 4), empty, torch.zeros(2), torch.ones(2))
    loss.backward()
    assert loss.item() == 0 and torch.equal(predicted.grad, torch.zeros_like(predicted))


@pytest.mark.parametrize("name", ["StepLR", "ExponentialLR", "ReduceLROnPlateau"])
def test_schedules_step_once_per_validation(name):
    settings = {
        "StepLR": {"step_size": 1, "gamma": 0.5},
        "ExponentialLR": {"gamma": 0.5},
        "ReduceLROnPlateau": {"factor": 0.5, "patience": 0},
    }
    task = task_of(scheduler=SchedulerConfig(True, name, settings[name]))
    for _ in range(2):
        task.after_validation({"MAE_metric": 1.0})
    expected = 0.005 if name == "ReduceLROnPlateau" else 0.0025
    assert task.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_wrong_settings_of_a_schedule_are_named():
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    with pytest.raises(ConfigError, match=r"scheduler\.settings of StepLR"):
        build_schedule(optimizer, SchedulerConfig(True, "StepLR", {"stepsize": 3}))


# --- training -------------------------------------------------------------------------------------------------------


def learner(**changes):
    return ResDepth(ResDepthConfig(model=MODEL, training=dataclasses.replace(TRAINING, **changes)))


def test_learning_beats_the_input_on_the_held_out_stripe(tmp_path):
    method = learner()
    trained = method.fit([place(cols=120)], Context(), steps=250, folder=tmp_path)
    facts = trained.provenance
    assert facts["validated_on"] == ["place-0, eastern fifth"]
    assert facts["best_validation_mae"] < 0.75 * facts["input_validation_mae"]
    assert not method.is_trained and method.scale is None  # the method stays as it is
    trained.save(tmp_path / "weights")
    assert read_weights(tmp_path / "weights").meta["provenance"]["steps"] == 250
    again = ResDepth(None, tmp_path / "weights")
    assert again.model == MODEL and again.scale.image_rule == "robust" and again.tile_size == TILE
    assert again.facts == {"tile_size": TILE, "gsd": GSD} and again.weights_used == tmp_path / "weights"


@pytest.mark.slow
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path):
    whole, parts = learner(), learner()
    scenes = [place(0), place(1)]
    whole.fit(scenes, Context(seed=3), steps=30, folder=tmp_path / "whole")
    path = FILES.last_in(tmp_path / "whole")
    script = "import sys; sys.path[:0] = sys.argv[2:]\n"  # a run of its own, ended at step 18
    script += "from test_resdepth_training_unit import interrupted; interrupted(sys.argv[1])\n"
    command = [sys.executable, "-c", script, str(tmp_path / "parts"), str(Path(__file__).parent), *sys.path]
    subprocess.run(command, check=True)
    assert torch.load(FILES.last_in(tmp_path / "parts"))["refbench_step"] == 18
    parts.fit(scenes, Context(seed=3), steps=30, folder=tmp_path / "parts", resume=True)
    states = [torch.load(p)["model_state_dict"] for p in (path, FILES.last_in(tmp_path / "parts"))]
    for key, tensor in states[0].items():
        torch.testing.assert_close(states[1][key], tensor, rtol=0, atol=1e-6)


def test_resuming_remembers_the_best_model(tmp_path):
    task = task_of()
    task.files = FILES
    (tmp_path / "checkpoints").mkdir()
    task._losses = (1.0, 0.4)
    task.write(FILES.best_in(tmp_path), TrainState(step=5, best=0.4))
    task._losses = (1.0, 0.9)
    task.write(FILES.last_in(tmp_path), TrainState(step=12, best=0.4))
    again = task_of().read(FILES.last_in(tmp_path))
    assert again.step == 12 and again.best == pytest.approx(0.4)


def interrupted(folder):
    """Train as above and cancel at step 18."""
    method, steps = learner(), []
    original = ResDepthTask.loss

    def counted(self, batch):
        steps.append(1)
        return original(self, batch)

    ResDepthTask.loss = counted
    try:
        method.fit(
            [place(0), place(1)], Context(seed=3, is_cancelled=lambda: len(steps) >= 18), steps=30, folder=Path(folder)
        )
    except CancelledError:
        return
    raise AssertionError("it was not cancelled")


def test_the_seed_decides_the_first_weights():
    nets = []
    for seed in (0, 0, 1):
        method = learner()
        nets.append(method.fit([place(0)], Context(seed=seed), steps=1).tensors["last_layer.weight"])
    assert torch.equal(nets[0], nets[1]) and not torch.equal(nets[0], nets[2])


def test_scenes_that_cannot_train_are_refused():
    with pytest.raises(InputError, match="needs an initial DSM and a reference"):
        learner().fit([dataclasses.replace(place(), reference=None)], Context(), steps=1)
    with pytest.raises(InputError, match="smaller than a training tile"):
        learner().fit([place(rows=12, cols=40)], Context(), steps=1)
    with pytest.raises(ConfigError, match="official training configuration"):
        learner().fit([], Context(), steps=1)


def test_logs_have_the_official_names(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    learner().fit([place(0), place(1)], Context(), steps=6, folder=tmp_path)
    (log,) = (path.parent for path in tmp_path.rglob("events.*"))
    tags = set(EventAccumulator(str(log)).Reload().Tags()["scalars"])
    assert {"train/MAE_metric", "train/learning_rate", "val/MAE_metric", "val/learning_rate"} <= tags
    content = torch.load(FILES.last_in(tmp_path))
    assert math.isfinite(content["loss_train"]) and math.isfinite(content["loss_val"])
    assert json.dumps(content["epoch"]) == "0"


def test_weights_of_the_wild_recipe_are_not_trained_on_scenes(tmp_path):
    """They see a channel of holes and give a deviation, which a training on scenes has no samples for."""
    from refbench.testing import scenes as made

    weights = find_weights(load_registry().methods.get("resdepth"), "wild")
    method = ResDepth(ResDepthConfig(), weights)
    with pytest.raises(InputError, match="--weights stereo"):
        method.fit([made.scene(grid=made.utm_grid(288, 288))], Context(scratch=tmp_path), steps=1)
