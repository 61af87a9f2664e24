"""Options become a request, and a request the command line that asks for it again."""

import math
from dataclasses import replace
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refbench import InputError
from refbench.bridges.plan import all_bridges
from refbench.cli.run import _spelt, command
from refbench.engine.job.parts import Part
from refbench.engine.job.request import JobRequest, SceneRequest, check_files

NAME = st.from_regex(r"[a-z][a-z0-9_]{0,7}", fullmatch=True)
PART = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=8)
PATH = st.lists(PART.filter(lambda part: part not in (".", "..")), min_size=1, max_size=3).map(
    lambda parts: "/no-such-root/" + "/".join(parts)
)
POSITIVE = st.floats(1e-6, 1e9)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3), max_leaves=6
)
VALUES = st.dictionaries(st.lists(NAME, min_size=1, max_size=2).map(".".join), VALUE, max_size=3)
FILES = st.fixed_dictionaries(
    {"dsm": PATH},
    optional={
        "points": PATH | st.lists(PATH, min_size=2, max_size=3),
        "keep_noise": st.just(True),
        "ndvi": PATH,
        "reference": PATH,
        "orthos": st.lists(PATH, min_size=1, max_size=3),
        "views": st.lists(PATH, min_size=1, max_size=3),
        "masks": st.dictionaries(NAME, PATH, min_size=1, max_size=2),
        "gsd": POSITIVE,
        "crs": st.sampled_from(["EPSG:32632", "EPSG:2056+5728"]),
        "vertical": st.sampled_from(["ellipsoid", "EPSG:5783"]),
        "height_unit": st.sampled_from(["metre", "foot", "us_survey_foot"]),
        "scene_id": NAME,
    },
)
SCENE = (
    st.builds(SceneRequest, path=PATH)
    | st.builds(SceneRequest, files=FILES)
    | st.builds(SceneRequest, name=NAME)
    | st.just(SceneRequest())
)
SIZE = st.integers(1, 1 << 50)
REGION = st.integers(1, 9).flatmap(lambda of: st.builds(Part, st.integers(0, of - 1), st.just(of)))
REQUEST = st.builds(
    JobRequest,
    method=NAME,
    scene=SCENE,
    out=PATH,
    config=st.none() | NAME.map("no-such-{}".format) | PATH,
    overrides=VALUES,
    weights=st.none() | NAME.map("no-such-{}".format) | PATH,
    seed=st.integers(0, 1 << 40),
    device=st.sampled_from(["cpu", "cuda", "cuda:1"]),
    threads=st.none() | st.integers(1, 64),
    memory_budget_bytes=SIZE,
    memory_cap_bytes=st.none() | SIZE,
    deadline_s=st.none() | POSITIVE,
    nodata=st.floats(allow_nan=False),
    coregister=st.sampled_from(["none", "initial-once"]),
    assessors=st.lists(NAME, max_size=2).map(tuple),
    assessor_options=VALUES,
    resampling=st.sampled_from(["bilinear", "cubic"]),
    checkpoints=st.none() | PATH,
    region=st.none() | REGION,
    no_bridges=st.lists(st.sampled_from([bridge.name for bridge in all_bridges()]), max_size=2).map(tuple),
).map(lambda request: replace(request, gsd=request.scene.files.get("gsd")))


def parsed(words):
    """The request that ``refbench run`` makes of words, by click's own parser."""
    assert words[:2] == ["refbench", "run"]
    options = command.make_context("run", words[2:]).params
    return JobRequest.from_options(options.pop("method"), options, _spelt)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUEST)
def test_a_request_comes_back_from_its_command_line(request):
    assert parsed(request.to_command_line()) == request


@settings(max_examples=50, deadline=None)
@given(REQUEST)
def test_a_request_comes_back_from_json(request):
    assert JobRequest.from_json(request.to_json()) == request


