"""Which method runs on which kind of scene, by which bridges, and why it does not elsewhere; slow: that it does."""

import json
import re

import numpy as np
import pytest
from run_refbench import refbench
from scene_kinds import KINDS, write_kind

from refbench.contracts.errors import UnsupportedError
from refbench.engine.inputs.prepare import prepare
from refbench.engine.inputs.scene import open_scene
from refbench.engine.job.request import JobRequest, SceneRequest
from refbench.formats.raster import open_written_dsm
from refbench.registry.registry import load_registry
from refbench.testing.subject import CONFIG_TAG

FROM_DSM = ("input", "median", "bilateral", "guided", "tv-l1", "fill", "pix2pix", "resdepth", "fusion")
FROM_VIEWS = ("diffrender", "immpi")
METHODS = (*FROM_DSM, "implicity", *FROM_VIEWS)
IMAGES = {"dsm-satellites", "satellites", "cloud-satellites", "posed-dsm", "posed", "colmap"}
SATELLITES = {"dsm-satellites", "satellites", "cloud-satellites"}
USES_ORTHOS = {"resdepth", "implicity", "fusion"}


def expected(method, kind):
    """None where the method finds its way; else the reason as a pattern. Close images are not matched: they need a DSM
    beside them, or the points of a reconstruction.
    """
    if method in FROM_VIEWS:
        return None if kind in IMAGES else r"has no (\w+, )*views"
    if kind == "posed":
        return r"has no (\w+, )*points" if method == "implicity" else r"has no (\w+, )*dsm"
    return None


def refused(method, kind):
    """The reason with which a method that finds its way refuses the scene itself; None where it runs."""
    if method == "immpi" and kind in SATELLITES:
        return "with a pinhole camera"
    if (method, kind) == ("immpi", "posed"):
        return "cannot determine a depth range"
    return "anything to start from" if (method, kind) == ("diffrender", "posed") else None


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    where = tmp_path_factory.mktemp("kinds")
    return {kind: write_kind(where, kind) for kind in KINDS}


def scene_at(folder):
    return open_scene(JobRequest("input", SceneRequest(str(folder)), ""))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_finds_its_way_or_says_why_not(folders, method, kind):
    record, scene = load_registry().methods.get(method), scene_at(folders[kind])
    reason = expected(method, kind)
    if reason is not None:
        with pytest.raises(UnsupportedError, match=reason):
            prepare(scene, record)
        return
    made = prepare(scene, record)
    optional = [bridge.name for bridge in made.optional]
    assert ("images-to-orthos" in optional) == (method in USES_ORTHOS and kind in IMAGES)


def test_all_built_in_methods_are_in_the_matrix():
    own = {record.name for record in load_registry().methods if record.target.startswith("refbench")}
    assert own == set(METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_of_the_matrix_runs(folders, tmp_path, kind):
    for method in METHODS:
        reason = expected(method, kind) or refused(method, kind)
        code = 0 if reason is None else 3
        quick = load_registry().methods.get(method).tags.get(CONFIG_TAG)
        options = (*(() if quick is None else ("--config", quick)), "--no-report", "--out", method)
        said = refbench(tmp_path, "run", folders[kind], "--method", method, *options, code=code)
        if reason is not None:
            assert re.search(reason, said)
            continue
        result = json.loads((tmp_path / method / "result.json").read_text())
        assert result["status"] == "ok"
        if "dsm" in result["outputs"]:
            heights = open_written_dsm(tmp_path / method / "dsm.tif").read().heights
            assert np.isfinite(heights).mean() > 0.3
