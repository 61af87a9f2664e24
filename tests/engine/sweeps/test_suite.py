import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from refbench.contracts.errors import ConfigError, InputError, MissingFileError
from refbench.engine.inputs.scene import open_scene
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.engine.job.result import Status
from refbench.engine.sweeps import cache_key, jobs
from refbench.engine.sweeps.jobs import plan_jobs, plan_rows, seed_note
from refbench.engine.sweeps.suite import check_trust, load_suite, shipped_suites
from refbench.files.sizes import parse_size
from refbench.registry.loader import Options
from refbench.registry.registry import build_registries
from refbench.scenes.cut import central_window, cut_scene
from refbench.scenes.discovery import found_scenes
from refbench.scenes.scene_yaml import embedded_scene_path, load_scene

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def plugin(monkeypatch):
    monkeypatch.delenv("REFBENCH_DATA", raising=False)
    registries = build_registries(Options((HERE / "sweep_plugin.py",)))
    assert not registries.broken
    for module in (cache_key, jobs):
        monkeypatch.setattr(module, "load_registry", lambda: registries)


@pytest.fixture
def suite_file(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text("refbench_suite: 1\nname: mine\n" + text)
        return path

    return write


def small(scene="{cut: {scene: embedded, size_m: 16}}"):
    return f"scenes: [{scene}]\n"


def test_deadlines_of_shipped_suites_are_generous():
    """A machine that is ten times slower than a free one of two cores ends them: quick takes 76 CPU s at most."""
    least = {"tiny": 100, "quick": 760}
    for name in shipped_suites():
        assert load_suite(name).budgets.deadline_s >= least.get(name, 3600)


def test_every_shipped_suite_reads_and_plans():
    assert set(shipped_suites()) >= {"tiny", "quick", "city", "real", "multiview"}
    for name in shipped_suites():
        suite = load_suite(name)
        assert suite.name == name and suite.shipped and suite.summary and plan_rows(suite)
        assert suite.budgets.deadline_s and suite.budgets.memory_cap_bytes
    cities = [scene.values["seed"] for scene in load_suite("city").scenes]
    assert len(set(cities)) >= 6 and min(cities) >= 1000 and len(load_suite("city").seeds) >= 3


ALL = "methods: all\nscenes: [embedded]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ALL + "budget: {}\n", "unknown key budget; did you mean budgets"),
        (
            ALL + "budgets: {deadline: 3}\n",
            "unknown key budgets.deadline; did you mean budgets.deadline_s",
        ),
        (
            ALL + "budgets: {deadline_s: soon}\n",
            "budgets.deadline_s: input should be a valid number, got 'soon'",
        ),
        (
            ALL + "budgets: {memory_cap: .inf}\n",
            "budgets.memory_cap: must be a size such as 500MB or 4GB",
        ),
        (
            ALL + "budgets: {threads: 1.5}\n",
            "budgets.threads: input should be a valid integer",
        ),
        (
            "methods: [{method: input, lable: x}]\nscenes: [embedded]\n",
            "unknown key methods.0.lable; did you mean methods.0.label",
        ),
        ("methods: [{method: input, label: a--b}]\nscenes: [embedded]\n", "label"),
        ("methods: [{label: x}]\nscenes: [embedded]\n", "methods.0: needs either the key method or the key needing"),
        ("methods: [{needing: [vews]}]\nscenes: [embedded]\n", "methods.0.needing.0: input should be 'grid', 'dsm'"),
        ("methods: []\nscenes: [embedded]\n", "methods: list should have at least 1 item"),
        ("methods: all\n", "scenes: field required"),
        ("methods: all\nscenes: [{town: 3}]\n", "unknown key scenes.0.town"),
        ("methods: all\nscenes: [{city: {size: 64}}]\n", "scenes.0.city.seed: "),
        (ALL + "seeds: [-1]\n", "seeds.0: input should be greater than or equal to 0"),
        (
            ALL + "protocol: {coregister: each}\n",
            "protocol.coregister: input should be 'none' or 'initial-once'",
        ),
        (
            ALL + "protocol: {resampling: cubik}\n",
            "protocol.resampling: must be auto or nearest or bilinear or cubic or average or gdal_nearest",
        ),
        ("methods: [\n", "is not valid YAML"),
    ],
)
def test_a_mistake_in_a_suite_is_named_with_file_and_key(suite_file, text, words):
    with pytest.raises(ConfigError) as caught:
        load_suite(suite_file(text))
    assert words in str(caught.value) and "mine.yaml" in str(caught.value)


