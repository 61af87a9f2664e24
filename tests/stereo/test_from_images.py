"""RPC images of a known surface become a scene that other verbs read."""

import json

import numpy as np
import pytest

pytest.importorskip("numba")
import yaml
from run_refbench import refbench
from stereo_images import GRID, SURFACE, view, write_views

from refbench import InputError, load_scene
from refbench.contracts.errors import UnsupportedError
from refbench.formats.raster_write import write_dsm
from refbench.stereo.relative_bias import relative_bias
from refbench.stereo.views import open_images, with_pairs


def middle():
    b = GRID.bounds
    return np.array([(b.west + b.east) / 2, (b.south + b.north) / 2, 100.0])


def test_relative_biases_are_found_up_to_what_images_cannot_tell():
    biases = {"a": (0.0, 0.0), "b": (0.5, 3.0), "c": (-0.5, -2.0)}
    views = [view(name, lean, biases[name]) for name, lean in zip("abc", (-0.2, 0.2, 0.0), strict=True)]
    found = relative_bias(views, middle())
    assert len(found.ties) >= 2 and found.residual_px < 0.3
    # All look along the rows, so only what lies across, the shift down, is seen, and only between images.
    down = {name: found.shifts[name][1] for name in "abc"}
    assert down["b"] - down["a"] == pytest.approx(3.0, abs=0.4)
    assert down["c"] - down["a"] == pytest.approx(-2.0, abs=0.4)


def test_images_without_a_pair_are_refused(tmp_path):
    paths = write_views(tmp_path, [view("a", 0.1), view("b", 0.1)])
    with pytest.raises(InputError, match="two images or more"):
        open_images(paths[:1])
    with pytest.raises(UnsupportedError, match="under an angle"):
        with_pairs(open_images(paths), 100.0, 7)


def test_images_become_a_scene_that_methods_run_on(tmp_path):
    paths = write_views(tmp_path, [view("a", -0.2), view("b", 0.2, (0.0, 1.5)), view("c", 0.02)])
    write_dsm(tmp_path / "truth.tif", SURFACE)
    said = refbench(
        tmp_path, "scene", "from-images", "--images", *paths, "--reference", "truth.tif", "--out", "made", "--pairs", 2
    )
    assert "Wrote made/scene.yaml" in said
    scene = load_scene(tmp_path / "made")
    assert scene.grid == GRID and scene.pairs and set(scene.views) == set("abc") and scene.reference is not None
    heights = scene.dsm.read().heights
    error = heights - SURFACE.heights
    error -= np.nanmedian(error)
    assert np.isfinite(heights).all() and np.median(np.abs(error)) < 0.25 and np.mean(np.abs(error) > 2) < 0.1
    assert len(scene.points.read()) > 5000
    notes = yaml.safe_load((tmp_path / "made" / "notes.yaml").read_text())
    assert len(notes["pairs"]) == 2 and notes["tie_points"] and 0.5 < notes["complete"] <= 1
    names = {path.name for path in (tmp_path / "made").iterdir()}
    assert {"dsm_provenance.tif", "dsm_std.tif", "dsm_count.tif", "pairs", "points.laz"} <= names
    assert "scratch" not in names and not list(tmp_path.glob(".made*"))
    refbench(tmp_path, "run", "made", "--method", "median", "--out", "refined", "--no-report")
    assert json.loads((tmp_path / "refined" / "result.json").read_text())["status"] == "ok"
    assert "not empty" in refbench(tmp_path, "scene", "from-images", "--images", *paths, "--out", "made", code=2)
