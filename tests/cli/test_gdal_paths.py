"""Rasters in archives and on a server, by the names that GDAL gives them: the user's own, never a file's."""

import gzip
import http.server
import json
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from makers import grid_of, hills, write_tif
from run_refbench import answer, refbench

from refbench import InputError
from refbench.files.gdal_path import GdalPath, is_gdal_name, own_path, shown
from refbench.formats.raster import open_dsm, open_image
from refbench.scenes.from_files import scene_from_files

GRID = grid_of(60, 60)
INPUT = ("run", "--method", "input", "--no-report")


@pytest.fixture
def folder(tmp_path):
    """``dsm.tif`` and ``ref.tif``, and both in archives."""
    inside = tmp_path / "inside"
    inside.mkdir()
    write_tif(inside / "dsm.tif", hills(GRID) + 1, GRID, nodata=-9999)
    write_tif(inside / "ref.tif", hills(GRID), GRID)
    with zipfile.ZipFile(tmp_path / "both.zip", "w") as archive, tarfile.open(tmp_path / "both.tar", "w") as tar:
        for name in ("dsm.tif", "ref.tif"):
            archive.write(inside / name, f"tiles/{name}")
            tar.add(inside / name, f"tiles/{name}")
    (tmp_path / "dsm.tif.gz").write_bytes(gzip.compress((inside / "dsm.tif").read_bytes()))
    return tmp_path


@pytest.fixture
def server(folder):
    """An HTTP server of the folder on the loopback; GDAL waits in jobs or lets Python run. Yields URL and its log."""
    log = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words, **named):
            super().__init__(*words, directory=str(folder / "inside"), **named)

        def log_message(self, *words):
            if words[0].startswith('"'):  # a request, not its failure
                log.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{service.server_port}", log
        service.shutdown()


@pytest.mark.parametrize(
    "name", ["/vsizip/{}both.zip/tiles/dsm.tif", "/vsitar/{}both.tar/tiles/dsm.tif", "/vsigzip/{}dsm.tif.gz"]
)
@pytest.mark.parametrize("absolute", [True, False])
def test_archives_are_read_where_the_user_names_them(folder, monkeypatch, name, absolute):
    monkeypatch.chdir(folder)
    name = name.format(f"{folder}/" if absolute else "")
    source = open_dsm(name)
    assert np.array_equal(source.read().heights, hills(GRID) + 1) and source.grid == GRID
    assert str(source.files[0]).startswith("/vsi")
    assert source.files[0].archive.parent == folder
    reference = f"/vsizip/{folder}/both.zip/tiles/ref.tif"
    said = refbench(folder, *INPUT, "--dsm", name, "--reference", reference, "--out", "out")
    result = json.loads((folder / "out/result.json").read_text())
    assert result["metrics"]["refined"]["all"]["mae"] == pytest.approx(1, abs=1e-4), said
    assert result["scene"] == Path(name).stem
    assert all(len(value) == 64 for value in result["hashes"]["inputs"].values())


def test_evaluate_masks_and_orthos_take_them_too(folder):
    inside = f"/vsizip/{folder}/both.zip/tiles"
    found = refbench(
        folder, "evaluate", f"{inside}/dsm.tif", f"{inside}/ref.tif",
        "--mask", f"building={inside}/ref.tif", "--json", "-",
    )  # fmt: skip
    values = json.loads(found)
    assert values["all"]["mae"] == pytest.approx(1, abs=1e-4) and values["building"]["n"] == 3600
    scene = scene_from_files(dsm=f"{inside}/dsm.tif", orthos=[f"{inside}/ref.tif"])
    assert scene.id == "dsm" and scene.orthos["a"].read().shape == (60, 60)


def test_a_path_object_or_a_file_gives_no_permission(folder):
    name = f"/vsizip/{folder}/both.zip/tiles/dsm.tif"
    for opener in (open_dsm, open_image):
        with pytest.raises(InputError, match="opened only where the command line"):
            opener(Path(name))