def test_a_suite_that_is_not_there_or_of_another_version(tmp_path):
    with pytest.raises(MissingFileError, match="did you mean quick"):
        load_suite("quikc")
    path = tmp_path / "s.yaml"
    path.write_text("refbench_suite: 2\nmethods: all\nscenes: [embedded]\n")
    with pytest.raises(ConfigError, match="must say refbench_suite: 1"):
        load_suite(path)


def test_programs_of_a_foreign_suite_need_trust(suite_file):
    suite = load_suite(suite_file("methods: [{method: input, env: ./python}]\n" + small()))
    with pytest.raises(InputError, match="--trust") as caught:
        check_trust(suite, trust=False)
    assert str(suite_file("", "x").parent / "python") in str(caught.value)
    check_trust(suite, trust=True)


def test_only_methods_with_chance_run_every_seed(suite_file):
    suite = load_suite(suite_file("methods: [shift, noisy]\nseeds: [3, 4]\n" + small()))
    ids = [row.id for row in plan_rows(suite)]
    assert ids == [
        "shift--embedded-16m--seed3",
        "noisy--embedded-16m--seed3",
        "noisy--embedded-16m--seed4",
    ]
    assert seed_note(suite, plan_rows(suite)) == "Seed 3 only, as nothing in them is drawn by chance: shift."
    assert seed_note(replace(suite, seeds=(3,)), plan_rows(suite)) == ""
    assert [row.id for row in plan_rows(suite, ("*seed4",))] == ids[2:]
    assert [row.label for row in plan_rows(suite, ("shift",))] == ["shift"]
    with pytest.raises(InputError, match="leaves no job"):
        plan_rows(suite, ("nothing",))


def test_the_built_in_method_that_draws_runs_every_seed(suite_file):
    pytest.importorskip("torch")
    suite = load_suite(suite_file("methods: [diffrender]\nseeds: [0, 1, 2]\n" + small()))
    assert [row.seed for row in plan_rows(suite)] == [0, 1, 2]


def test_labels_are_unique_and_doubles_run_once(suite_file):
    twice = suite_file("methods: [{method: shift}, {method: shift, set: {metres: 2}}]\n" + small())
    with pytest.raises(ConfigError, match="two entries are called shift"):
        plan_rows(load_suite(twice))
    both = load_suite(suite_file("methods: [shift, {method: shift}, all]\n" + small()))
    labels = [row.label for row in plan_rows(both)]
    assert labels.count("shift") == 1 and {"input", "noisy"} <= set(labels)
    needing = load_suite(suite_file("methods: [{needing: [views]}]\n" + small()))
    labels = {row.label for row in plan_rows(needing)}
    assert "viewing" in labels and not labels & {"input", "shift", "noisy"}


def test_steps_go_to_the_methods_that_have_them(suite_file):
    suite = load_suite(suite_file("methods: [shift, median]\nbudgets: {steps: 7}\n" + small()))
    shift, median = plan_rows(suite)
    assert shift.facts["config"]["steps"] == 7 and median.facts["overrides"] == {}
    with pytest.raises(ConfigError, match="unknown key meters; did you mean metres"):
        plan_rows(load_suite(suite_file("methods: [{method: shift, set: {meters: 2}}]\n" + small())))


