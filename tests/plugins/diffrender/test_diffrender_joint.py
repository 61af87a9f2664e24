"""All views in turns: depth maps agree better, and what was interrupted goes on with the same numbers."""

import csv
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from bump_scene import COLS, ROWS, bump, bump_scene, refine, refine_until_killed, settings, written_scene  # noqa: E402

from refbench import Context, InputError  # noqa: E402
from refbench.contracts.errors import CancelledError  # noqa: E402
from refbench.geometry.depth import render_depth  # noqa: E402
from refbench.geometry.sample import nearest  # noqa: E402
from refbench_diffrender.config import DiffrenderConfig, LossConfig  # noqa: E402
from refbench_diffrender.losses.losses import consistency_loss  # noqa: E402
from refbench_diffrender.method import Diffrender  # noqa: E402

NAMES = ("v0", "v1", "v2", "v3")
CONFIG = DiffrenderConfig(
    steps=150, init_steps=0, lr=1e-3, batch=2, stride=2, neighbours=3, min_views=1, joint=True, tensorboard=False,
    outputs=(), checkpoint_s=1e9, loss=LossConfig(colour=100, poisson=0.3, consistency=5),
)  # fmt: skip
SHORT = replace(CONFIG, steps=8, init_steps=5, turn=3, neighbours=2, views=("v0", "v1", "v2"), tonemapper=True)


def refined(config, **context):
    return Diffrender(config).refine(bump_scene(), Context(seed=3, **context))


def disagreement(depths):
    """Median difference (m) of every depth map to what the others hold of its points."""
    views, found = bump_scene().views, []
    row, col = np.mgrid[:ROWS, :COLS].astype(float)
    for one, other in itertools.permutations(NAMES, 2):
        points = views[one].camera.unproject(col, row, depths[one].astype(float))
        across, down, expected = views[other].camera.project(points)
        found.append(np.abs(nearest(depths[other], across, down) - expected)[12:36, 16:48])
    return float(np.nanmean(found))


def error(depths):
    true = {name: render_depth(bump(), view.camera, (ROWS, COLS)) for name, view in bump_scene().views.items()}
    return float(np.nanmean([np.abs(depths[name] - true[name])[12:36, 16:48] for name in NAMES]))


@pytest.mark.slow
def test_depth_maps_agree_better_than_those_refined_alone():
    alone, together = (refined(replace(CONFIG, joint=joint)).depths for joint in (False, True))
    assert disagreement(together) < 0.9 * disagreement(alone)
    assert error(together) < error(alone)


def test_without_the_term_the_order_of_steps_does_not_matter():
    config = replace(CONFIG, steps=7, turn=3, hidden_fraction=None, loss=replace(CONFIG.loss, consistency=0.0))
    alone, together = (refined(replace(config, joint=joint)) for joint in (False, True))
    for name in NAMES:
        np.testing.assert_array_equal(together.depths[name], alone.depths[name])
        assert together.notes["views"][name] == alone.notes["views"][name]


def test_the_term_is_the_robust_share_by_which_depths_differ():
    held = torch.tensor([[100.0, 100.0, 0.0, 100.0]])
    depth = torch.tensor([[[101.0, 100.0, 50.0, 150.0]], [[7.0, 7.0, 7.0, 7.0]]], requires_grad=True)
    visible = torch.tensor([1.0, 1.0, 1.0, 0.0]).reshape(1, 1, 4, 1).repeat(2, 1, 1, 1)
    loss = consistency_loss(depth, [held, None], visible)
    assert loss.item() == pytest.approx(((1e-2**2 + 1e-3**2) ** 0.5 - 1e-3) / 2, rel=1e-4)
    loss.backward()
    assert (depth.grad != 0).sum() == 1 and float(depth.grad[0, 0, 0]) == pytest.approx(1e-2 / 2, rel=0.01)
    assert float(consistency_loss(depth, [None, None], visible)) == 0


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="compat refines one view"):
        DiffrenderConfig(joint=True, compat=True)
    with pytest.raises(ValueError, match="turn must be"):
        DiffrenderConfig(turn=0)


