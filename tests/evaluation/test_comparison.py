"""Methods on common ground: closed forms, symmetry, ties, seeds, what is left out."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from refbench.contracts.errors import InputError
from refbench.contracts.grid import Grid
from refbench.contracts.raster import DSM, Mask
from refbench.evaluation.comparison import BLOCK_KEYS, compare
from refbench.evaluation.evaluate import evaluate
from refbench.evaluation.metrics import METRICS, RANKED, metric
from refbench.evaluation.ranking import MIN_BLOCKS, difference, rank

SIZE, BLOCK = 48, 8
GRID = Grid(SIZE, SIZE, Affine(1, 0, 0, 0, -1, SIZE))
REFERENCE = DSM(np.random.default_rng(0).normal(100, 5, (SIZE, SIZE)).astype(np.float32), GRID)


def surface(error, holes=None):
    """Return the reference plus an error [rows, cols] or a constant, NaN in ``holes``."""
    heights = (REFERENCE.heights.astype(np.float64) + error).astype(np.float32)
    if holes is not None:
        heights[holes] = np.nan
    return DSM(heights, GRID)


def runs(*surfaces):
    return [lambda dsm=dsm: dsm for dsm in surfaces]


def compared(methods, **options):
    return compare(REFERENCE, methods, **{"block_px": BLOCK, "repeats": 60, **options})


def pair(found, key, stratum="all"):
    (entry,) = found.values["differences"][stratum][key]
    return entry


def noise(seed, scale=1.0):
    return np.random.default_rng(seed).normal(0, scale, (SIZE, SIZE))


def test_constant_offsets_have_a_closed_form():
    found = compared({"near": runs(surface(0.5)), "far": runs(surface(-2.0))})
    for key, value in (("mae", 1.5), ("rmse", 1.5), ("nmad", 0.0)):
        entry = pair(found, key)
        assert entry["value"] == pytest.approx(value, abs=1e-4)
        assert (entry["low"], entry["high"]) == pytest.approx((value, value), abs=1e-4)
    assert pair(found, "mae")["better"] == "first"
    ranks = found.values["ranks"]["all"]
    assert ranks["mae"] == {"near": {"rank": 1, "tied_with": []}, "far": {"rank": 2, "tied_with": []}}
    assert ranks["completeness_valid"]["near"] == {"rank": 1, "tied_with": ["far"]}
    row = found.values["methods"]["far"]
    assert row["common"]["all"]["mae"] == pytest.approx(2.0, abs=1e-4)
    assert row["common"]["intervals"]["all"]["mae"]["blocks"] == 36 == found.values["blocks"]


def test_the_common_domain_is_where_all_are_valid_and_completeness_stays_each_ones_own():
    holes = {name: np.zeros((SIZE, SIZE), bool) for name in "ab"}
    holes["a"][:8], holes["b"][:, :12] = True, True
    error = np.where(holes["b"], 9.0, 1.0)  # a is bad only where b has nothing
    found = compared({"a": runs(surface(error, holes["a"])), "b": runs(surface(1.0, holes["b"]))})
    values = found.values
    assert values["n_common"] == np.count_nonzero(~holes["a"] & ~holes["b"]) == 40 * 36
    a, b = values["methods"]["a"], values["methods"]["b"]
    assert a["common"]["all"]["mae"] == pytest.approx(1.0, abs=1e-4) and a["common"]["all"]["n"] == 40 * 36
    assert a["own"]["all"]["mae"] == pytest.approx((40 * 36 + 9 * 40 * 12) / (40 * 48), abs=1e-4)
    assert (a["common"]["all"]["completeness_valid"], b["common"]["all"]["completeness_valid"]) == (40 / 48, 36 / 48)
    assert a["common"]["all"]["completeness_common"] == 40 * 36 / 48**2
    assert pair(found, "completeness_valid")["value"] == pytest.approx(-4 / 48)
    assert pair(found, "mae")["better"] is None
    alone = evaluate(surface(1.0, holes["b"]), REFERENCE, bootstrap=False)
    assert b["own"]["all"]["rmse"] == pytest.approx(alone["all"]["rmse"])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.2, 2.0), holes=st.floats(0, 0.5))
def test_differences_are_symmetric(seed, factor, holes):
    lost = np.random.default_rng(seed + 1).random((SIZE, SIZE)) < holes
    a, b = runs(surface(noise(seed))), runs(surface(factor * noise(seed + 2), lost))
    options = {"baseline": surface(noise(seed + 3))}
    forth, back = compared({"a": a, "b": b}, **options), compared({"b": b, "a": a}, **options)
    swapped = {"first": "second", "second": "first", None: None}
    for key in RANKED:
        one, other = pair(forth, key), pair(back, key)
        assert one["value"] == pytest.approx(-other["value"], abs=1e-12)
        assert (one["low"], one["high"]) == pytest.approx((-other["high"], -other["low"]), abs=1e-9)
        assert one["better"] == swapped[other["better"]]
        assert forth.values["ranks"]["all"][key] == back.values["ranks"]["all"][key]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), copies=st.integers(2, 4))
def test_identical_methods_tie(seed, copies):
    same = surface(noise(seed), noise(seed + 1) > 1)
    found = compared({f"m{i}": runs(same) for i in range(copies)})
    for ranks in found.values["ranks"]["all"].values():
        assert all(row["rank"] == 1 and len(row["tied_with"]) == copies - 1 for row in ranks.values())
    for key in RANKED:
        assert all((e["value"], e["low"], e["high"]) == (0, 0, 0) for e in found.values["differences"]["all"][key])


def test_a_small_gain_everywhere_counts_though_the_intervals_overlap():
    blocks = np.kron(np.random.default_rng(3).normal(0, 2, (6, 6)), np.ones((BLOCK, BLOCK)))
    found = compared({"plain": runs(surface(blocks)), "better": runs(surface(0.95 * blocks))})
    rows = [found.values["methods"][name]["common"]["intervals"]["all"]["mae"] for name in ("plain", "better")]
    assert rows[0]["low"] < rows[1]["high"], "the intervals themselves overlap"
    assert pair(found, "mae")["better"] == "second"


def test_seeds_give_mean_spread_and_a_paired_test_on_the_mean_magnitude():
    found = compared({"seeded": runs(surface(1.0), surface(-3.0)), "steady": runs(surface(2.0))})
    row = found.values["methods"]["seeded"]
    assert row["runs"] == 2 and row["common"]["all"]["mae"] == pytest.approx(2.0, abs=1e-4)
    assert row["common"]["spread"]["all"]["mae"] == pytest.approx(np.sqrt(2), abs=1e-4)
    assert row["common"]["all"]["bias"] == pytest.approx(-1.0, abs=1e-4) and row["common"]["all"]["n"] == SIZE**2
    assert pair(found, "mae")["value"] == pytest.approx(0, abs=1e-4)
    assert found.values["methods"]["steady"]["common"]["spread"] == {}


def test_a_method_without_a_valid_pixel_does_not_empty_the_common_domain():
    nothing = surface(0.0, np.ones((SIZE, SIZE), bool))
    found = compared({"good": runs(surface(1.0)), "empty": runs(nothing), "half": runs(surface(0.0), nothing)})
    values = found.values
    assert values["n_common"] == SIZE**2 and set(values["left_out"]) == {"empty", "half"}
    assert "no valid pixel" in values["left_out"]["empty"] and "Run 2 of 2" in values["left_out"]["half"]
    assert set(values["ranks"]["all"]["mae"]) == {"good"}
    assert values["methods"]["empty"]["own"]["all"]["mae"] is None
    assert values["methods"]["empty"]["own"]["all"]["completeness_valid"] == 0
    assert "all" not in values["methods"]["half"]["common"]


def test_the_initial_dsm_is_compared_and_no_method_is_taken_for_it():
    found = compared({"input": runs(surface(0.5))}, initial=surface(1.0))
    entry = pair(found, "mae")
    assert (entry["first"], entry["second"], entry["better"]) == (None, "input", "second")
    assert found.values["input"]["common"]["all"]["mae"] == pytest.approx(1.0, abs=1e-4)
    assert set(found.values["methods"]) == set(found.values["ranks"]["all"]["mae"]) == {"input"}


def test_few_blocks_tell_no_difference_from_chance():
    methods = {"near": runs(surface(0.5)), "far": runs(surface(2.0))}
    few, single = compared(methods, block_px=24), compared(methods, block_px=SIZE)
    assert few.values["blocks"] == 4 < MIN_BLOCKS and pair(few, "mae")["low"] > 0 and pair(few, "mae")["better"] is None
    assert single.values["blocks"] == 0 and pair(single, "mae")["low"] is None
    assert single.values["methods"]["far"]["common"]["all"]["mae"] == pytest.approx(2.0, abs=1e-4)


def test_strata_have_differences_of_their_own():
    values = np.zeros((SIZE, SIZE), np.uint8)
    values[:, :24] = 1
    error = np.where(values == 1, 0.5, 3.0)
    masks = {"water": Mask(values, GRID, "water")}
    found = compared({"a": runs(surface(error)), "b": runs(surface(1.0))}, masks=masks)
    assert pair(found, "mae", "water")["better"] == "first" and pair(found, "mae")["better"] == "second"
    assert pair(found, "mae", "water")["blocks"] == 18


def test_block_sums_add_up_to_the_metrics():
    lost = noise(5) > 1
    found = compared({"a": runs(surface(noise(4), lost))}, initial=surface(noise(6)))
    row = found.values["methods"]["a"]
    for domain in ("own", "common"):
        n, e, absolute, square = (found.blocks["a", 0, domain][BLOCK_KEYS.index(key)].sum() for key in BLOCK_KEYS)
        values = row[domain]["all"]
        assert n == values["n"] and e / n == pytest.approx(values["bias"])
        assert absolute / n == pytest.approx(values["mae"]) and np.sqrt(square / n) == pytest.approx(values["rmse"])
    assert found.blocks[None, 0, "own"].shape == (4, 36)


def test_a_method_without_runs_is_refused():
    with pytest.raises(InputError, match="Method none has no DSM"):
        compared({"none": []})


@given(
    st.lists(st.sampled_from(["first", "second", None]), min_size=6, max_size=6),
)
def test_ranks_count_who_is_better(outcomes):
    labels = ["a", "b", "c", "d"]
    pairs = [(x, y) for i, x in enumerate(labels) for y in labels[i + 1 :]]
    entries = [{"first": x, "second": y, "better": z} for (x, y), z in zip(pairs, outcomes, strict=True)]
    ranks = rank(entries, labels)
    for label in labels:
        losses = [e for e in entries if label in (e["first"], e["second"]) and e["better"] and e[e["better"]] != label]
        assert ranks[label]["rank"] == 1 + len(losses)
        assert all(label in ranks[other]["tied_with"] for other in ranks[label]["tied_with"])


def test_better_follows_the_metrics_direction():
    samples = np.linspace(0.1, 0.2, 50)
    gain = difference("completeness_valid", (0.5, 0.6), (np.zeros(50), samples), 10)
    loss = difference("mae", (0.5, 0.6), (np.zeros(50), samples), 10)
    assert (gain["better"], loss["better"]) == ("second", "first")


def test_the_metric_table_knows_every_number_that_is_computed():
    building = np.zeros((SIZE, SIZE), np.uint8)
    building[10:30, 10:30] = 1
    found = evaluate(surface(noise(1)), REFERENCE, {"building": Mask(building, GRID, "building")}, bootstrap=False)
    keys = {
        key
        for name, values in found.items()
        if name != "notes"
        for key, value in values.items()
        if isinstance(value, (int, float))
    }
    assert keys <= set(METRICS) and "edge_gradient_ratio" in keys
    assert all(m.formula and m.label for m in METRICS.values())
    with pytest.raises(InputError, match=r"did you mean .*rmse"):
        metric("rsme")
