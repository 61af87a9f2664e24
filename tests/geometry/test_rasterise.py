import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid
from refbench.geometry.neighbourhood import gaussian
from refbench.geometry.rasterise import layers, rasterise

ORIGIN = (500000.0, 5200000.0)
UTM = np.array([*ORIGIN, 0])
STATISTIC = {
    "min": np.min,
    "max": np.max,
    "mean": np.mean,
    "median": np.median,
    "std": np.std,
    "p90": lambda z: np.percentile(z, 90),
    "p12.5": lambda z: np.percentile(z, 12.5),
}


def brute(local, rows, cols, r, layer, radius=1, sigma=None, shape="disc", distance=None):
    """The same layer by loops over cells; ``local`` [N, 3] is relative to the corner, y up."""
    out = np.full((rows, cols), 0.0 if layer == "count" else np.nan)
    j, i = np.floor(local[:, 0] / r), np.floor(-local[:, 1] / r)
    for row in range(rows):
        for col in range(cols):
            d2 = (local[:, 0] - (col + 0.5) * r) ** 2 + (local[:, 1] + (row + 0.5) * r) ** 2
            own = (i == row) & (j == col)
            if layer == "gaussian":
                square = (abs(i - row) <= radius) & (abs(j - col) <= radius)
                near = d2 < ((radius + 0.5) * r) ** 2 if shape == "disc" else square
                w = np.ones(near.sum()) if sigma is None else np.exp(-d2[near] / (2 * sigma**2))
                if near.any():
                    out[row, col] = np.average(local[near, 2], weights=w)
            elif layer == "idw":
                near = d2 <= distance**2
                if (d2 == 0).any():
                    out[row, col] = local[d2 == 0, 2].mean()
                elif near.any():
                    out[row, col] = np.average(local[near, 2], weights=1 / d2[near])
            elif layer == "count":
                out[row, col] = own.sum()
            elif own.any():
                out[row, col] = STATISTIC[layer](local[own, 2])
    return out


def grid_of(rows, cols, r):
    return Grid(cols, rows, Affine(r, 0, ORIGIN[0], 0, -r, ORIGIN[1]))


# Eighths of a metre are exact in UTM, so that borders and ties are the same in both computations.
points = st.lists(
    st.tuples(st.integers(-16, 48), st.integers(-48, 16), st.integers(-1000, 1000)), min_size=0, max_size=40
).map(lambda rows: np.array(rows, np.float64).reshape(-1, 3) / 8)


@settings(max_examples=40, deadline=None)
@given(points, st.sampled_from(["count", *STATISTIC]), st.sampled_from([0.25, 0.5, 1.0, 2.0]))
def test_cell_layers_equal_a_brute_force(local, layer, r):
    rows, cols = 4, 5
    got = rasterise(local + UTM, grid_of(rows, cols, r), layer)
    np.testing.assert_allclose(got, brute(local, rows, cols, r, layer), rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    points,
    st.sampled_from([0.5, 1.0]),
    st.integers(0, 2),
    st.sampled_from([None, 0.3, 1.5]),
    st.sampled_from(["disc", "square"]),
)
def test_gaussian_equals_a_brute_force(local, r, radius, sigma, shape):
    got = rasterise(local + UTM, grid_of(4, 5, r), "gaussian", radius=radius, sigma=sigma, shape=shape)
    want = brute(local, 4, 5, r, "gaussian", radius, sigma, shape)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(points, st.sampled_from([0.5, 1.0]), st.sampled_from([0.2, 0.75, 1.3]))
def test_idw_equals_a_brute_force(local, r, distance):
    got = rasterise(local + UTM, grid_of(4, 5, r), "idw", distance=distance)
    want = brute(local, 4, 5, r, "idw", distance=distance)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_a_point_on_a_border_goes_right_and_down():
    xyz = np.array([[500000.5, 5199999.5, 7.0], [500002.0, 5199999.9, 1.0], [500000.1, 5199998.0, 1.0]])
    got = rasterise(xyz, grid_of(4, 4, 0.5), "count")
    assert got[1, 1] == 1
    assert got.sum() == 1  # the others lie on the open ends of the grid


def test_utm_coordinates_lose_nothing():
    local = np.round(np.random.default_rng(3).uniform(0, 8, (500, 3)), 3) * [1, -1, 1]
    near = Grid(16, 16, Affine(0.5, 0, 0, 0, -0.5, 0))
    for sigma in (0.15, 0.5):
        far = rasterise(local + UTM, grid_of(16, 16, 0.5), "gaussian", sigma=sigma)
        assert np.nanmax(abs(far - rasterise(local, near, "gaussian", sigma=sigma))) < 1e-6


