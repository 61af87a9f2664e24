import base64
import json
import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from run_refbench import refbench
from sweep_maker import GRID, SweepMaker

from refbench.contracts.raster import DSM
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.engine.job.result import Status
from refbench.evaluation.orientation import Orientation
from refbench.formats.raster import ArraySource
from refbench.reporting.figures import ErrorScale, error_image, error_scale, hillshade, surface_image
from refbench.reporting.page.plot import Point, cost_plot, place_labels
from refbench.reporting.page.rerun_command import command_line
from refbench.reporting.page.surfaces import IMAGE_SIDE, packed, scene_view, webp
from refbench.reporting.report import write_sweep_report
from refbench.scenes.scene_yaml import embedded_scene_path, load_scene

NORTH_UP = Affine(1, 0, 0, 0, -1, 0)
BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>'
# What a reader does, by the same events; the answer goes into the title, which the browser dumps.
PROBE = """<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
window.probe = async () => {
  const said = {};
  await wait(300);
  const images = [...document.images].filter((i) => i.getAttribute("src"));
  said.images = images.length;
  said.whole = images.every((i) => i.complete && i.naturalWidth > 0);
  said.fits = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
  said.hacked = window.hacked === 1;
  const heads = [...document.querySelectorAll("#accuracy_common_all thead th, #accuracy thead th")];
  const head = heads.find((h) => h.textContent.startsWith("MAE"));
  const read = () => [...head.closest("table").tBodies[0].rows].map((r) => r.cells[head.cellIndex].dataset.value ?? "");
  head.click(); said.rising = read();
  head.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true })); said.falling = read();
  said.sort = head.getAttribute("aria-sort");
  const stage = document.querySelector(".stage");
  if (stage) {
    const swipe = document.querySelector(".swipe input");
    swipe.value = 20; swipe.dispatchEvent(new Event("input"));
    said.cut = getComputedStyle(stage).getPropertyValue("--cut").trim();
    const box = stage.getBoundingClientRect();
    const at = (type, x, y) => {
      const place = { clientX: box.left + x * box.width, clientY: box.top + y * box.height };
      stage.dispatchEvent(new PointerEvent(type, { pointerId: 1, ...place, bubbles: true }));
    };
    stage.setPointerCapture = () => {};
    at("pointerdown", 0.25, 0.1); at("pointermove", 0.5, 0.5); at("pointerup", 0.75, 0.9);
    await wait(400);
    said.ends = [...document.querySelectorAll(".ends input")].slice(0, 4).map((i) => Number(i.value));
    said.curves = document.querySelector(".chart").querySelectorAll("polyline").length;
    said.keys = [...document.querySelectorAll(".scene")[0].querySelectorAll(".keys span")].map((k) => k.textContent);
    const kind = document.querySelector(".kind");
    kind.value = "error"; kind.dispatchEvent(new Event("change")); await wait(200);
    said.over = document.querySelector(".over").alt;
  }
  const boxes = [...document.querySelectorAll(".wide")];
  const scrolled = boxes.filter((b) => b.scrollWidth > b.clientWidth + 1);
  said.scrolled = scrolled.map((b) => b.querySelector("table").id);
  said.names = scrolled.map((b) => {
    b.scrollLeft = b.scrollWidth;
    return b.querySelector("tbody .name").getBoundingClientRect().left - b.getBoundingClientRect().left;
  });
  said.overlaps = [];
  for (const plot of document.querySelectorAll(".plot")) {
    const marks = [...plot.querySelectorAll("g text, g circle")].map((m) => [m, m.getBoundingClientRect()]);
    for (const [a, ra] of marks) for (const [b, rb] of marks) {
      const wide = Math.min(ra.right, rb.right) - Math.max(ra.left, rb.left);
      const high = Math.min(ra.bottom, rb.bottom) - Math.max(ra.top, rb.top);
      if (a.tagName === "text" && a !== b && wide > 1 && high > 4) said.overlaps.push([a.textContent, b.textContent]);
    }
  }
  document.getElementById("theme").click();
  said.theme = document.documentElement.dataset.theme;
  said.dots = document.querySelectorAll(".plot circle").length;
  said.errors = window.errors;
  document.title = JSON.stringify(said);
};
window.probe();
</script></body>"""
WATCH = """<head><script>
window.errors = [];
window.addEventListener("error", (event) => window.errors.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => window.errors.push(String(event.reason)));
console.error = (...words) => window.errors.push(words.join(" "));
</script>"""


