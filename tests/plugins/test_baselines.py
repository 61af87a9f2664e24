import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import grid_of
from scipy import ndimage

from refbench import DSM, Context, InputError, Scene, TileBatch, TileMethod, TilePlan
from refbench.engine.inputs.config import load_config
from refbench.engine.tiles.stream import ArrayWriter, run_tiles
from refbench.formats.raster import ArraySource
from refbench.registry.registry import load_registry
from refbench_baselines.config import FillConfig
from refbench_baselines.fill import filled
from refbench_baselines.filters import bilateral, guided, median, plain_tv_l1_steps, tv_l1

BASELINES = ("input", "median", "bilateral", "guided", "tv-l1", "fill")
LOCAL = ("input", "median", "bilateral", "guided", "tv-l1")


def town(rows=90, cols=110, seed=0, voids=True):
    """Two blocks on sloping ground, with noise of 0.3 m, spikes and voids; and the reference."""
    rng = np.random.default_rng(seed)
    row, col = np.mgrid[:rows, :cols]
    reference = (40 + 0.05 * row + 12.0 * ((row // 30 + col // 35) % 2)).astype(np.float32)
    noisy = reference + rng.normal(0, 0.3, reference.shape).astype(np.float32)
    noisy[rng.random(reference.shape) < 0.02] += 8
    if voids:
        noisy[rng.random(reference.shape) < 0.03] = np.nan
        noisy[20:35, 40:52] = np.nan
        noisy[:4, :7] = np.nan
    return noisy, reference


def make(name, **overrides):
    record = load_registry().methods.get(name)
    return record.load()(load_config(record, None, overrides).instance, None)


class Held:
    """A DSM in memory as a source."""

    files = ()

    def __init__(self, heights, on=None):
        self._dsm = DSM(heights, on or grid_of(*heights.shape))
        self.grid = self._dsm.grid

    def read(self, window=None):
        assert window is None
        return self._dsm


def apply(method, heights, plan=None):
    """Run a tile method by the rules of the contracts: cut with NaN around, blend by the plan's weights."""
    on = grid_of(*heights.shape)
    plan = plan or method.plan(on)
    total, weight = np.zeros(heights.shape), np.zeros(heights.shape)
    margin = 2 * max(plan.height, plan.width)
    padded = np.pad(heights, margin, constant_values=np.nan)
    for index in range(len(plan)):
        window = plan.window(index)
        rows, cols = window.shifted(margin, margin).slices
        offset = np.nan_to_num(np.nanmin(padded[rows, cols])) if np.isfinite(padded[rows, cols]).any() else 0.0
        batch = TileBatch((window,), on, np.array([offset]), np.zeros((1, 2)), dsm=padded[rows, cols][None] - offset)
        out = method.refine_tiles(batch, Context())[0] + offset
        inside = window.intersection(on.full_window)
        cut = inside.shifted(-window.col_off, -window.row_off).slices
        fraction = np.outer(plan.row_weights, plan.col_weights)[cut]
        known = np.isfinite(out[cut])
        total[inside.slices] += np.where(known, out[cut] * fraction, 0)
        weight[inside.slices] += np.where(known, fraction, 0)
    return np.divide(total, weight, out=np.full(heights.shape, np.nan), where=weight > 0)


@pytest.mark.parametrize("name", BASELINES)
def test_the_record_agrees_with_the_class(name):
    record = load_registry().methods.get(name)
    assert [need.value for need in record.needs] == ["dsm"]
    assert isinstance(make(name), TileMethod) == (name in LOCAL)
    assert record.fills == (name == "fill")
    assert record.official_licence == ""


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("core", [32, 64])
def test_tiled_equals_whole(name, core):
    from refbench_baselines.local import halo_plan

    heights, _ = town()
    method = make(name, **({"iterations": 20} if name == "tv-l1" else {}))
    whole = apply(method, heights, TilePlan.whole(grid_of(*heights.shape)))
    tiled = apply(method, heights, halo_plan(grid_of(*heights.shape), method.halo, core))
    assert np.array_equal(np.isnan(whole), np.isnan(tiled))
    assert np.nanmax(np.abs(whole - tiled)) < 1e-5


@pytest.mark.parametrize("name", LOCAL)
def test_the_engine_streams_what_the_contract_promises(name):
    heights, _ = town(60, 70)
    scene = Scene("s", grid=grid_of(*heights.shape), dsm=ArraySource(DSM(heights, grid_of(*heights.shape))))
    writer = ArrayWriter(np.full(heights.shape, 99, np.float32))
    run_tiles(make(name), scene, Context(), writer, needs=load_registry().methods.get(name).needs)
    assert np.allclose(writer.heights, apply(make(name), heights), atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("name", LOCAL)
@given(rows=st.integers(1, 40), cols=st.integers(1, 40), core=st.integers(1, 17))
@settings(max_examples=15, deadline=None)
def test_the_plan_covers_every_pixel_exactly_once(name, rows, cols, core):
    from refbench_baselines.local import halo_plan

    plan = halo_plan(grid_of(rows, cols), make(name).halo, core)
    cover = np.zeros((rows, cols))
    margin = 2 * max(plan.height, plan.width)
    padded = np.pad(cover, margin)
    for index in range(len(plan)):
        padded[plan.window(index).shifted(margin, margin).slices] += np.outer(plan.row_weights, plan.col_weights)
    assert (padded[margin : margin + rows, margin : margin + cols] == 1).all()


@pytest.mark.parametrize("name", LOCAL)
def test_nodata_neither_spreads_nor_is_filled(name):
    heights, _ = town()
    before = heights.copy()
    assert np.array_equal(np.isnan(apply(make(name), heights)), np.isnan(heights))
    assert np.array_equal(before, heights, equal_nan=True)


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 2)])
def test_tiny_and_empty_rasters(name, shape):
    assert np.isnan(apply(make(name), np.full(shape, np.nan, np.float32))).all()
    level = apply(make(name), np.full(shape, 123.5, np.float32))
    assert np.abs(level - 123.5).max() < 1e-4


@pytest.mark.parametrize("name", ["median", "bilateral", "guided", "tv-l1"])
def test_a_plane_stays_and_noise_goes(name):
    heights, reference = town()
    valid = np.isfinite(heights)
    out = apply(make(name), heights)
    flat = valid & (ndimage.maximum_filter(reference, 9) - ndimage.minimum_filter(reference, 9) < 1)
    before, after = np.abs(heights - reference)[flat], np.abs(out - reference)[flat]
    # The bilateral filter takes a spike for a surface of its own: it only has to smooth the rest.
    assert np.median(after) < 0.8 * np.median(before)
    assert np.quantile(np.abs(out - reference)[valid], 0.9) <= np.quantile(np.abs(heights - reference)[valid], 0.9)


@pytest.mark.parametrize("size", [1, 3, 7])
def test_the_median_is_the_median_of_the_known(size):
    heights, _ = town(25, 30)
    reach = size // 2
    got = median(heights, size)
    for row, col in np.argwhere(np.isfinite(heights)):
        part = heights[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1]
        assert got[row, col] == np.float32(np.nanmedian(part))


def test_the_bilateral_filter_is_its_definition():
    heights, _ = town(18, 20)
    radius, sigma_px, sigma_m = 3, 2.0, 1.0
    got = bilateral(heights, radius, sigma_px, sigma_m)
    rows, cols = np.mgrid[: heights.shape[0], : heights.shape[1]]
    for row, col in np.argwhere(np.isfinite(heights)):
        distance = (rows - row) ** 2 + (cols - col) ** 2
        weight = np.exp(-distance / (2 * sigma_px**2) - (heights.astype(float) - heights[row, col]) ** 2 / 2)
        weight[(distance > radius**2) | np.isnan(heights)] = 0
        assert got[row, col] == pytest.approx(np.nansum(weight * heights) / weight.sum(), abs=2e-5)


def test_the_guided_filter_is_its_definition():
    heights, _ = town(18, 20)
    radius, epsilon = 2, 0.49
    got = guided(heights, radius, epsilon**0.5)
    models = {}

    def window(row, col):
        return np.s_[max(0, row - radius) : row + radius + 1, max(0, col - radius) : col + radius + 1]

    for row, col in np.argwhere(np.isfinite(heights)):
        part = heights[window(row, col)].astype(float)
        slope = np.nanvar(part) / (np.nanvar(part) + epsilon)
        models[row, col] = slope, np.nanmean(part) * (1 - slope)
    for row, col in models:
        near = [models[r, c] for r, c in models if abs(r - row) <= radius and abs(c - col) <= radius]
        expected = np.mean([slope * float(heights[row, col]) + offset for slope, offset in near])
        assert got[row, col] == pytest.approx(expected, abs=1e-4)


def test_tv_l1_lowers_its_energy_and_converges():
    heights, _ = town(40, 50)
    valid = np.isfinite(heights)

    def energy(out):
        east = np.where(valid[:, :-1] & valid[:, 1:], np.diff(np.nan_to_num(out), axis=1), 0)
        south = np.where(valid[:-1] & valid[1:], np.diff(np.nan_to_num(out), axis=0), 0)
        length = np.hypot(np.pad(east, ((0, 0), (0, 1))), np.pad(south, ((0, 1), (0, 0))))
        return length.sum() + 0.8 * np.abs(out - heights)[valid].sum()

    energies = [energy(tv_l1(heights, 0.8, steps)) for steps in (1, 30, 100, 2000)]
    assert energies[0] > energies[1] > energies[2] > energies[3]
    assert energies[2] < 1.02 * energies[3]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_compiled_tv_l1_equals_the_plain_form_bit_by_bit(rows, cols, iterations, seed):
    kernels = pytest.importorskip("refbench_baselines.kernels", reason="numba is not installed")
    rng = np.random.default_rng(seed)
    valid = rng.random((rows, cols)) < 0.8
    data = np.where(valid, rng.normal(0, 5, (rows, cols)), 0).astype(np.float32)
    limit = np.float32(rng.uniform(0.1, 2))
    got = kernels.tv_l1_steps(data, valid, iterations, limit)
    assert np.array_equal(got, plain_tv_l1_steps(data, valid, iterations, limit))


def test_tv_l1_keeps_a_step_and_removes_a_spike():
    heights = np.zeros((30, 30), np.float32)
    heights[:, 15:] = 10
    spiked = heights.copy()
    spiked[5, 5] = 25
    out = tv_l1(spiked, 0.8, 300)
    assert np.abs(out - heights).max() < 0.2


@pytest.mark.parametrize("kind", ["nearest", "idw", "laplace"])
def test_fill_fills_every_void_and_touches_nothing_else(kind):
    heights, _ = town()
    out = filled(heights, FillConfig(kind=kind))
    assert out.dtype == np.float32 and np.isfinite(out).all()
    valid = np.isfinite(heights)
    assert np.array_equal(out[valid], heights[valid])
    assert out.min() >= np.nanmin(heights) - 1e-3 and out.max() <= np.nanmax(heights) + 1e-3


def test_laplace_continues_a_plane():
    row, col = np.mgrid[:60, :70]
    plane = (500 + 0.1 * col - 0.2 * row).astype(np.float32)
    holed = plane.copy()
    holed[15:45, 20:50] = np.nan
    holed[5, 5] = np.nan
    assert np.abs(filled(holed, FillConfig(kind="laplace")) - plane).max() < 2e-3


def test_nearest_and_idw_are_their_definitions():
    heights = np.full((9, 9), np.nan, np.float32)
    heights[0, 0], heights[8, 8], heights[0, 8] = 1.0, 2.0, 5.0
    known = np.argwhere(np.isfinite(heights))
    nearest = filled(heights, FillConfig(kind="nearest"), (2.0, 1.0))
    idw = filled(heights, FillConfig(kind="idw", power=3.0), (2.0, 1.0))
    for row, col in ((4, 1), (7, 3), (1, 5)):
        distance = np.hypot((known[:, 0] - row) * 1.0, (known[:, 1] - col) * 2.0)
        values = heights[tuple(known.T)]
        assert nearest[row, col] == values[distance.argmin()]
        assert idw[row, col] == pytest.approx((values * distance**-3).sum() / (distance**-3).sum(), abs=1e-5)


def test_fill_stops_at_the_distance_that_was_asked_for():
    heights = np.full((5, 41), np.nan, np.float32)
    heights[:, 0] = 3
    out = filled(heights, FillConfig(kind="nearest", max_distance_m=4.0), (0.5, 0.5))
    assert np.isfinite(out[:, :9]).all() and np.isnan(out[:, 9:]).all()


def test_fill_says_what_it_made_up():
    heights, _ = town()
    prediction = make("fill").refine(Scene("s", dsm=Held(heights)), Context())
    assert np.array_equal(prediction.provenance == 1, np.isfinite(heights))
    assert np.array_equal(prediction.provenance == 3, np.isnan(heights))
    assert prediction.notes == {"filled_pixels": int(np.isnan(heights).sum()), "voids_left": 0}
    assert prediction.dsm.grid == grid_of(*heights.shape)


def test_nothing_can_be_filled_from_nothing():
    with pytest.raises(InputError, match="no height"):
        make("fill").refine(Scene("s", dsm=Held(np.full((4, 4), np.nan, np.float32))), Context())


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("median", {"size": 4}),
        ("bilateral", {"radius": 0}),
        ("bilateral", {"sigma_m": -1}),
        ("guided", {"radius": 0}),
        ("tv-l1", {"iterations": 0}),
        ("fill", {"kind": "kriging"}),
        ("fill", {"max_distance_m": 0}),
        ("input", {"size": 3}),
    ],
)
def test_settings_without_sense_are_refused(name, overrides):
    with pytest.raises(InputError, match=r"odd|greater than 0|'nearest'|no configuration"):
        make(name, **overrides)
