"""Parts of a whole: jobs dealt out by name, rows of a raster."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refbench import InputError
from refbench.engine.job.parts import Part, assigned, find_parts, part_of

NAMES = st.lists(st.text(min_size=1, max_size=6), unique=True, max_size=60)


@given(NAMES, st.integers(1, 9), st.randoms())
def test_parts_hold_everything_once_equally_many_and_whatever_the_order(names, of, random):
    taken = [Part(index, of).take(names) for index in range(of)]
    assert sorted(position for part in taken for position in part) == list(range(len(names)))
    assert max(map(len, taken)) - min(map(len, taken)) <= 1
    other = random.sample(names, len(names))
    assert dict(zip(names, assigned(names, of), strict=True)) == dict(zip(other, assigned(other, of), strict=True))


def test_the_assignment_is_that_of_all_machines_and_years():
    # Written down: shards of one array may run on different versions of Python.
    assert assigned([f"median--scene-{i}--seed0" for i in range(8)], 3) == [1, 2, 1, 1, 0, 0, 2, 0]


def test_methods_of_a_scene_are_spread():
    names = [f"{method}--s{scene}--seed0" for scene in range(100) for method in "abcd"]
    slow = [part for name, part in zip(names, assigned(names, 4), strict=True) if name.startswith("a")]
    # One in four by chance: none of four shards gets all or none of the slow method's jobs.
    assert all(10 <= slow.count(part) <= 40 for part in range(4))


@given(st.integers(1, 50), st.integers(1, 500))
def test_rows_of_regions_join_without_a_gap(of, height):
    if of > height:
        with pytest.raises(InputError, match=f"--of {height} or less"):
            Part(0, of).rows(height)
        return
    rows = [Part(index, of).rows(height) for index in range(of)]
    assert rows[0][0] == 0 and rows[-1][1] == height
    assert all(first[1] == second[0] for first, second in itertools.pairwise(rows))
    assert max(end - first for first, end in rows) - min(end - first for first, end in rows) <= 1


@pytest.mark.parametrize(("index", "of", "said"), [(3, 3, "0 to 2"), (-1, 3, "0 to 2"), (0, 0, "at least 1")])
def test_what_is_no_part_is_refused(index, of, said):
    with pytest.raises(InputError, match=said):
        Part(index, of)


def test_folders_sort_as_parts_do(tmp_path):
    names = [Part(index, 12).name for index in range(12)]
    assert names == sorted(names)
    for name in [*names, "12-of-12", "notes", "1-of"]:
        (tmp_path / "out.shards" / name).mkdir(parents=True)
    assert [path.name for path in find_parts(tmp_path / "out", "shards")] == names
    assert [part_of(tmp_path / name) for name in ("01-of-12", "x")] == [Part(1, 12), None]