def browse(page, folder, width=1300):
    """Open a page in a real browser, do what a reader does, and return what was seen."""
    probe = folder / "probe.html"
    probe.write_text(page.read_text().replace("<head>", WATCH, 1).replace("</body>", PROBE))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [BROWSER, *flags.split(), "--disable-component-update", "--disable-sync", f"--window-size={width},900"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=8000", "--dump-dom", probe.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)[1]
    return json.loads(title.replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    refbench(folder, "run", "--method", "median", "--out", "out")
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two scenes, three methods with known errors, a failure with a hostile log."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    maker = SweepMaker(out)
    for scene in ("east", "west"):
        for label, error in (("good", 0.2), ("fair", 0.5), ("poor", 2.0)):
            maker.ok(label, scene, error)
    maker.ended("broken", "east", Status.CRASHED, HOSTILE)
    return write_sweep_report(out)


@pytest.mark.parametrize("page", ["single", "sweep"])
def test_the_page_is_self_contained(page, request):
    text = request.getfixturevalue(page).read_text()
    assert not re.search(r'(src|href)="(?!data:)(?!")', text)
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "") and "https://" not in text


def test_a_run_shows_its_scores_cost_and_command(single):
    text = single.read_text()
    for words in (
        "MAE (m) ↓",
        "terrain",
        "slope above 90 %",
        "Manifest",
        "whole process",
        "refbench run --method median",
    ):
        assert words in text


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1600])
def test_a_run_in_a_real_browser(single, tmp_path, width):
    seen = browse(single, tmp_path, width)
    assert seen["errors"] == [] and seen["whole"] and seen["fits"]
    assert seen["images"] == 3  # both sides of the swipe, and the legend
    assert seen["curves"] >= 3 and seen["ends"] == [25, 10, 75, 90]
    assert seen["keys"] == ["initial DSM", "median", "reference"] and seen["cut"] == "20%"
    assert seen["over"].startswith("Error map of initial DSM")


@needs_browser
def test_all_columns_are_seen_on_a_wide_screen_and_names_stay_on_a_narrow_one(sweep, tmp_path):
    wide, narrow = browse(sweep, tmp_path, 1600), browse(sweep, tmp_path, 400)
    assert wide["scrolled"] == [] and wide["overlaps"] == []
    assert narrow["fits"] and narrow["scrolled"] and max(map(abs, narrow["names"])) <= 2


@needs_browser
@pytest.mark.slow
def test_a_sweep_in_a_real_browser(sweep, tmp_path):
    seen = browse(sweep, tmp_path)
    assert seen["errors"] == [] and seen["whole"] and seen["fits"] and not seen["hacked"]
    values = [float(value) for value in seen["rising"] if value]
    assert values == sorted(values) and len(values) == 8
    assert seen["rising"][-1] == "" and seen["falling"][-1] == ""  # the crashed cell stays last
    assert [float(value) for value in seen["falling"] if value] == values[::-1]
    assert seen["sort"] == "descending" and seen["theme"] in ("dark", "light")
    assert seen["dots"] == 6 and seen["curves"] >= 3


def test_hostile_names_and_logs_are_text(sweep):
    text = sweep.read_text()
    assert "&lt;img src=x onerror" in text and "<img src=x" not in text
    assert text.count("<script") == 2 and text.count("</script") == 2


def test_a_page_of_eight_methods_on_six_scenes_stays_small():
    noisy = load_scene(embedded_scene_path()).dsm.read().heights  # a matcher's noise compresses worst
    heights = np.tile(noisy, (2, 2))[:IMAGE_SIDE, :IMAGE_SIDE]
    low, high = np.nanpercentile(heights, (2, 98))
    shade = webp(surface_image(heights, Affine(0.5, 0, 0, 0, -0.5, 0), low, high))
    error = webp(error_image((heights - np.nanmedian(heights)).astype(np.float64), ErrorScale(5.0)))
    assert 6 * 10 * (len(packed(heights, 320.0)) + len(shade) + len(error)) < 15e6


def test_packed_heights_come_back():
    heights = np.array([[400.0, 401.25], [np.nan, 380.5]], np.float32)
    rows, cols, data = packed(heights, 400.0).split(",")
    values = np.frombuffer(zlib.decompress(base64.b64decode(data)), "<i2").reshape(int(rows), int(cols))
    assert values.tolist() == [[0, 125], [-32768, -1950]]


