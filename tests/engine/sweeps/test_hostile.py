"""A sweep survives whatever a job does to its folder, its scene, its log and its processes."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from run_refbench import ONE_THREAD, answer, start

PLUGIN = Path(__file__).with_name("hostile_plugin.py")
ENDS = {
    "NoFolder": "crashed",
    "FileFolder": "crashed",
    "NoRequest": "ok",
    "DraftFolder": "crashed",
    "DraftPipe": "crashed",
    "DraftHuge": "crashed",
    "DraftDeep": "crashed",
    "DraftLink": "crashed",
    "LogPipe": "ok",
    "ResultFolder": "ok",
    "Chatty": "failed",
    "SceneCutter": "crashed",
    "HungryChild": "oom",
    "Daemon": "ok",
}
SUITE = """
refbench_suite: 1
name: mine
methods: [{}]
scenes: [{{cut: {{scene: embedded, size_m: 16}}}}]
"""


def variables(tmp_path):
    return {"REFBENCH_PLUGINS": str(PLUGIN), "REFBENCH_TEST_PIDS": str(tmp_path / "pids")}


def words(tmp_path, methods, *arguments):
    """Write the suite; return the words that run it."""
    (tmp_path / "mine.yaml").write_text(SUITE.format(", ".join(methods)))
    return ["bench", "mine.yaml", "--out", "out", *arguments]


def begin(tmp_path, methods):
    """Start it in a process of its own, to be killed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return start(tmp_path, *words(tmp_path, methods), environment=ONE_THREAD | variables(tmp_path), **pipes)


def rows(tmp_path):
    found = {}
    for path in (tmp_path / "out" / "jobs").iterdir():
        found[path.name.partition("--")[0]] = json.loads((path / "result.json").read_text())
        assert (path / "key.json").is_file()
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition):
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def pids(tmp_path):
    path = tmp_path / "pids"
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    names = [name.lower() for name in ENDS]
    done = answer(folder, *words(folder, ["input", *names, "fill"], "--workers", "2"), **variables(folder))
    output = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in output, output
    return folder, rows(folder), output


def test_every_job_is_a_row_and_the_others_are_untouched(swept):
    _, found, _ = swept
    ends = {name.lower(): end for name, end in ENDS.items()}
    told = {name: found[name]["reason"] for name in ends}
    assert {name: found[name]["status"] for name in ends} == ends, told
    assert found["fill"]["status"] == "ok" and found["input"]["status"] == "ok"


def test_log_and_reason_are_bounded_with_head_and_tail(swept):
    folder, found, output = swept
    (job,) = (folder / "out" / "jobs").glob("chatty--*")
    assert (job / "log.txt").stat().st_size < (1 << 20) + 200 and (job / "result.json").stat().st_size < 100_000
    assert len(found["chatty"]["reason"]) <= 2000 and any("the end" in line for line in found["chatty"]["log_tail"])
    most = int(re.search(r"at most (\d+) bytes of log", found["chatty"]["reason"])[1])
    assert (1 << 20) < most <= 1.5 * (1 << 20) + 40  # while it ran; the words between the halves
    assert b"bytes left out" in (job / "log.txt").read_bytes() and len(output) < 100_000


def test_nothing_but_files_and_folders_stays_of_a_job(swept):
    folder, _, _ = swept
    left = [path for path in (folder / "out" / "jobs").rglob("*") if path.is_symlink() or path.is_fifo()]
    assert left == [] and not list((folder / "out" / "jobs").glob("*.partial-*"))


def test_a_daemon_of_a_job_that_ended_has_ended(swept):
    folder, _, _ = swept
    assert len(pids(folder)) == 2 and not any(map(alive, pids(folder)))


def test_a_scene_that_a_job_cut_is_whole_again_and_read_only(swept):
    folder, found, _ = swept
    assert "dsm.tif" in found["scenecutter"]["reason"]
    (scene,) = (folder / "out" / "scenes").iterdir()
    assert (scene / "dsm.tif").stat().st_size > 100 and (scene / "dsm.tif").stat().st_mode & 0o222 == 0


def test_a_scene_that_was_damaged_between_two_sweeps_is_made_anew(swept):
    folder, found, _ = swept
    (scene,) = (folder / "out" / "scenes").iterdir()
    whole = (scene / "reference.tif").read_bytes()
    (scene / "reference.tif").chmod(0o644)
    (scene / "reference.tif").write_bytes(whole[:-1] + b"?")
    done = answer(folder, *words(folder, ["input"], "--resume", "--only", "input"), **variables(folder))
    assert done.returncode == 0, done.stderr
    assert (scene / "reference.tif").read_bytes() == whole
    assert rows(folder)["input"]["created"] == found["input"]["created"]  # its key is of the whole scene


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_does_not_outlive_the_harness(tmp_path, number):
    process = begin(tmp_path, ["daemonwaits"])
    wait_until(lambda: len(pids(tmp_path)) == 2)
    process.send_signal(number)
    process.communicate(timeout=300)
    wait_until(lambda: not any(map(alive, pids(tmp_path))))
    if number == signal.SIGTERM:
        assert process.returncode == 130 and not list((tmp_path / "out" / "jobs").iterdir())