def test_points_outside_feed_the_border_but_not_their_own_layers():
    xyz = np.array([[499999.9, 5199999.75, 3.0]])
    grid = grid_of(2, 2, 0.5)
    assert rasterise(xyz, grid, "count").sum() == 0
    assert rasterise(xyz, grid, "gaussian")[0, 0] == pytest.approx(3.0)
    assert rasterise(xyz, grid, "count", radius=1).tolist() == [[1, 0], [1, 0]]


def test_a_point_on_the_centre_takes_the_idw_cell():
    xyz = np.array([[500000.25, 5199999.75, 3.0], [500000.25, 5199999.75, 5.0], [500000.3, 5199999.7, 100.0]])
    assert rasterise(xyz, grid_of(1, 1, 0.5), "idw")[0, 0] == 4.0


def test_rotated_grid_holds_its_own_centres():
    grid = Grid(7, 5, Affine.translation(*ORIGIN) @ Affine.rotation(30) @ Affine.scale(0.5, -0.5))
    x, y = grid.centres()
    z = np.arange(35.0).reshape(5, 7)
    xyz = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    for layer in ("max", "median", "mean"):
        assert np.array_equal(rasterise(xyz, grid, layer), z)
    np.testing.assert_allclose(rasterise(xyz, grid, "gaussian", radius=0), z)


def test_values_replace_heights_and_nan_values_are_left_out():
    xyz = np.array([[500000.1, 5199999.9, 9.0], [500000.2, 5199999.9, 9.0], [500000.3, 5199999.9, 9.0]])
    values = np.array([1.0, np.nan, 4.0])
    grid = grid_of(1, 2, 0.5)
    expected = {"count": 2, "max": 4, "mean": 2.5, "median": 2.5, "gaussian": 2.5, "idw": 2.5, "std": 1.5}
    for layer, want in expected.items():
        options = {"radius": 1, "sigma": None} if layer == "gaussian" else {}
        got = rasterise(xyz[[0, 1, 0]] if layer == "idw" else xyz, grid, layer, values=values, **options)
        assert got[0, 0] == pytest.approx(want)


def test_more_points_than_a_chunk():
    local = np.random.default_rng(1).uniform(0, 4, (150_000, 3)) * [1, -1, 1]
    xyz, grid = local + UTM, grid_of(2, 2, 2.0)
    for layer in ("count", "median", "max", "mean", "std"):
        assert np.allclose(rasterise(xyz, grid, layer), brute(xyz - UTM, 2, 2, 2.0, layer), rtol=1e-10)


@pytest.mark.parametrize("layer", layers)
def test_no_point_is_no_data(layer):
    got = rasterise(np.zeros((0, 3)), grid_of(2, 3, 0.5), layer)
    assert got.shape == (2, 3)
    assert (got == 0).all() if layer == "count" else np.isnan(got).all()


def test_weights_and_number_of_a_neighbourhood():
    xyz = np.array([[500000.25, 5199999.75, 3.0], [500000.75, 5199999.75, 5.0]])
    around = gaussian(xyz, xyz[:, 2], grid_of(1, 1, 0.5), radius=1, sigma=0.5)
    assert around.number[0, 0] == 2
    assert around.weight[0, 0] == pytest.approx(1 + np.exp(-0.5))


def test_float32_coordinates_are_refused():
    with pytest.raises(InputError, match="float64"):
        rasterise(np.zeros((2, 3), np.float32), grid_of(1, 1, 1.0))


@pytest.mark.parametrize(
    ("layer", "options", "word"),
    [
        ("mode", {}, "no layer"),
        ("p101", {}, "no layer"),
        ("median", {"radius": 1}, "radius"),
        ("mean", {"distance": 1.0}, "distance"),
        ("gaussian", {"radius": -1}, "radius"),
        ("gaussian", {"sigma": 0.0}, "Sigma"),
        ("gaussian", {"shape": "star"}, "shape"),
        ("idw", {"distance": 0.0}, "distance"),
        ("max", {"values": np.zeros(3)}, "values"),
    ],
)
def test_bad_parameters_are_named(layer, options, word):
    with pytest.raises(InputError, match=word):
        rasterise(np.zeros((2, 3)), grid_of(1, 1, 1.0), layer, **options)