@given(st.lists(st.tuples(st.floats(70, 600), st.floats(30, 280), st.floats(30, 130)), min_size=1, max_size=10))
def test_labels_of_the_plot_do_not_cover_each_other(marks):
    """Wherever the dots are, ten labels find room beside each other and inside the image."""
    dots, widths = [mark[:2] for mark in marks], [mark[2] for mark in marks]
    places = place_labels(dots, widths)
    boxes = [(x, x + width, y - 4 - 7.5, y - 4 + 7.5) for (x, y), width in zip(places, widths, strict=True)]
    for number, (left, right, top, bottom) in enumerate(boxes):
        assert left >= 0 and right <= 640 and top >= -0.01 and bottom <= 300
        for other in boxes[:number]:
            wide, high = min(right, other[1]) - max(left, other[0]), min(bottom, other[3]) - max(top, other[2])
            assert wide <= 1e-6 or high <= 1e-6


def test_a_plot_has_a_dot_and_a_label_for_every_method():
    points = [Point(f"method-{i}", 10.0 + 0.01 * i, 1.0 + 0.001 * i, 0.9, 1.1) for i in range(6)]
    svg = cost_plot("scene", points, 1.5).svg
    assert len(re.findall(r">method-\d</text>", svg)) == svg.count("<circle") == 6
    assert cost_plot("scene", [], None) is None


def test_the_command_is_what_was_asked():
    files = {"dsm": "/a b/d.tif", "orthos": ["x.tif"], "masks": {"water": "w.tif"}, "gsd": 0.5}
    request = JobRequest(
        "tv-l1",
        SceneRequest(None, files),
        "",
        config="fast",
        overrides={"weight": 2, "name": "it's"},
        seed=3,
        memory_cap_bytes=9,
    )
    assert command_line(request) == (
        "refbench run --method tv-l1 --dsm '/a b/d.tif' --ortho x.tif --mask water=w.tif --gsd 0.5 --config fast "
        """--seed 3 --memory-cap 9 --set weight=2 --set 'name=it'"'"'s' --out again"""
    )


def test_a_slope_that_faces_the_sun_is_bright():
    x, y = np.meshgrid(np.arange(9.0), np.arange(9.0))
    to_north_west = hillshade((x + y).astype(np.float32), NORTH_UP)  # falls to the north-west, where the sun is
    away = hillshade(-(x + y).astype(np.float32), NORTH_UP)
    flat = hillshade(np.zeros((9, 9), np.float32), NORTH_UP)
    for shape in ((1, 9), (9, 1), (1, 1)):
        assert hillshade(np.zeros(shape, np.float32), NORTH_UP) == pytest.approx(float(flat[0, 0]))
    assert to_north_west.mean() > flat.mean() > away.mean()
    assert flat == pytest.approx(np.sin(np.radians(45)))


@pytest.mark.parametrize("turn", [(r, c, t) for r in (0, 1) for c in (0, 1) for t in (0, 1)])
def test_images_and_profiles_lie_north_up_however_the_raster_is_written(turn):
    turn = Orientation(*map(bool, turn))
    x, y = GRID.centres()
    heights = (0.05 * (x - x.min()) + 3 * np.sin(y / 9)).astype(np.float32)
    plain = scene_view("s", {"one": ArraySource(DSM(heights, GRID))})
    turned = scene_view("s", {"one": ArraySource(DSM(turn.apply(heights), turn.grid(GRID)))})
    assert turned == plain and plain.across == (GRID.width, 0) and plain.down == (0, -GRID.height)


def test_images_survive_nodata_and_constants():
    heights = np.full((20, 30), 5, np.float32)
    heights[:3] = np.nan
    for image in (surface_image(heights, NORTH_UP, 5.0, 5.0), error_image(heights - 5.0, ErrorScale(1.0))):
        assert image.shape == (20, 30, 3) and np.isfinite(image).all() and 0 <= image.min() <= image.max() <= 1
        assert np.ptp(image[:3], axis=(0, 1)).max() == 0
    assert error_scale(np.full((3, 3), np.nan)).limit_m == 1.0
    assert error_scale(np.linspace(-2, 2, 100).reshape(10, 10)).limit_m == 2.0
