"""Training the DSM enhancer: losses, official checkpoints, resuming, schedules."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
EventAccumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
from pix2pix_blocks import scene_of, surface  # noqa: E402

from refbench import DSM, Context  # noqa: E402
from refbench.contracts.errors import ConfigError, InputError, WeightsError  # noqa: E402
from refbench.contracts.scene import Reference  # noqa: E402
from refbench.formats.raster import ArraySource  # noqa: E402
from refbench.weights.weights_folder import read_weights  # noqa: E402
from refbench_pix2pix.config import GeneratorConfig, Pix2PixConfig, TrainingConfig, ValueConfig  # noqa: E402
from refbench_pix2pix.method import Pix2Pix  # noqa: E402
from refbench_pix2pix.official.options import read_options  # noqa: E402
from refbench_pix2pix.training.schedule import LinearFraction  # noqa: E402


def learner(**changes):
    pytest.importorskip("lightning_fabric")
    training = TrainingConfig(samples_per_epoch=4, **{"batch_size": 1, "lr": 1e-3, **changes})
    shape = GeneratorConfig(1, 1, 4, no_dropout=changes.get("pool_size") is None)
    config = Pix2PixConfig(generator=shape, values=ValueConfig(span="tile"), training=training)
    return Pix2Pix(config)


def place(seed=0):
    reference = surface(256, 256, seed=seed)
    scene = scene_of(
        (reference + np.random.default_rng(seed).normal(0, 2, reference.shape)).astype(np.float32), ndvi=False
    )
    return dataclasses.replace(scene, id=f"place-{seed}", reference=Reference(ArraySource(DSM(reference, scene.grid))))


@pytest.mark.slow
def test_learning_lowers_the_error_and_saves_official_files(tmp_path):
    method = learner()
    before = {key: tensor.clone() for key, tensor in method.net.state_dict().items()}
    trained = method.fit([place(0), place(1)], Context(), steps=40, folder=tmp_path)
    facts = trained.provenance
    assert not method.is_trained and all(torch.equal(method.net.state_dict()[key], before[key]) for key in before)
    scores = np.genfromtxt(tmp_path / "validation.csv", delimiter=",", names=True)["mae"]
    assert facts["best_validation_mae"] == pytest.approx(scores.min()) and scores.min() < 0.7 * scores[0]
    assert {"latest.pt", "latest_net_G.pth", "latest_net_D.pth", "train_opt.txt"} <= {
        p.name for p in tmp_path.iterdir()
    }
    trained.save(tmp_path / "weights")
    again = Pix2Pix(None, tmp_path / "weights")
    assert again.values.span == "tile" and again.facts == {"gsd": 0.5} and again.weights_used == tmp_path / "weights"
    for key, tensor in trained.tensors.items():
        assert torch.equal(again.net.state_dict()[key], tensor)
    assert read_weights(tmp_path / "weights").meta["provenance"]["steps"] == 40
    (log,) = (path.parent for path in tmp_path.rglob("events.*"))
    images = EventAccumulator(str(log), size_guidance={"images": 0}).Reload().Images("input, refined, reference/0")
    assert len(images) == len(scores) and (images[0].width, images[0].height) == (3 * 256, 256)
    options = read_options(tmp_path / "train_opt.txt")
    assert options["ngf"] == "4" and options["gan_mode"] == "vanilla"


def test_a_training_from_an_official_checkpoint_takes_its_discriminator(tmp_path):
    first = learner()
    first.fit([place(0)], Context(), steps=2, folder=tmp_path)
    discriminator = torch.load(tmp_path / "latest_net_D.pth")
    old = {"model.2.running_mean": torch.zeros(3), "model.2.num_batches_tracked": torch.tensor(4)}
    torch.save({**discriminator, **old}, tmp_path / "latest_net_D.pth")
    config = dataclasses.replace(first.config, training=dataclasses.replace(first.config.training, lr=1e-12))
    again = Pix2Pix(dataclasses.replace(config, values=ValueConfig(path="8bit")), tmp_path / "latest_net_G.pth")
    facts = again.fit([place(0)], Context(), steps=1, folder=tmp_path / "more").provenance
    assert facts["discriminator"] == "from the official checkpoint"
    kept = torch.load(tmp_path / "more" / "latest_net_D.pth")
    assert all(
        torch.allclose(kept[k], discriminator[k], atol=1e-6) for k in discriminator if k.endswith(("weight", "bias"))
    )
    torch.save({"model.0.weight": torch.zeros(1, 1, 1, 1)}, tmp_path / "latest_net_D.pth")
    with pytest.raises(WeightsError, match="another discriminator"):
        Pix2Pix(config, tmp_path / "latest_net_G.pth").fit([place(0)], Context(), steps=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"gan_mode": "wgangp", "gradient_penalty": 10.0},
        {"gan_mode": "lsgan", "lambda_normals": 5.0, "beta_MSE": 50.0},
        {"pool_size": 4, "quarter_turns": True, "batch_size": 2},
    ],
)
def test_options_train_and_resume(tmp_path, changes):
    whole, parts = learner(**changes), learner(**changes)
    whole.fit([place(0)], Context(seed=1), steps=4, folder=tmp_path / "whole")
    parts.fit([place(0)], Context(seed=1), steps=2, folder=tmp_path / "parts")
    if "pool_size" in changes:
        return  # the pool's old fakes are not kept in a checkpoint
    again = learner(**changes)
    again.fit([place(0)], Context(seed=1), steps=4, folder=tmp_path / "parts", resume=True)
    first, second = (torch.load(tmp_path / name / "latest_net_G.pth") for name in ("whole", "parts"))
    for key, tensor in first.items():
        torch.testing.assert_close(second[key], tensor, rtol=0, atol=1e-5)


def test_rates_never_turn_negative():
    fraction = LinearFraction(1, 3, 2)
    assert [fraction(epoch) for epoch in range(7)] == pytest.approx([1, 1, 1, 2 / 3, 1 / 3, 0, 0])


def test_scenes_that_cannot_train_are_refused():
    with pytest.raises(InputError, match="needs an initial DSM and a reference"):
        learner().fit([dataclasses.replace(place(), reference=None)], Context(), steps=1)
    with pytest.raises(ConfigError, match="name their folders"):
        learner().fit([], Context(), steps=1)
    two = Pix2Pix(Pix2PixConfig(generator=GeneratorConfig(2, 1, 4)))
    with pytest.raises(InputError, match=r"generator\.input_nc=1"):
        two.fit([place()], Context(), steps=1)
