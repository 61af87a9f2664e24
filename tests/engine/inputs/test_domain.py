from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from refbench import DSM, Grid, Image, Scene
from refbench.contracts.points import PointCloud
from refbench.engine.inputs.domain import changed_weights, contrast, outside_domain, pixel_noise, weights_domain
from refbench.formats.cloud import HeldPoints
from refbench.formats.raster import ArraySource
from refbench.weights.domain import Domain
from refbench.weights.weights_folder import write_weights

GRID = Grid(300, 300, Affine(0.8, 0, 500_000, 0, -0.8, 5_500_000), CRS.from_epsg(32632))


def tilted(noise, seed=0):
    x, y = GRID.centres()
    rng = np.random.default_rng(seed)
    return (0.4 * (x - 500_000) - 0.2 * (y - 5_500_000) + rng.normal(0, noise, GRID.shape)).astype(np.float32)


def scene(noise=0.1, image=None):
    orthos = {} if image is None else {"left": ArraySource(Image(image[None].astype(np.float32), GRID, ("grey",)))}
    return Scene("here", GRID, ArraySource(DSM(tilted(noise), GRID)), orthos=orthos)


@pytest.mark.parametrize("sigma", [0.05, 0.7, 3.0])
def test_noise_is_that_of_a_pixel_whatever_the_slope(sigma):
    heights = tilted(sigma, seed=3)
    heights[::7] = np.nan
    heights[100:110, 20:60] += 30  # a building's edges are few
    assert pixel_noise(heights) == pytest.approx(sigma, rel=0.05)
    assert np.isnan(pixel_noise(np.full((50, 50), np.nan, np.float32)))


def test_contrast_is_that_of_a_two_valued_image():
    assert contrast(np.repeat([20.0, 60.0], 500)) == pytest.approx(0.5)
    assert contrast(np.full(500, 17.0)) == 0 == contrast(np.zeros(500))
    assert np.isnan(contrast(np.linspace(-1, 1, 500))) and np.isnan(contrast(np.ones(3)))


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        (Domain(gsd=(0.4, 0.6)), "a pixel size of 0.8 m; they know 0.4 to 0.6 m"),
        (Domain(gsd=(0.75, None)), None),
        (Domain(noise=(0.5, 2)), "noise of a pixel of 0.1 m; they know 0.5 to 2 m"),
        (Domain(noise=(None, 0.05)), "they know up to 0.05 m"),
        (Domain(noise=(0.05, 0.2)), None),
        (Domain(contrast=(0.2, None)), "ortho images of 0.05; they know 0.2 and more"),
        (Domain(density=(3, 12)), "a point density of 0.5 per square metre"),
        (Domain(images=1), None),
        (Domain(images=2), "take 2 ortho images, the scene has 1"),
        (Domain(ndvi=True), "take an NDVI, the scene has none"),
        (Domain(ndvi=False, images=0), None),
        (Domain(views=(2, None)), "a number of views of 0"),
    ],
)
def test_what_lies_outside_is_said_once(domain, said):
    values = np.where(np.arange(300 * 300).reshape(300, 300) % 2, 95.0, 105.0)
    rng = np.random.default_rng(5)
    corners = [[500_000, 5_499_800, 0], [500_200, 5_500_000, 0]]
    xyz = np.vstack([corners, rng.uniform([500_000, 5_499_800, 0], [500_200, 5_500_000, 9], (19_998, 3))])
    of = replace(scene(0.1, values), points=HeldPoints(PointCloud(xyz, GRID.crs)))
    found = outside_domain(domain, of)
    assert len(found) == (said is not None) and all(said in text for text in found)


def test_what_a_scene_does_not_hold_is_not_measured():
    asked = Domain(gsd=(9, 10), noise=(9, 10), contrast=(0.9, 1), density=(9, 10))
    assert outside_domain(asked, Scene("empty")) == ()


def test_other_weights_than_asked_are_named(tmp_path):
    for name in ("five", "one"):
        write_weights(tmp_path / name, {"a": np.zeros(1, np.float32)}, {"gsd": 1.0}, "")
    (said,) = changed_weights(tmp_path / "five", tmp_path / "one")
    assert "one run in place of five" in said
    assert changed_weights(tmp_path / "five" / "model.safetensors", tmp_path / "five") == ()
    assert changed_weights(None, tmp_path / "one") == () == changed_weights(tmp_path / "one", None)
    assert weights_domain(tmp_path / "one" / "model.safetensors").gsd == pytest.approx((0.9, 1.1))
    assert weights_domain(None) == Domain() == weights_domain(tmp_path)
