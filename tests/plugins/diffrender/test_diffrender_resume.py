"""A refinement that was interrupted goes on with the numbers of one that was not."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

import rasterio  # noqa: E402
from bump_scene import bump_scene, refine, refine_until_killed, settings, written_scene  # noqa: E402

from refbench import Context, InputError  # noqa: E402
from refbench.contracts.errors import CancelledError  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402

CONFIG = DiffrenderConfig(
    steps=8,
    init_steps=5,
    batch=2,
    stride=2,
    neighbours=2,
    views=("v0", "v1"),
    tonemapper=True,
    tensorboard=False,
    checkpoint_s=1e9,
    loss=LossConfig(init_colour=300, colour=300, poisson=1.0),
)


def stopping_after(asked):
    """Return a question that is answered with yes after so many times."""
    left = [asked]

    def is_cancelled():
        left[0] -= 1
        return left[0] < 0

    return is_cancelled


def refined(config, **context):
    return Diffrender(config).refine(bump_scene(), Context(seed=3, **context))


def interrupted(config, folder, steps):
    with pytest.raises(CancelledError):
        refined(config, checkpoints=folder, is_cancelled=stopping_after(steps))


@pytest.mark.parametrize("steps", [0, 3, 4, 5, 9, 12, 15, 24])
def test_stopped_anywhere_the_numbers_stay(tmp_path, steps):
    whole = refined(CONFIG)
    interrupted(CONFIG, tmp_path / "kept", steps)
    again = refined(CONFIG, checkpoints=tmp_path / "kept")
    for name in ("v0", "v1"):
        np.testing.assert_array_equal(again.depths[name], whole.depths[name])
        notes = {key: value for key, value in again.notes["views"][name].items() if key != "checkpoint"}
        assert notes == whole.notes["views"][name]
    text = again.notes["views"]["v1" if steps >= 13 else "v0"]["checkpoint"]
    assert text == f"Resumed from stage {1 if steps % 13 < 5 else 2}, step {steps % 13 + 1}."


@pytest.mark.parametrize(
    "change",
    [
        {"ratio": 0.5, "init_ratio": 0.7},
        {"patience": 2, "lr": 1e-12},
        {"schedule": "cosine", "loss": replace(CONFIG.loss, photometric="charbonnier", patch=1.0)},
        {"train_mode": "transfer_func_depth", "init_train_mode": "scale"},
        {"compat": True, "activation": "sigmoid"},
    ],
)
def test_other_ways_of_moving_the_mesh_are_kept_too(tmp_path, change):
    if "ratio" in change:
        pytest.importorskip("open3d")
    config = replace(CONFIG, views=("v1",), **change)
    whole = refined(config)
    for steps in (2, 7) if "patience" not in change else (2, 6):
        folder = tmp_path / str(steps)
        interrupted(config, folder, steps)
        np.testing.assert_array_equal(refined(config, checkpoints=folder).depths["v1"], whole.depths["v1"])


def test_a_finished_view_takes_no_step(tmp_path):
    whole = refined(CONFIG, checkpoints=tmp_path)
    again = refined(CONFIG, checkpoints=tmp_path, is_cancelled=stopping_after(0))  # any step would ask
    np.testing.assert_array_equal(again.depths["v1"], whole.depths["v1"])
    assert again.notes["views"]["v1"]["checkpoint"] == "Resumed from stage 2, step 13."


@pytest.mark.parametrize("change", [{"lr": 2e-3}, {"stride": 4}, {"loss": LossConfig(colour=200)}, {"steps": 9}])
def test_another_configuration_starts_anew(tmp_path, change):
    interrupted(CONFIG, tmp_path, 7)
    other = replace(CONFIG, **change)
    found = refined(other, checkpoints=tmp_path)
    assert "starting from scratch" in found.notes["views"]["v0"]["checkpoint"]
    np.testing.assert_array_equal(found.depths["v0"], refined(other).depths["v0"])


def test_other_images_or_another_seed_start_anew(tmp_path):
    interrupted(CONFIG, tmp_path, 7)
    lifted = bump_scene(start=np.full((64, 64), 0.5, np.float32))
    found = Diffrender(CONFIG).refine(lifted, Context(seed=3, checkpoints=tmp_path))
    assert "starting from scratch" in found.notes["views"]["v0"]["checkpoint"]
    found = Diffrender(CONFIG).refine(lifted, Context(seed=4, checkpoints=tmp_path))
    assert "starting from scratch" in found.notes["views"]["v1"]["checkpoint"]


def test_what_does_not_touch_the_numbers_may_change(tmp_path):
    interrupted(CONFIG, tmp_path, 7)
    found = refined(replace(CONFIG, outputs=(), checkpoint_s=0.5, views=("v0",), min_views=1), checkpoints=tmp_path)
    assert found.notes["views"]["v0"]["checkpoint"] == "Resumed from stage 2, step 8."


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:2000]),
        lambda path: path.write_bytes(b"no checkpoint"),
        lambda path: path.write_bytes(b""),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({**torch.load(path), "state": {"stage": 1}}, path),
        lambda path: torch.save({**torch.load(path), "progress": None}, path),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    interrupted(CONFIG, tmp_path, 7)
    damage(tmp_path / "v0.pt")
    with pytest.raises(InputError, match=r"v0\.pt is damaged .*delete it") as error:
        refined(CONFIG, checkpoints=tmp_path)
    assert "\n" not in str(error.value)


def test_curves_go_on_where_they_ended(tmp_path):
    for name in ("whole", "again"):
        (tmp_path / name).mkdir()
    refined(CONFIG, scratch=tmp_path / "whole")
    interrupted(CONFIG, tmp_path / "kept", 9)
    found = refined(CONFIG, checkpoints=tmp_path / "kept", scratch=tmp_path / "again")
    assert found.files["log"] == tmp_path / "again" / "log"
    one, other = ((tmp_path / run / "log" / "v0.csv").read_text() for run in ("whole", "again"))
    assert one == other and len(one.splitlines()) == 14


# --- the command line -------------------------------------------------------------------------------------------------


def depth_of(folder, name):
    with rasterio.open(folder / f"depth_{name}.tif") as file:
        return file.read(1)


def test_a_killed_run_goes_on(tmp_path):
    scene = written_scene(tmp_path / "scene")
    options = settings(
        steps=60, init_steps=10, stride=2, batch=2, views='["v0","v1"]', checkpoint_s=0.0, tensorboard="false",
        joint="false", loss__colour=300, loss__poisson=1.0,
    )  # fmt: skip
    refine(scene, tmp_path / "whole", *options)
    kept = tmp_path / "kept"
    options += ["--checkpoints", str(kept)]
    refine_until_killed(scene, tmp_path / "out", kept / "log" / "v0.csv", 15, *options)
    assert not (tmp_path / "out").exists() and (kept / "v0.pt").exists() and not (kept / "v1.pt").exists()
    refine(scene, tmp_path / "out", *options)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    note = result["notes"]["views"]["v0"]["checkpoint"]
    assert note.startswith("Resumed from stage 2, step ") and 15 <= int(note.split()[-1].rstrip(".")) < 70
    for name in ("v0", "v1"):
        np.testing.assert_allclose(depth_of(tmp_path / "out", name), depth_of(tmp_path / "whole", name), rtol=1e-6)
    rows = list(csv.DictReader((tmp_path / "out" / "log" / "v0.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 71))


def test_mistakes_on_the_command_line(tmp_path):
    scene = written_scene(tmp_path / "scene")
    short = settings(steps=2, init_steps=0, views='["v0"]', tensorboard="false", joint="false")
    (tmp_path / "file").write_text("")
    assert "file" in refine(scene, tmp_path / "out", "--checkpoints", tmp_path / "file", *short, code=2)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "v0.pt").write_text("broken")
    text = refine(scene, tmp_path / "out", "--checkpoints", tmp_path / "kept", *short, code=2)
    assert "is damaged" in text and not (tmp_path / "out").exists()
    refine(scene, tmp_path / "out", "--checkpoints", tmp_path / "deep" / "er", *short)
    assert (tmp_path / "deep" / "er" / "v0.pt").exists()
