"""Parity of the pix2pix enhancer's networks, values, losses, training steps and files with the official code.

Cases and every parameter come from the golden folder; see ``golden_pix2pix``. The weights are the recipe's.
"""

from __future__ import annotations

import copy
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from affine import Affine
from golden_pix2pix import cases, files, fill, golden_folder, load_npz, manifest

from refbench import DSM, Context, Grid, Image, Need, Scene, Window
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench.formats.raster import ArraySource
from refbench_pix2pix.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    InferenceConfig,
    Pix2PixConfig,
    TrainingConfig,
    ValueConfig,
)
from refbench_pix2pix.inputs import network_tile
from refbench_pix2pix.method import Pix2Pix
from refbench_pix2pix.network.discriminators import build_discriminator
from refbench_pix2pix.network.fused import FusedGenerator
from refbench_pix2pix.network.network import Generator
from refbench_pix2pix.network.pair import Pair
from refbench_pix2pix.official.checkpoints import find_generator, generator_config, network_file, read_state
from refbench_pix2pix.official.names import tile_name
from refbench_pix2pix.official.options import option_values, read_options
from refbench_pix2pix.official.tiles import as_rgb, halves
from refbench_pix2pix.training.losses import adversarial, edge_loss, gradient_penalty
from refbench_pix2pix.training.schedule import build_schedule
from refbench_pix2pix.training.task import Pix2PixTask, masked_l1
from refbench_pix2pix.values import DSM_MIDDLE, NDVI_MIDDLE, levels_of, normalise_levels
from refbench_pix2pix.weights import filled_network, read_model

GOLDEN = golden_folder()
FORWARD = 1e-4
WEIGHT, WEIGHT_FRACTION = 2e-5, 0.999
"""Share of a network's weights that must agree after Adam; the others have gradients near zero."""


def cfg_of(path):
    """[input_nc, output_nc, ngf] of a file, from its arrays or the manifest."""
    data = load_npz(path)
    values = data["cfg"].tolist() if "cfg" in data else manifest()[path.name]["cfg"]
    return GeneratorConfig(*map(int, values))


EVALUATED = [path for path in files("g_fwd") if "trainmode" not in path.stem]


@cases("path", EVALUATED)
def test_generator(path):
    data = load_npz(path)
    net = fill(Generator(cfg_of(path)))
    before_tanh = []
    net.upblock_8[1].register_forward_hook(lambda module, given, found: before_tanh.append(found.numpy()))
    with torch.no_grad():
        y = net(torch.from_numpy(data["x"])).numpy()
    np.testing.assert_allclose(y, data["y"], rtol=0, atol=FORWARD)
    if "y_pretanh" in data:
        np.testing.assert_allclose(before_tanh[0], data["y_pretanh"], rtol=0, atol=FORWARD)


@cases("path", EVALUATED)
def test_fused_generator(path):
    data = load_npz(path)
    y = FusedGenerator(fill(Generator(cfg_of(path))))(torch.from_numpy(data["x"])).numpy()
    np.testing.assert_allclose(y, data["y"], rtol=0, atol=FORWARD)


@cases("path", [path for path in files("g_fwd") if "trainmode" in path.stem])
def test_generator_in_training(path):
    data = load_npz(path)
    config = cfg_of(path)
    net = fill(Generator(GeneratorConfig(config.input_nc, config.output_nc, config.ngf, no_dropout=True))).train()
    with torch.no_grad():
        y = net(torch.from_numpy(data["x"])).numpy()
    np.testing.assert_allclose(y, data["y"], rtol=0, atol=FORWARD)
    state = net.state_dict()
    for key in (key for key in data if "/" in key):
        np.testing.assert_allclose(state[key.replace("/", ".")].numpy(), data[key], rtol=1e-5, atol=1e-5)


def discriminator_cases():
    for path in files("d_forward"):
        for key in load_npz(path):
            if match := re.fullmatch(r"(\w+)_cfg", key):
                yield pytest.param(path, match[1], id=f"{path.stem}-{match[1]}")


@cases("path, name", discriminator_cases())
def test_discriminators(path, name):
    data = load_npz(path)
    kind, input_nc, ndf, layers, norm = data[f"{name}_cfg"].tolist()
    net = fill(build_discriminator(DiscriminatorConfig(kind, int(ndf), int(layers), norm), int(input_nc)))
    shapes = [f"{key} {tuple(tensor.shape)}" for key, tensor in net.state_dict().items()]
    assert sorted(shapes) == sorted(data[f"{name}_keys"].tolist())
    x = torch.from_numpy(data[f"{name}_x"])
    with torch.no_grad():
        evaluated, trained = net(x).numpy(), net.train()(x).numpy()
    np.testing.assert_allclose(evaluated, data[f"{name}_eval"], rtol=0, atol=FORWARD)
    np.testing.assert_allclose(trained, data[f"{name}_train"], rtol=0, atol=FORWARD)


