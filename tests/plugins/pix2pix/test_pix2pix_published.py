"""The published scores: masks whose scores are known by counting, the verdict, and the way to the table of a sweep."""

import json

import numpy as np
import pytest
from PIL import Image
from run_refbench import refbench

from refbench.contracts.errors import InputError
from refbench.registry.registry import load_registry
from refbench_pix2pix.footprints.mask_tiles import FOUND_FOLDER, REFERENCE_FOLDER, mosaic_of, score_folders
from refbench_pix2pix.footprints.published import NOTEBOOK_SCORES, NOTEBOOK_TILES, TILE_NAMES
from refbench_pix2pix.official.tile_scene import open_tile_folder

SIDE = 256


def block(cols, side=SIDE):
    """A mask whose first columns are building."""
    mask = np.zeros((side, side), np.uint8)
    mask[:, :cols] = 255
    return mask


def write_tiles(folder, masks):
    folder.mkdir(parents=True)
    for name, mask in masks.items():
        Image.fromarray(np.repeat(mask[..., None], 3, axis=2)).save(folder / f"{name}.tif")


def official(root, found, reference):
    """A checkout of official data with the given number of building columns, tile by tile."""
    names = sorted(TILE_NAMES)
    write_tiles(root / FOUND_FOLDER, {name: block(found[i % len(found)]) for i, name in enumerate(names)})
    write_tiles(root / REFERENCE_FOLDER, {name: block(reference) for name in names})
    return root


def test_there_are_thirteen_tiles_and_seven_scores():
    assert len(TILE_NAMES) == 13 and {"256-12288-6656", "256-12288-9728"} < TILE_NAMES
    reported = load_registry().methods.get("pix2pix").reported
    assert {number.metric: number.value for number in reported} == NOTEBOOK_SCORES
    assert {number.dataset for number in reported} == {NOTEBOOK_TILES}


def test_scores_are_means_over_tiles(tmp_path):
    """With a of 256 columns found and b true, a > b: MAE (a - b) / 256, Dice 2 b / (a + b), IoU b / a."""
    scores, names = score_folders(official(tmp_path, [96, 128], 64) / FOUND_FOLDER, tmp_path / REFERENCE_FOLDER)
    weights = np.array([7, 6]) / 13
    found = np.array([96, 128])
    assert len(names) == 13
    assert scores["mae"] == pytest.approx(weights @ ((found - 64) / 256))
    assert scores["dice"] == pytest.approx(weights @ (128 / (found + 64)))
    assert scores["iou"] == pytest.approx(weights @ (64 / found))
    # At threshold 0 all is building: IoU 64 / 256; at the other 255 it is that of the mask.
    assert scores["sod_iou"] == pytest.approx(weights @ ((255 * 64 / found + 0.25) / 256))


def test_a_verdict_is_given_for_the_tiles_of_the_notebook_only(tmp_path):
    official(tmp_path / "all", [70], 64)
    rows = json.loads(refbench(tmp_path, "pix2pix-scores", "all", "--json"))["scores"]
    assert {row["score"]: row["published"] for row in rows} == NOTEBOOK_SCORES
    verdicts = {row["score"]: row["verdict"] for row in rows}
    # MAE 6 / 256 is far from 0.0638, IoU 64 / 70 far from 0.808.
    assert verdicts["mae"] == verdicts["iou"] == "differs"
    for folder in (FOUND_FOLDER, REFERENCE_FOLDER):
        (tmp_path / "all" / folder / "256-12288-6656.tif").unlink()
    said = refbench(tmp_path, "pix2pix-scores", "all")
    assert "12 tiles, not the 13 of the notebook" in said and "differs" not in said


def test_equal_numbers_reproduce(tmp_path):
    """79 of 98 columns: IoU 0.806 and Dice 0.893, as published to 1 %, and an MAE that is not."""
    official(tmp_path, [98], 79)
    rows = json.loads(refbench(tmp_path, "pix2pix-scores", tmp_path, "--json"))["scores"]
    verdicts = {row["score"]: row["verdict"] for row in rows}
    assert verdicts["iou"] == verdicts["dice"] == "reproduces"


def test_folders_that_cannot_be_scored_are_told(tmp_path):
    official(tmp_path, [70], 64)
    (tmp_path / FOUND_FOLDER / "256-12288-6656.tif").unlink()
    assert "hold different tiles: 256-12288-6656" in refbench(tmp_path, "pix2pix-scores", tmp_path, code=2)
    with pytest.raises(InputError, match="holds no tiles"):
        score_folders(tmp_path, tmp_path)


def test_masks_lie_where_their_names_say(tmp_path):
    """The reference masks beside the official input tiles are the scene's buildings."""
    root = official(tmp_path, [70], 64)
    write_tiles(root / "pix2pix_inputs", {name: np.full((SIDE, 2 * SIDE), 9, np.uint8) for name in TILE_NAMES})
    scene = open_tile_folder(root / "pix2pix_inputs")
    mask = scene.masks["building"].read()
    assert mask.grid == scene.grid and mask.is_class.shape == (13 * SIDE, SIDE)
    assert mask.is_class[:, :64].all() and mask.is_other[:, 64:].all()
    levels, known = mosaic_of(root / FOUND_FOLDER, scene.grid)
    assert known.all() and np.array_equal(levels[SIDE : 2 * SIDE], block(70))


def test_a_sweep_over_the_tiles_says_the_verdict(tmp_path):
    """What the assessor finds on the scene of that name is held against the published numbers."""
    root = official(tmp_path / "data", [98], 79)
    write_tiles(root / "pix2pix_inputs", {name: np.full((SIDE, 2 * SIDE), 9, np.uint8) for name in TILE_NAMES})
    (tmp_path / "suite.yaml").write_text(
        "refbench_suite: 1\nname: notebook\nmethods: [{method: pix2pix, config: small}]\n"
        "scenes: [{path: data/pix2pix_inputs}]\n"
        f"assessors:\n  footprints: {{mask: {root / FOUND_FOLDER}, compat: true}}\n"
    )
    refbench(tmp_path, "bench", "suite.yaml", "--out", "out")
    tables = json.loads(refbench(tmp_path, "table", "out", "--format", "json"))["tables"]
    (reported,) = (table["rows"] for table in tables if table["name"] == "reported")
    rows = {row[1]["text"]: row[-1]["text"] for row in reported}
    assert rows["iou"] == rows["dice"] == "reproduces" and rows["mae"] == "differs"