def test_a_nodata_code_that_is_no_number_comes_back():
    request = parsed(JobRequest("median", SceneRequest(), "/out", nodata=math.nan).to_command_line())
    assert math.isnan(request.nodata)


def test_another_interpreter_is_the_program_of_the_line():
    words = JobRequest("median", SceneRequest(), "/out", python="/env/bin/python").to_command_line()
    assert words[:5] == ["/env/bin/python", "-m", "refbench.cli.main", "run", "--method"]


def test_paths_are_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fast").mkdir()
    Path("mine.yaml").write_text("")
    options = {"dsm": Path("d.tif"), "views": ["v.tif"], "config": "mine.yaml", "weights": "fast", "threads": None}
    found = JobRequest.from_options("median", options)
    assert found.scene.files == {"dsm": str(tmp_path / "d.tif"), "views": [str(tmp_path / "v.tif")]}
    assert found.config == str(tmp_path / "mine.yaml")
    assert found.weights == "fast" and found.threads is None  # a bare name means known weights
    assert JobRequest.from_options("median", {"weights": "./fast"}).weights == str(tmp_path / "fast")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scene": "s", "dsm": "d.tif"}, r"Give either the scene s or plain files such as --dsm"),
        ({"scene": "s", "height_unit": "foot"}, r"--height-unit is for plain files"),
        ({"gsd": 0.5}, r"--gsd is for plain files"),
        ({"scene": "s", "data_set": "a"}, r"--data-set picks from an official configuration"),
        ({"orthos": "a.tif"}, r"--ortho must be a list of paths"),
        ({"dsm": 3}, r"--dsm must be a path, got 3"),
        ({"masks": {"water": None}}, r"--mask must be a path, got None"),
        ({"out": "a\0b"}, r"--out must be a path"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        JobRequest.from_options("median", options, _spelt)


def test_a_folder_of_another_system_takes_the_pixel_size_from_the_option(tmp_path):
    found = JobRequest.from_options("median", {"scene": tmp_path, "gsd": 0.25}, _spelt)
    assert found.gsd == 0.25 and found.scene == SceneRequest(str(tmp_path))
    assert found.to_command_line()[2:] == [str(tmp_path), "--method", "median", "--gsd", "0.25"]
    (tmp_path / "scene.yaml").write_text("refbench_scene: 1")
    with pytest.raises(InputError, match=r"says it in scene\.yaml"):
        JobRequest.from_options("median", {"scene": tmp_path, "gsd": 0.25}, _spelt)


def test_a_misspelt_plain_file_is_named():
    with pytest.raises(InputError, match=r"unknown name 'dms'; did you mean 'dsm'"):
        check_files({"dms": "d.tif"})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dsm", "a.tif", "--dsm", "b.tif"], "--dsm is given twice"),
        (["--ndvi", "a.tif", "--ndvi=b.tif"], "--ndvi is given twice"),
        (["--seed", "1", "--seed", "2", "--seed", "3"], "--seed is given 3 times"),
        (["--set", "weight=1", "--set", "weight=2"], "weight is given twice"),
        (["--mask", "water=a.tif", "--mask", "water=b.tif"], "water is given twice"),
    ],
)
def test_what_counts_once_is_given_once(words, sentence):
    from refbench.cli.main import cli

    with pytest.raises(click.UsageError, match=sentence):
        cli.main(["run", "--method", "median", *words], standalone_mode=False)


def test_the_verbs_of_a_group_are_looked_at_and_repeatable_options_stay():
    from refbench.cli.main import cli

    with pytest.raises(click.UsageError, match="--to is given twice"):
        cli.main(["scene", "export", "--to", "immpi", "--to", "pix2pix", "a", "b"], standalone_mode=False)
    words = ["run", "--method", "median", "--ortho", "a.tif", "--ortho", "b.tif", "--set", "a=1", "--set", "b=1", "s"]
    with pytest.raises(InputError, match=r"Give either the scene .* or plain files such as --ortho"):
        cli.main(words, standalone_mode=False)