@cases("path", files("checkpoint_forward"))
def test_checkpoint_files(path):
    data = load_npz(path)
    for file in sorted((GOLDEN / "checkpoint").rglob("*_net_G.pth")):
        epoch, (options,) = file.name.removesuffix("_net_G.pth"), sorted(file.parent.glob("*_opt.txt"))
        values = option_values(read_options(options), options)
        source = find_generator(file.parent, epoch)
        assert generator_config(source, read_state(source)) == read_model(file.parent, epoch).model
        net = filled_network(read_model(source))
        shape = GeneratorConfig(**values["generator"])
        assert (net.config.input_nc, net.config.output_nc, net.config.ngf) == (
            shape.input_nc,
            shape.output_nc,
            shape.ngf,
        )
        discriminator = discriminator_of(values["discriminator"], shape).eval()
        discriminator.load_state_dict(read_state(network_file(file.parent, "D", epoch)))
        x = torch.from_numpy(data["x"])
        with torch.no_grad():
            y = net(x)
            d = discriminator(torch.cat([x, y], 1))
        np.testing.assert_allclose(y.numpy(), data["y"], rtol=0, atol=FORWARD)
        np.testing.assert_allclose(d.numpy(), data["d"], rtol=0, atol=FORWARD)


def discriminator_of(values, shape):
    """The discriminator that options name, for a generator of this shape."""
    return build_discriminator(DiscriminatorConfig(**values), shape.input_nc + shape.output_nc)


def loss_cases(pattern):
    for path in files("losses"):
        for key in load_npz(path):
            if match := re.fullmatch(pattern, key):
                yield pytest.param(path, *match.groups(), id=f"{path.stem}-{key}")


@cases("path, mode, label", loss_cases(r"(vanilla|lsgan|wgangp)_(real|fake)"))
def test_adversarial_loss(path, mode, label):
    data = load_npz(path)
    found = adversarial(torch.from_numpy(data["pred"]), label == "real", mode)
    assert found.item() == pytest.approx(float(data[f"{mode}_{label}"]), rel=1e-5)


@cases("path", [path for path in files("losses") if "fake_B" in load_npz(path)])
def test_reconstruction_losses(path):
    data = load_npz(path)
    fake, real = torch.from_numpy(data["fake_B"]), torch.from_numpy(data["real_B"])
    assert masked_l1(fake, real, None).item() == pytest.approx(float(data["l1"]), rel=1e-5)
    assert masked_l1(fake, real, torch.ones_like(fake, dtype=bool)).item() == pytest.approx(float(data["l1"]), rel=1e-5)
    assert torch.nn.functional.mse_loss(fake, real).item() == pytest.approx(float(data["mse"]), rel=1e-5)
    assert edge_loss(fake, real).item() == pytest.approx(float(data["edge"]), rel=1e-5)


@cases("path, which", loss_cases(r"gp_(real|fake)"))
def test_gradient_penalty(path, which):
    data, facts = load_npz(path), manifest()[path.name]["gradient_penalty"]
    config = DiscriminatorConfig(facts["netD"], facts["ndf"], norm=facts["norm"])
    discriminator = fill(build_discriminator(config, facts["input_nc"]))
    samples = [torch.from_numpy(data[f"gp_{name}_in"]) for name in ("real", "fake")]
    mix = torch.full((len(samples[0]),), float(which == "real"))
    found = gradient_penalty(discriminator, *samples, mix=mix, weight=facts["lambda"], constant=facts["constant"])
    assert found.item() == pytest.approx(float(data[f"gp_{which}"]), rel=1e-5)


@cases("path, name", loss_cases(r"(lr_\w+?)(?<!_cfg)"))
def test_learning_rates(path, name):
    data = load_npz(path)
    policy, *counts = data[f"{name}_cfg"].tolist()
    n_epochs, n_decay, start, iters = (int(float(value)) for value in counts)
    base = manifest()[path.name]["base_lr"]
    config = TrainingConfig(n_epochs, n_decay, start, lr=base, lr_policy=policy, lr_decay_iters=iters)
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=base)
    schedule = build_schedule(optimizer, config)
    rates = []
    for _ in data[name]:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        # The metric of a plateau is never set in the official code: it stays the same.
        schedule.step(*([0.0] if policy == "plateau" else []))
    np.testing.assert_allclose(rates, data[name], rtol=1e-6)


def transform_cases():
    for path in files("transforms"):
        for key in load_npz(path):
            if match := re.fullmatch(r"(\w+)_rgb", key):
                yield pytest.param(path, match[1], id=f"{path.stem}-{match[1]}")


