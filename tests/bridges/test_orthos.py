"""Images over a DSM: the best pair is chosen, its RPC bias found, and methods get orthos that they could use."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from makers import grid_of, looking_down, rpc_looking_down
from stereo_images import GRID, SIZE, SURFACE, texture

from refbench import DSM, Gives, Image, MethodRecord, Need, Scene, View
from refbench.bridges.orthos import DSMToOrtho
from refbench.bridges.pair_choice import RankedPair, best_pair, ranked_pairs
from refbench.bridges.plan import apply_optional, plan_bridges
from refbench.bridges.rpc_bias import compensated
from refbench.contracts.errors import UnsupportedError
from refbench.engine.inputs.prepare import prepare
from refbench.formats.raster import ArraySource
from refbench.geometry.biased_camera import BiasedCamera
from refbench.geometry.convergence import convergence_angle
from refbench.geometry.depth import render_depth

DAY = datetime(2026, 5, 1, tzinfo=timezone.utc)


def view(name, camera, days=None):
    """A view whose image is what ``camera`` sees of the surface."""
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    xyz = camera.unproject(cols, rows, render_depth(SURFACE, camera, SIZE))
    image = ArraySource(Image(texture(xyz).astype(np.float32)[None]))
    return View(name, image, camera, acquired=None if days is None else DAY + timedelta(days=days))


LEANS = {"west": -0.2, "east": 0.2, "near": 0.19}
CAMERAS = {name: rpc_looking_down(GRID, lean, size=SIZE) for name, lean in LEANS.items()}
VIEWS = {name: view(name, camera) for name, camera in CAMERAS.items()}
GROUND = np.stack([*GRID.centres(), SURFACE.heights], axis=-1)[::10, ::10].reshape(-1, 3).astype(np.float64)


def scene_of(views, **parts):
    return Scene("test", GRID, ArraySource(SURFACE), views=views, **parts)


def test_the_angle_is_that_of_the_lines_of_sight():
    expected = 2 * np.degrees(np.arctan(0.2))
    assert convergence_angle(CAMERAS["west"], CAMERAS["east"], GROUND[0]) == pytest.approx(expected, abs=1.0)
    assert convergence_angle(CAMERAS["west"], CAMERAS["west"], GROUND[0]) < 1e-4


def test_pairs_are_ranked_by_angle_overlap_and_time():
    best, *_, worst = ranked_pairs(list(VIEWS.values()), GROUND)
    assert {best.first.name, best.second.name} == {"west", "east"} or best.angle > 20
    assert {worst.first.name, worst.second.name} == {"east", "near"} and worst.angle < 2
    a, b = VIEWS["east"], VIEWS["west"]
    fresh, old, undated = (RankedPair(a, b, 20, 0.9, days) for days in (3, 300, None))
    assert fresh.score > undated.score > old.score > 0
    assert RankedPair(a, b, 20, 0.9, 3).score > RankedPair(a, b, 20, 0.4, 3).score
    assert RankedPair(a, b, 59, 1, 0).score < 0.1 and RankedPair(a, b, 61, 1, 0).score == 0
    assert best_pair(list(VIEWS.values()), 100.0).angle > 20


def test_the_pair_of_the_same_season_is_taken(tmp_path):
    views = {
        "a": replace(VIEWS["west"], name="a", acquired=DAY),
        "b": replace(VIEWS["east"], name="b", acquired=DAY + timedelta(days=200)),
        "c": replace(VIEWS["near"], name="c", acquired=DAY + timedelta(days=7)),
    }
    after = DSMToOrtho().apply(scene_of(views), tmp_path)
    assert after.pairs == (("a", "c"),) and "7 days apart" in after.bridges[0]


@pytest.mark.parametrize("bias", [(3.0, -2.0), (-5.25, 0.5)])
def test_an_rpc_bias_is_found_and_taken_away(tmp_path, bias):
    biased = replace(VIEWS["east"], camera=BiasedCamera(CAMERAS["east"], (-bias[0], -bias[1])))
    first, second = ((v.image.read(), v.camera) for v in (VIEWS["west"], biased))
    camera, found = compensated(first, second, SURFACE, SURFACE.valid)
    assert found == pytest.approx(bias, abs=0.2)
    assert np.abs(np.subtract(camera.project(GROUND), CAMERAS["east"].project(GROUND)))[:2].max() < 0.2
    views = {"a": replace(VIEWS["west"], name="a"), "b": replace(biased, name="b")}
    after = DSMToOrtho().apply(scene_of(views), tmp_path)
    left, right = (after.orthos[name].read() for name in after.pairs[0])
    both = left.valid & right.valid
    assert np.corrcoef(left.pixels[0][both], right.pixels[0][both])[0, 1] > 0.8
    assert "RPC bias of b compensated by" in after.bridges[0]


def test_images_of_something_else_keep_their_cameras():
    blank = Image(np.random.default_rng(0).normal(0, 1, (1, *SIZE)).astype(np.float32))
    first, second = ((v.image.read(), v.camera) for v in (VIEWS["west"], VIEWS["east"]))
    assert compensated(first, (blank, second[1]), SURFACE, SURFACE.valid) is None


def test_a_biased_camera_is_a_camera():
    camera = BiasedCamera(CAMERAS["west"], (3.0, -2.0))
    col, row, depth = camera.project(GROUND)
    assert np.allclose(camera.unproject(col, row, depth), GROUND, atol=1e-4)
    halved = camera.scaled(0.5, 0.5)
    assert np.allclose(halved.project(GROUND)[0], (col + 0.5) / 2 - 0.5)


RECORD = MethodRecord("some", "some:Some", "", (Need.DSM,), (Gives.DSM,), optional=(Need.ORTHO, Need.ORTHO_PAIR))


def test_what_a_method_could_use_is_bridged_unless_switched_off(tmp_path):
    scene = scene_of(VIEWS)
    found = prepare(scene, RECORD)
    assert found.bridges == () and [bridge.name for bridge in found.optional] == ["images-to-orthos"]
    assert "could use" in found.lines()[0]
    after, notes = apply_optional(scene, found.optional, tmp_path)
    assert notes == () and after.has(Need.ORTHO_PAIR)
    assert prepare(scene, RECORD, without=("images-to-orthos",)).optional == ()
    pair = {name: ArraySource(Image(SURFACE.heights[None], GRID)) for name in "lr"}
    assert prepare(scene_of(VIEWS, orthos=pair, pairs=(("l", "r"),)), RECORD).optional == ()
    assert prepare(scene_of({}), RECORD).optional == ()


def test_a_need_whose_bridge_is_switched_off_is_unsupported():
    with pytest.raises(UnsupportedError, match="the bridge images-to-orthos is switched off"):
        plan_bridges(scene_of(VIEWS), [Need.ORTHO_PAIR], without=("images-to-orthos",))


@pytest.mark.parametrize("count", [1, 2])
def test_images_beside_the_dsm_are_left_out_with_the_reason(tmp_path, count):
    aside = looking_down(grid_of(rows=20, cols=20, west=GRID.bounds.west + 60), 0.05, height=60.0, size=(40, 40))
    small = View("a", ArraySource(Image(np.ones((1, 40, 40), np.float32))), aside)
    views = {name: replace(small, name=name) for name in "ab"[:count]}
    scene = scene_of(views)
    after, notes = apply_optional(scene, prepare(scene, RECORD).optional, tmp_path)
    assert (
        not after.orthos
        and notes[0].startswith("The bridge images-to-orthos was not crossed")
        and "the DSM" in notes[0]
    )


def test_a_dsm_without_heights_gives_no_ortho(tmp_path):
    empty = replace(scene_of(VIEWS), dsm=ArraySource(DSM(np.full(GRID.shape, np.nan, np.float32), GRID)))
    with pytest.raises(UnsupportedError, match="holds no height"):
        DSMToOrtho().apply(empty, tmp_path)