def test_what_cannot_be_had_is_a_skipped_job_with_a_reason(suite_file, tmp_path):
    text = "methods: [input, weightless, lonely, nosuch]\nscenes: [{found_in: $REFBENCH_DATA}, embedded]\n"
    planned = {job.id: job for job in plan_jobs(load_suite(suite_file(text)), tmp_path / "out")}
    assert planned["input--REFBENCH_DATA--seed0"].ending[0] is Status.SKIPPED
    assert "Set REFBENCH_DATA" in planned["input--REFBENCH_DATA--seed0"].ending[1]
    assert "has no weights here" in planned["weightless--embedded--seed0"].ending[1]
    assert "no_such_module" in planned["lonely--embedded--seed0"].ending[1]
    assert "nosuch" in planned["nosuch--embedded--seed0"].ending[1]
    assert planned["input--embedded--seed0"].ending is None and planned["input--embedded--seed0"].key


def test_open3d_missing_skips_the_cities_alone(suite_file, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "open3d", None)
    text = "methods: [input]\nscenes: [{city: {seed: 1500, size: 32}}, embedded]\n"
    planned = plan_jobs(load_suite(suite_file(text)), tmp_path / "out")
    assert planned[0].ending[0] is Status.SKIPPED and "open3d" in planned[0].ending[1]
    assert planned[1].ending is None


def test_a_scene_with_damaged_files_is_a_failed_job(suite_file, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "scene.yaml").write_text("refbench_scene: 1\ndsm: dsm.tif\n")
    (folder / "dsm.tif").write_bytes(b"no raster")
    planned = plan_jobs(load_suite(suite_file(f"methods: [input]\nscenes: [{folder}]\n")), tmp_path / "out")
    assert planned[0].ending[0] is Status.FAILED and "dsm.tif" in planned[0].ending[1]
    with pytest.raises(MissingFileError, match="there is no"):
        plan_rows(load_suite(suite_file("methods: [input]\nscenes: [nowhere]\n")))


def key_of(path, out):
    return {job.label: job.key for job in plan_jobs(load_suite(path), out)}


def test_the_key_follows_what_the_result_depends_on_and_nothing_else(suite_file, tmp_path, monkeypatch):
    out = tmp_path / "out"
    base = key_of(suite_file("methods: [shift, median]\n" + small()), out)
    same = key_of(
        suite_file("summary: other words\nmethods: [shift, median]\nbudgets: {deadline_s: 5}\n" + small()), out
    )
    assert base == same and base["shift"] != base["median"]
    other = key_of(suite_file("methods: [{method: shift, set: {metres: 2}, label: shift}, median]\n" + small()), out)
    assert other["shift"] != base["shift"] and other["median"] == base["median"]
    assert key_of(suite_file("methods: [shift]\nseeds: [1]\n" + small()), out)["shift"] != base["shift"]
    larger = key_of(suite_file("methods: [shift]\n" + small("{cut: {scene: embedded, size_m: 20}}")), out)
    assert larger["shift"] != base["shift"]
    monkeypatch.setattr(cache_key, "method_code", lambda record: "edited")
    assert key_of(suite_file("methods: [shift]\n" + small()), out)["shift"] != base["shift"]


def test_a_scene_that_was_made_is_made_once(suite_file, tmp_path):
    suite, out = load_suite(suite_file("methods: [input]\n" + small())), tmp_path / "out"
    plan_jobs(suite, out)
    made = out / "scenes" / "embedded-16m" / "scene.yaml"
    stamp = made.stat().st_mtime_ns
    plan_jobs(suite, out)
    assert made.stat().st_mtime_ns == stamp
    (made.parent / "recipe.json").unlink()  # as if it had been killed
    plan_jobs(suite, out)
    assert made.stat().st_mtime_ns > stamp