def network_pair(rgb):
    """A tile file's DSM and NDVI as network values."""
    return [normalise_levels(part, middle) for part, middle in zip(halves(rgb), (DSM_MIDDLE, NDVI_MIDDLE), strict=True)]


@cases("path, name", transform_cases())
def test_reading_of_pairs(path, name):
    data = load_npz(path)
    dsm, ndvi = network_pair(data[f"{name}_rgb"])
    np.testing.assert_allclose(dsm, data[f"{name}_B"][0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ndvi, data[f"{name}_C"][0], rtol=0, atol=1e-6)
    of = manifest().get(path.name, {}).get("flip_of")
    if name == of:
        np.testing.assert_allclose(dsm[:, ::-1], data["flip_B"][0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(ndvi[:, ::-1], data["flip_C"][0], rtol=0, atol=1e-6)


@cases("path", [path for path in files("transforms") if "t2i_in" in load_npz(path)])
def test_writing_of_tiles(path):
    data = load_npz(path)
    values = data["t2i_in"].reshape(-1, *data["t2i_in"].shape[-2:])[:1]
    assert (as_rgb(np.floor(levels_of(values[0])).astype(np.uint8)) == data["t2i_out"]).all()


@cases("path", files("real"))
def test_real_tiles(path):
    data = load_npz(path)
    dsm, ndvi = network_pair(np.repeat(data["tile8"][..., None], 3, axis=2))
    x = np.stack([dsm, ndvi])[None]
    if "real_A" in data:
        np.testing.assert_allclose(x, data["real_A"], rtol=0, atol=1e-6)
    with torch.no_grad():
        y = fill(Generator(cfg_of(path)))(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(y, data["y"], rtol=0, atol=FORWARD)
    out = np.floor(levels_of(y[0, 0])).astype(np.uint8)
    different = out != data["out8"]
    assert np.abs(out.astype(int) - data["out8"]).max() <= 1 and different.mean() <= 1e-3


def training_cases():
    for path in files("train"):
        if "losses" in load_npz(path):
            yield pytest.param(path, id=path.stem)


def options_of(path):
    """The non-default options of a training file as a dictionary; one without a value is a flag that is set."""
    data = load_npz(path)
    given = [str(word) for word in (data["cfg"].tolist() if "cfg" in data else manifest()[path.name]["cfg"])]
    return {
        word.removeprefix("--"): "True" if after.startswith("--") else after
        for word, after in pairwise([*given, "--"])
        if word.startswith("--")
    }


def task_of(path):
    """The training of a file with the recipe's weights."""
    facts = manifest()["train"]
    base = {"lr": facts["learning_rate"], "beta1": facts["betas"][0], "no_dropout": facts["no_dropout"]}
    options = {key: str(value) for key, value in (base | facts["defaults"]).items()} | options_of(path)
    values = option_values(options, path)
    generator = fill(Generator(GeneratorConfig(**values["generator"])))
    discriminator = fill(discriminator_of(values["discriminator"], generator.config))
    return Pix2PixTask(Pair(generator, discriminator).train(), [], TrainingConfig(**values["training"]), per_epoch=100)


def steps_of(data):
    """The batch of every step: target A, input DSM B and, where there is one, NDVI C."""
    count = sum(re.fullmatch(r"s\d+_A", key) is not None for key in data)
    for prefix in [""] if "A" in data else [f"s{number}_" for number in range(count)]:
        inputs = [torch.from_numpy(data[prefix + key]) for key in "BC" if prefix + key in data]
        yield {"x": torch.cat(inputs, 1), "y": torch.from_numpy(data[f"{prefix}A"])}


def compare_fakes(data, number, generator, batch):
    """Compare what the generator answers before a step, where the file holds it; its buffers stay as they are."""
    stored = data.get(f"fake_B_s{number}", data.get("fake_B") if not number else None)
    if stored is not None:
        with torch.no_grad():
            fake = copy.deepcopy(generator)(batch["x"]).numpy()
        np.testing.assert_allclose(fake, stored, rtol=0, atol=FORWARD)


@cases("path", training_cases())
def test_training_steps(path):
    data = load_npz(path)
    names_of = load_npz(GOLDEN / manifest().get(path.name, {}).get("loss_names_of", path.name))
    names = [str(name).removeprefix("loss_") for name in names_of["loss_names"]]
    task, gradients = task_of(path), {}
    expected = np.atleast_2d(data["losses"])
    for number, batch in enumerate(steps_of(data)):
        compare_fakes(data, number, task.model.generator, batch)
        loss, values = task.adversary_loss(batch)
        loss.backward()
        if not number:
            gradients |= {f"D/{k}": p.grad.clone() for k, p in task.model.discriminator.named_parameters()}
        task.adversary_optimizer.step()
        task.adversary_optimizer.zero_grad()
        loss, more = task.loss(batch)
        loss.backward()
        if not number:
            gradients |= {f"G/{k}": p.grad.clone() for k, p in task.model.generator.named_parameters()}
        task.optimizer.step()
        task.optimizer.zero_grad()
        found = {key: float(value) for key, value in {**values, **more}.items()}
        # The signed means of wgangp nearly cancel in D, so its error is measured by what it is made of.
        floor = 1e-5 * abs(found["D_fake"]) if task.config.gan_mode == "wgangp" else 0
        for name, value in zip(names, expected[number], strict=True):
            key = name.removesuffix("_unscaled")
            assert found[key] == pytest.approx(float(value), rel=1e-5, abs=floor if key == "D" else 0), name
    compare_gradients(data, gradients)
    assert number + 1 == len(expected)
    compare_weights(data, task.model, 2 * task.config.lr * len(expected))


def compare_gradients(data, gradients):
    for key in (key for key in data if key.startswith("grad0/")):
        found, wanted = gradients[key.removeprefix("grad0/")].numpy(), data[key]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max() + 1e-12, err_msg=key)
    if "grad_names" in data:
        for name, norm in zip(data["grad_names"].tolist(), data["grad_norms"].tolist(), strict=True):
            assert float(gradients[name].norm()) == pytest.approx(norm, rel=1e-3), name


def compare_weights(data, pair, farthest):
    """Compare all state after the last step; ``farthest`` is how far Adam can have moved any weight."""
    for letter, net in (("G", pair.generator), ("D", pair.discriminator)):
        stored = {key.removeprefix(f"end/{letter}/"): data[key] for key in data if key.startswith(f"end/{letter}/")}
        if not stored:
            continue
        state = {key: tensor.numpy() for key, tensor in net.state_dict().items()}
        assert state.keys() == stored.keys()
        weights = {key for key, _ in net.named_parameters()}
        errors = {key: np.abs(state[key] - stored[key].astype(np.float64)).ravel() for key in weights}
        assert max(error.max() for error in errors.values()) <= farthest + WEIGHT, letter
        moved = np.concatenate([errors[key] for key in weights - undriven(data, letter)])
        assert np.mean(moved <= WEIGHT) >= WEIGHT_FRACTION, letter
        for key in stored.keys() - weights:
            np.testing.assert_allclose(state[key], stored[key], rtol=1e-5, atol=WEIGHT, err_msg=key)


def undriven(data, letter):
    """Weights of a network without any gradient, as biases ahead of a norm: Adam moves them by rounding alone."""
    prefix = f"grad0/{letter}/"
    largest = {key.removeprefix(prefix): np.abs(data[key]).max() for key in data if key.startswith(prefix)}
    return {key for key, value in largest.items() if value <= 1e-4 * max(largest.values())}


@cases("path", files("scene_tiled"))
def test_tiled_scene(path):
    data, facts = load_npz(path), manifest()[path.name]
    tile = facts["tile"]
    grid = Grid(data["dsm8"].shape[1], data["dsm8"].shape[0], Affine(0.5, 0, 0, 0, -0.5, 0))
    heights = np.where(data["dsm8"] == 0, np.nan, data["dsm8"]).astype(np.float32)
    ndvi = (data["ndvi8"] / 127.5 - 1).astype(np.float32)[None]
    scene = Scene("golden", grid, dsm=ArraySource(DSM(heights, grid)), ndvi=ArraySource(Image(ndvi, grid)))
    net = fill(Generator(cfg_of(path)))
    method = Pix2Pix(Pix2PixConfig(net.config, values=ValueConfig("8bit"), inference=InferenceConfig(tile)))
    method.net, method.is_trained = net, True
    out = ArrayWriter(np.zeros(grid.shape, np.float32))
    method.prepare(scene, Context())
    run_tiles(method, scene, Context(), out, needs=(Need.DSM, Need.NDVI), fills=True)
    rows, cols = data["mosaic8"].shape
    different = out.heights[:rows, :cols] != data["mosaic8"]
    assert np.abs(out.heights[:rows, :cols] - data["mosaic8"]).max() <= 1 and different.mean() <= 1e-3
    names = {tile_name(tile, col, row) for row in range(0, rows, tile) for col in range(0, cols, tile)}
    assert names == {str(name) if str(name).endswith(".tif") else f"{name}.tif" for name in data["names"]}
    part = np.s_[rows - tile : rows, cols - tile : cols]
    x = network_tile(heights[part], ndvi[0][part], Window(0, 0, tile, tile), grid, ValueConfig("8bit"))[0]
    with torch.no_grad():
        y = net(torch.from_numpy(x[None]))[0, 0].numpy()
    np.testing.assert_allclose(y, data["last_tile"].reshape(y.shape), rtol=0, atol=FORWARD)