# --- going on ---------------------------------------------------------------------------------------------------------


def stopping_after(asked):
    left = [asked]

    def is_cancelled():
        left[0] -= 1
        return left[0] < 0

    return is_cancelled


@pytest.mark.parametrize("steps", [0, 2, 3, 7, 10, 14, 22, 35, 38])
def test_stopped_anywhere_the_numbers_stay(tmp_path, steps):
    whole = refined(SHORT)
    with pytest.raises(CancelledError):
        refined(SHORT, checkpoints=tmp_path, is_cancelled=stopping_after(steps))
    again = refined(SHORT, checkpoints=tmp_path)
    for name in SHORT.views:
        np.testing.assert_array_equal(again.depths[name], whole.depths[name])
        notes = dict(again.notes["views"][name])
        assert notes.pop("checkpoint").startswith("Resumed from stage ")
        assert notes == whole.notes["views"][name]


def test_a_finished_run_takes_no_step(tmp_path):
    whole = refined(SHORT, checkpoints=tmp_path)
    again = refined(SHORT, checkpoints=tmp_path, is_cancelled=stopping_after(0))
    np.testing.assert_array_equal(again.depths["v1"], whole.depths["v1"])


@pytest.mark.parametrize("change", [{"turn": 2}, {"views": ("v0", "v1")}, {"lr": 2e-3}])
def test_another_problem_starts_anew(tmp_path, change):
    with pytest.raises(CancelledError):
        refined(SHORT, checkpoints=tmp_path, is_cancelled=stopping_after(11))
    other = replace(SHORT, **change)
    found = refined(other, checkpoints=tmp_path)
    assert "starting from scratch" in found.notes["views"]["v0"]["checkpoint"]
    np.testing.assert_array_equal(found.depths["v0"], refined(other).depths["v0"])


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    with pytest.raises(CancelledError):
        refined(SHORT, checkpoints=tmp_path, is_cancelled=stopping_after(11))
    path = tmp_path / "joint.pt"
    if damage is None:
        torch.save({**torch.load(path), "states": [1]}, path)
    else:
        path.write_bytes(damage)
    with pytest.raises(InputError, match=r"joint\.pt is damaged .*delete it"):
        refined(SHORT, checkpoints=tmp_path)


def test_progress_never_falls(monkeypatch):
    monkeypatch.setattr("refbench.training.per_scene.REPORT_S", 0.0)
    told = []
    refined(replace(SHORT, tonemapper=False), report=lambda fraction, text: told.append((fraction, text)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and len(fractions) == 3 * 13
    assert told[0][1].startswith("v0: step 1/13") and told[3][1].startswith("v1: step 1/13")


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path):
    scene = written_scene(tmp_path / "scene")
    options = settings(
        steps=80, init_steps=5, stride=2, batch=2, views='["v0","v1"]', checkpoint_s=0.0, tensorboard="false",
        joint="true", loss__colour=300, loss__poisson=1.0,
    )  # fmt: skip
    refine(scene, tmp_path / "whole", *options)
    kept = tmp_path / "kept"
    options += ["--checkpoints", str(kept)]
    refine_until_killed(scene, tmp_path / "out", kept / "log" / "v1.csv", 30, *options)
    refine(scene, tmp_path / "out", *options)
    results = [json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "out")]
    notes = [result["notes"]["views"]["v1"] for result in results]
    assert notes[1]["checkpoint"].startswith("Resumed from stage 2, step ")
    assert notes[0]["stage_2"]["last"] == pytest.approx(notes[1]["stage_2"]["last"], rel=1e-6)
    rows = list(csv.DictReader((tmp_path / "out" / "log" / "v1.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 86))
    assert float(rows[-1]["consistency"]) > 0
