import numpy as np
import pytest
from affine import Affine

from refbench import DSM, Grid, Image, Mask, PointCloud
from refbench.contracts.errors import GridMismatchError, InputError

GRID = Grid(4, 3, Affine(1, 0, 0, 0, -1, 3))


def test_a_dsm_is_float32_finite_or_nan_and_read_only():
    heights = np.full((3, 4), 7, np.float32)
    heights[0, 0] = np.nan
    dsm = DSM(heights, GRID)
    assert dsm.valid.sum() == 11
    assert "8.3 % NaN" in repr(dsm)
    with pytest.raises(ValueError, match="read-only"):
        dsm.heights[1, 1] = 0
    for wrong in (heights.astype(np.float64), np.where(np.isnan(heights), np.inf, heights), heights[None]):
        with pytest.raises(InputError):
            DSM(wrong, GRID)
    with pytest.raises(GridMismatchError):
        DSM(heights[:2], GRID)


def test_an_image_checks_bands_names_and_valid_mask():
    pixels = np.zeros((2, 3, 4), np.uint16)
    assert Image(pixels, GRID, ("red", "nir")).shape == (3, 4)
    for arguments in (
        (pixels[0], GRID),
        (pixels, GRID, ("red",)),
        (pixels, None, (), np.ones((3, 4), np.uint8)),
        (pixels[:, :2], GRID),
    ):
        with pytest.raises(InputError):
            Image(*arguments)


def test_a_mask_knows_class_other_and_unknown():
    values = np.array([[0, 1, 255, 7], [0, 0, 1, 1], [255, 0, 1, 0]], np.uint8)
    mask = Mask(values, GRID, "water")
    assert mask.is_class.sum() == 4
    assert mask.is_other.sum() == 5
    with pytest.raises(InputError, match="water"):
        Mask(values.astype(int), GRID, "water")


def test_points_are_float64_finite_and_select_their_attributes():
    xyz = np.arange(12, dtype=np.float64).reshape(4, 3)
    cloud = PointCloud(xyz, intensity=np.arange(4), classes=np.zeros(4, np.uint8))
    part = cloud.where(np.array([True, False, True, False]))
    assert len(part) == 2 and part.intensity.tolist() == [0, 2] and part.colour is None
    assert repr(PointCloud(np.empty((0, 3)))) == "PointCloud(0 points in no CRS)"
    for wrong in (xyz.astype(np.float32), xyz[:, :2], np.full((2, 3), np.nan)):
        with pytest.raises(InputError):
            PointCloud(wrong)
    with pytest.raises(InputError, match="intensity"):
        PointCloud(xyz, intensity=np.arange(3))
