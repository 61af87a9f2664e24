"""The guard of --out: what is replaced, what is not, one writer at a time, leftovers swept."""

import json
import os
import subprocess
import sys

import pytest

from refbench.contracts.errors import InputError
from refbench.files.atomic import atomic_file
from refbench.files.new_folder import folder_in_place, new_folder
from refbench.files.out_guard import check_out, check_out_file, foreign_names, locked, write_contents
from refbench.files.regular import keep_plain, read_regular


@pytest.fixture
def result(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "dsm.tif").write_text("heights")
    (folder / "page.txt").write_text("by a reporter")
    (folder / "official").mkdir()
    (folder / "official" / "their.txt").write_text("by a plugin")
    (folder / "result.json").write_text(json.dumps({"outputs": {"dsm": "dsm.tif"}}))
    write_contents(folder)
    return folder


def test_a_result_is_replaced_on_demand_only(result):
    with pytest.raises(InputError, match="--overwrite"):
        check_out(result, overwrite=False)
    check_out(result, overwrite=True)
    check_out(result.parent / "new", overwrite=False)


def test_foreign_files_block(result):
    (result / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        check_out(result, overwrite=True)
    (result / "notes.txt").unlink()
    for deep in ("official/notes.txt", "new/one.txt"):
        (result / deep).parent.mkdir(exist_ok=True)
        (result / deep).write_text("mine")
        with pytest.raises(InputError, match=deep):
            check_out(result, overwrite=True)
        assert foreign_names(result) == [deep]
        (result / deep).unlink()


def test_a_folder_is_new_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    with pytest.raises(RuntimeError), folder_in_place(tmp_path / "out"):
        (tmp_path / "out" / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="out-2"), new_folder(tmp_path / "out") as folder:
        (folder / "whole").write_text("x")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").write_text("mine")
    assert (tmp_path / "out" / "mine").is_file() and (tmp_path / "out-2" / "whole").is_file()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for taken in ("link", "out/mine", "out", "n\0ul"):
        for writer in (new_folder, folder_in_place):
            with pytest.raises(InputError), writer(tmp_path / taken):
                pytest.fail("it began")


def test_a_result_of_an_older_version_is_known_by_its_outputs(result):
    (result / ".contents").unlink()
    assert foreign_names(result) == ["page.txt"]


@pytest.mark.parametrize("kind", ["file", "folder above"])
def test_an_input_blocks(result, kind):
    held = result / "dsm.tif" if kind == "file" else result
    with pytest.raises(InputError, match="input"):
        check_out(result, overwrite=True, inputs=[held])


def test_files_are_written_over_regular_files_only(tmp_path, result):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(result / "dsm.tif")
    for path in (tmp_path / "pipe", "/dev/full", result, tmp_path / "link", result / "dsm.tif", result / "result.json"):
        with pytest.raises(InputError):
            check_out_file(type(tmp_path)(path))
    (tmp_path / "table.md").write_text("old")
    check_out_file(tmp_path / "table.md")
    with pytest.raises(InputError, match="input"):
        check_out_file(tmp_path / "table.md", inputs=[tmp_path / "table.md"])
    with pytest.raises(InputError), atomic_file("/dev/full"):
        pass
    assert (result / "dsm.tif").read_text() == "heights"


def test_a_second_writer_is_refused_and_the_lock_goes_with_its_holder(tmp_path):
    code = (
        "import sys, pathlib; from refbench.files.out_guard import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match="Another run"), locked(tmp_path / "out"):
        pass
    process.kill()
    process.communicate()
    with locked(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_leftovers_are_swept_and_an_older_result_comes_back(tmp_path, result):
    result.rename(tmp_path / "out.old-77")  # killed between two renames
    for name in ("out.partial-77", "out.partial-77-ab_c1", "out.partial-77-ab.partial-8-x"):
        (tmp_path / name).mkdir()
    (tmp_path / "out.partial-mine").mkdir()
    (tmp_path / "out.tif").write_text("mine")
    with locked(tmp_path / "out"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.partial-mine", "out.tif"}
    assert (tmp_path / "out" / "dsm.tif").read_text() == "heights"


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    for name, limit in (("file", 4), ("link", 9), ("pipe", 9), ("missing", 9), (".", 9)):
        with pytest.raises(InputError):
            read_regular(tmp_path / name, limit)
    assert sorted(keep_plain(tmp_path)) == ["link", "pipe"] and [p.name for p in tmp_path.iterdir()] == ["file"]
