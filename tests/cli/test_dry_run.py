import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from affine import Affine
from run_refbench import ONE_THREAD, refbench, start

from refbench.cli.dry_run import pixels, seconds
from refbench.scenes.scene_yaml import embedded_scene_path

SCENE = embedded_scene_path()
SATELLITES = ("--view", SCENE / "views" / "sat_a.tif", "--view", SCENE / "views" / "sat_b.tif")


def estimate(text):
    """Return MiB and seconds of a dry run."""
    found = re.search(r"about ([\d,]+) MiB and ([\d.]+) (s|min|h) of CPU time", text)
    assert found, text
    return int(found[1].replace(",", "")), float(found[2]) * {"s": 1, "min": 60, "h": 3600}[found[3]]


def test_sizes_and_times_have_digits_that_say_something():
    assert [pixels(n) for n in (7, 50_176, 2_500_000)] == ["7 px", "50,176 px", "2.50 Mpx"]
    assert [seconds(t) for t in (0.42, 42, 110, 3600, 9000)] == ["0.42 s", "42 s", "110 s", "60 min", "2.5 h"]


@pytest.mark.parametrize(
    ("method", "inputs", "runs"),
    [
        ("implicity", ("--points", SCENE / "points.laz", "--gsd", 0.5, "--ortho", SCENE / "ortho_b.tif"), "0"),
        ("implicity", ("--dsm", SCENE / "dsm.tif", *SATELLITES), "stereo"),
        ("implicity", ("--dsm", SCENE / "dsm.tif", *SATELLITES, "--no-bridge", "images-to-orthos"), "0"),
        ("implicity", ("--dsm", "elsewhere.tif", *SATELLITES), "0"),
        ("resdepth", ("--dsm", SCENE / "dsm.tif"), "wild"),
        ("pix2pix", ("--dsm", SCENE / "dsm.tif"), "dsm"),
        ("pix2pix", ("--dsm", SCENE / "dsm.tif", "--ndvi", SCENE / "ndvi.tif"), "ndvi"),
    ],
)
def test_the_weights_that_will_run_are_named(tmp_path, method, inputs, runs):
    with rasterio.open(SCENE / "dsm.tif") as file:  # a kilometre from what the images show
        place, heights = {**file.profile, "transform": Affine.translation(1000, 0) @ file.transform}, file.read()
    with rasterio.open(tmp_path / "elsewhere.tif", "w", **place) as file:
        file.write(heights)
    said = refbench(tmp_path, "run", "--method", method, *inputs, "--dry-run")
    assert re.search(rf"^weights .*/{runs}$", said, re.MULTILINE), said
    assert ("in place of" in said) == (runs in ("0", "dsm"))
    assert "None" not in said and "0.00 Mpx" not in said and "not known" not in said and "50,176 px" in said
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere.tif"]


@pytest.mark.parametrize("method", ["input", "tv-l1", "fill", "pix2pix"])
def test_the_estimate_is_within_a_factor_of_two_of_the_run(tmp_path, method):
    said = refbench(tmp_path, "run", "--method", method, "--dry-run")
    refbench(tmp_path, "run", "--method", method, "--out", "out", "--no-report")
    cost = json.loads((tmp_path / "out" / "result.json").read_text())["cost"]
    mib, cpu = estimate(said)
    assert 0.5 < mib / (cost["peak_memory_bytes"] / 2**20) < 2
    assert 0.5 < cpu / cost["cpu_s"] < 2


def test_a_dry_run_ends_as_the_run_would(tmp_path):
    said = refbench(tmp_path, "run", "--method", "diffrender", "--dsm", SCENE / "dsm.tif", "--dry-run", code=3)
    assert "--view" in said
    said = refbench(tmp_path, "run", "--method", "immpi", "--dsm", SCENE / "dsm.tif", *SATELLITES, "--dry-run", code=3)
    assert "pinhole" in said and "estimate" not in said
    (tmp_path / "w").mkdir()
    shutil.copy(SCENE / "dsm.tif", tmp_path / "w" / "model.safetensors")
    for method in ("immpi", "resdepth"):
        said = refbench(tmp_path, "run", "--method", method, "--weights", "w", "--dry-run", code=2)
        assert "model.yaml" in said and "import" not in said


def test_the_dry_run_of_a_suite_opens_its_scenes(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "scene.yaml").write_text("refbench_scene: 1\ndsm: lost.tif\n")
    (tmp_path / "s.yaml").write_text("refbench_suite: 1\nmethods: [input]\nscenes: [far, embedded]\n")
    said = refbench(tmp_path, "bench", "s.yaml", "--out", "out", "--dry-run", code=2)
    assert "scene far cannot be opened" in said and "lost.tif" in said and "scene embedded" not in said


@pytest.mark.parametrize("device", ["gpu0", "cuda:x", "", "CPU", "mps"])
def test_unknown_devices_are_refused(tmp_path, device):
    assert "--device takes" in refbench(tmp_path, "run", "--method", "median", "--device", device, code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_one_sentence(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert "take --device cpu" in refbench(tmp_path, "run", "--method", "resdepth", "--device", "cuda:1", code=2)


@pytest.mark.parametrize("gsd", ["1e-9", "nan", "1e9", "0", "-1"])
def test_impossible_images_make_no_city(tmp_path, gsd):
    refbench(tmp_path, "city", "--size", 64, "--image-gsd", gsd, "--out", "city", code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "bench"])
def test_a_name_that_is_too_long_is_bad_input(tmp_path, verb):
    before = ("run", "--method", "input") if verb == "run" else ("bench", "tiny")
    refbench(tmp_path, *before, "--out", "n" * 300, code=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["report", "table"])
def test_a_missing_folder_is_called_missing(tmp_path, verb):
    assert "There is no folder" in refbench(tmp_path, verb, "nowhere", code=2)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_poor_console_does_not_end_a_finished_run(tmp_path, encoding):
    with rasterio.open(
        tmp_path / "d.tif",
        "w",
        driver="GTiff",
        width=40,
        height=40,
        count=1,
        dtype="float32",
        crs="EPSG:32632",
        transform=Affine(1, 0, 500_000, 0, -1, 5_500_000),
    ) as file:
        file.write(np.random.default_rng(0).random((1, 40, 40), np.float32))
    of = ("--dsm", "d.tif", "--reference", "d.tif", "--scene-id", "東京 \x1b[2J")
    console = {**ONE_THREAD, "PYTHONIOENCODING": f"{encoding}:strict"}
    arguments = ("run", "--method", "median", *of, "--out", "out", "--no-report")
    process = start(tmp_path, *arguments, environment=console, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert "on ??" in said and "\x1b" not in said and (tmp_path / "out" / "result.json").exists()