def test_another_interpreter_is_asked_for_its_own_facts(suite_file, tmp_path):
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    suite = load_suite(suite_file("methods: [{method: median, env: ./python}]\n" + small()))
    (row,) = plan_rows(suite)
    assert row.skipped is None and row.facts["config"] and row.facts["core"] == cache_key.core_code()
    program.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    (row,) = plan_rows(suite)
    assert "cannot run refbench: broken" in row.skipped
    program.unlink()
    (row,) = plan_rows(suite)
    assert "cannot be used" in row.skipped


def test_a_cut_holds_what_the_scene_holds_there():
    scene = load_scene(embedded_scene_path())
    window = central_window(scene, 32)
    piece = cut_scene(scene, window, "piece")
    assert piece.grid.shape == (64, 64) and piece.id == "piece"
    np.testing.assert_array_equal(piece.dsm.read().heights, scene.dsm.read().heights[window.slices])
    np.testing.assert_array_equal(piece.reference.dsm.read().heights, scene.reference.dsm.read().heights[window.slices])
    assert (
        set(piece.masks) == set(scene.masks) and piece.ndvi.grid == piece.grid and set(piece.views) == set(scene.views)
    )
    bounds, xyz = piece.grid.bounds, piece.points.read().xyz
    assert 0 < len(xyz) < scene.points.count()
    assert xyz[:, 0].min() >= bounds.west and xyz[:, 1].max() < bounds.north
    ortho = next(iter(piece.orthos.values()))
    assert ortho.grid.bounds.west <= bounds.west + 1e-6 and ortho.grid.bounds.east >= bounds.east - 1e-6
    with pytest.raises(InputError, match="cannot be cut"):
        central_window(scene, 4000)


def raster(path, values):
    profile = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "height": 20, "width": 30}
    with rasterio.open(path, "w", crs="EPSG:32632", transform=Affine(1, 0, 5e5, 0, -1, 5e6), **profile) as file:
        file.write(values[None])


def test_scenes_are_found_by_the_names_of_their_files(tmp_path):
    heights = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    for name in ("pair", "reference-only", "empty"):
        (tmp_path / name).mkdir()
    for name in ("input_dsm", "reference_dsm", "ortho_left", "ortho_right", "something_else"):
        raster(tmp_path / "pair" / f"{name}.tif", heights)
    raster(tmp_path / "pair" / "building_mask.tif", (heights > 0.5).astype(np.uint8))
    raster(tmp_path / "reference-only" / "reference_dsm.tif", heights)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "scene.yaml").write_text("refbench_scene: 1\ndsm: ../pair/input_dsm.tif\n")
    (tmp_path / "foreign").mkdir()
    found = {scene.name: scene for scene in found_scenes(tmp_path, lambda path: path.name == "foreign")}
    assert set(found) == {"pair", "folder", "foreign"}
    scene = open_scene(JobRequest("", SceneRequest(files=found["pair"].files), ""))
    assert scene.id == "pair" and len(scene.orthos) == 2 and set(scene.masks) == {"building"}
    assert scene.reference.dsm is not None and scene.points is None
    with pytest.raises(MissingFileError):
        found_scenes(tmp_path / "nowhere")


@pytest.mark.parametrize(("text", "size"), [("2KB", 2000), ("2KiB", 2048), ("1.5 gib", 3 << 29), ("77", 77)])
def test_sizes(text, size):
    assert parse_size(text) == size
    for wrong in ("", "none", "-1GB", "nan", "inf", "0"):
        with pytest.raises(ValueError):
            parse_size(wrong)


def test_the_suite_is_written_down_whole(suite_file):
    import yaml

    suite = load_suite(suite_file("methods: [{method: shift, set: {metres: 2}}]\nseeds: [0, 5]\n" + small()))
    values = yaml.safe_load(suite.dump())
    assert values["methods"][0]["overrides"] == {"metres": 2} and values["seeds"] == [0, 5]
    assert json.loads(json.dumps(values))["protocol"]["domain"] == ["own", "common"]
    assert Path(values["source"]).is_absolute()
