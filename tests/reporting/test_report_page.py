import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from refbench.reporting.figures import ErrorScale, error_png, error_scale, hillshade, surface_png, thinning

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
PROBE = """<script>
const images = [...document.images];
const whole = images.every(i => i.complete && i.naturalWidth > 0);
const fits = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
document.title = `probe ${images.length} ${whole} ${fits}`;
</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    command = [sys.executable, "-m", "refbench.cli.main", "run", "--method", "median", "--out", str(folder / "out")]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    return folder / "out" / "report.html"


def test_the_page_is_self_contained_and_shows_scores(page):
    text = page.read_text()
    assert not re.search(r'(src|href)="(?!data:)', text)
    for words in ("MAE (m) ↓", "terrain", "evaluated − reference", "Manifest", "whole process"):
        assert words in text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [480, 1300])
def test_a_real_browser_shows_every_image_and_nothing_overflows(page, tmp_path, width):
    probe = tmp_path / "probe.html"
    probe.write_text(page.read_text().replace("</body>", PROBE))
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [BROWSER, *flags.split(), "--disable-component-update", "--disable-sync", f"--window-size={width},900"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=3000", "--dump-dom", probe.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert re.search(r"<title>(.*?)</title>", dom)[1] == "probe 6 true true"


def test_a_slope_that_faces_the_sun_is_bright():
    x, y = np.meshgrid(np.arange(9.0), np.arange(9.0))
    to_north_west = hillshade((x + y).astype(np.float32), 1.0)  # falls to the north-west, where the sun is
    away = hillshade(-(x + y).astype(np.float32), 1.0)
    flat = hillshade(np.zeros((9, 9), np.float32), 1.0)
    assert to_north_west.mean() > flat.mean() > away.mean()
    assert flat == pytest.approx(np.sin(np.radians(45)))


def test_pictures_survive_nodata_and_constants():
    heights = np.full((20, 30), 5, np.float32)
    heights[:3] = np.nan
    assert surface_png(heights, 1.0, 5.0, 5.0).startswith(b"\x89PNG")
    assert error_png(heights - 5.0, ErrorScale(1.0)).startswith(b"\x89PNG")
    assert error_scale(np.full((3, 3), np.nan)).limit_m == 1.0
    assert error_scale(np.linspace(-2, 2, 100).reshape(10, 10)).limit_m == 2.0
    assert thinning((900, 20)) == 1 and thinning((901, 20)) == 2