def test_what_is_not_in_the_archive_is_one_sentence(folder):
    for name in ("both.zip/none.tif", "none.zip/dsm.tif", "both.zip"):
        text = refbench(folder, *INPUT, "--dsm", f"/vsizip/{folder}/{name}", code=2)
        assert text.startswith("Error: ") and name in text and text.count("\n") == 1


def test_a_url_is_fetched_and_its_secrets_are_never_kept(folder, server):
    url, log = server
    secret = f"/vsicurl/{url}/dsm.tif?token=s3cr3t"
    refbench(folder, "run", "--method", "input", "--dsm", secret, "--reference", "inside/ref.tif", "--out", "out")
    assert any("token=s3cr3t" in path for path in log)
    for path in (folder / "out").iterdir():
        assert b"s3cr3t" not in path.read_bytes(), path.name
    result = json.loads((folder / "out/result.json").read_text())
    assert result["metrics"]["refined"]["all"]["mae"] == pytest.approx(1, abs=1e-4)
    assert f"/vsicurl/{url}/dsm.tif" in result["hashes"]["inputs"]
    plain = refbench(folder, "evaluate", f"{url}/dsm.tif", "inside/ref.tif", "--json")
    assert json.loads(plain)["all"]["mae"] == pytest.approx(1, abs=1e-4)
    missing = refbench(folder, "evaluate", f"{url}/none.tif?key=s3cr3t", "inside/ref.tif", code=2)
    assert "s3cr3t" not in missing and "none.tif" in missing and missing.count("\n") == 1


@pytest.mark.parametrize("key", ["dsm", "reference: {dsm", "orthos: {a", "views: {v: {image", "masks: {water", "ndvi"])
def test_a_scene_file_fetches_nothing_unless_it_is_trusted(folder, server, key):
    url, log = server
    for name in (f"/vsicurl/{url}/dsm.tif?token=s3cr3t", f"{url}/dsm.tif"):
        base = "" if key == "dsm" else "dsm: inside/dsm.tif\n"
        (folder / "scene.yaml").write_text(f"refbench_scene: 1\n{base}{key}: '{name}'{'}' * key.count('{')}\n")
        text = refbench(folder, *INPUT, folder, "--out", "out", code=2)
        assert "--trust" in text and "s3cr3t" not in text and text.count("\n") == 1 and not log
    assert not (folder / "out").exists()


def test_a_trusted_scene_file_may_name_them(folder, server):
    url, log = server
    (folder / "scene.yaml").write_text(f"refbench_scene: 1\ndsm: {url}/dsm.tif\nreference: {{dsm: inside/ref.tif}}\n")
    refbench(folder, *INPUT, folder, "--trust", "--out", "out")
    assert json.loads((folder / "out/result.json").read_text())["metrics"]["input"]["all"]["mae"] == pytest.approx(1)
    assert log
    suite = "refbench_suite: 1\nmethods: [input]\nscenes: [scene.yaml]\n"
    (folder / "suite.yaml").write_text(suite)
    log.clear()
    assert answer(folder, "bench", "suite.yaml", "--out", "b", "--dry-run").returncode == 2 and not log
    assert answer(folder, "bench", "suite.yaml", "--out", "b", "--dry-run", "--trust").returncode == 0


def test_names_keep_what_gdal_needs_and_show_no_secret():
    for name, full, text in (
        ("https://u:p@h/a.tif?x=1#f", "/vsicurl/https://u:p@h/a.tif?x=1#f", "/vsicurl/https://h/a.tif"),
        ("s3://bucket/a.tif", "/vsis3/bucket/a.tif", "/vsis3/bucket/a.tif"),
        (Path("/vsicurl/http://h/a.tif"), "/vsicurl/http://h/a.tif", "/vsicurl/http://h/a.tif"),
    ):
        path = own_path(name)
        assert isinstance(path, GdalPath) and path.gdal_name == full and str(path) == text == shown(full)
        assert path.is_network and path.stem == "a"
    assert not is_gdal_name("vsizip/a.zip") and type(own_path("a.tif")) is type(Path())
