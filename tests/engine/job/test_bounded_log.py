"""The log of a job that runs keeps its head and its tail, on disk as in memory."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refbench.engine.job.bounded_log import BoundedLog

LIMIT = 64


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=100), max_size=30))
def test_head_and_tail_are_kept_and_the_file_is_bounded_all_the_time(tmp_path, blocks):
    path, half = tmp_path / "log.txt", LIMIT // 2
    whole = b""
    with BoundedLog(path, LIMIT) as log:
        for block in blocks:
            log.write(block)
            whole += block
            assert path.stat().st_size <= 1.5 * LIMIT + 40  # the words between the halves
            assert path.read_bytes().startswith(whole[:half])
            assert path.read_bytes().endswith(whole[half:][-half:])
        text = log.text()
    left_out = len(whole) - LIMIT
    if left_out <= 0:
        assert text == whole == path.read_bytes()
    else:
        assert text == whole[:half] + b"\n[... %d bytes left out ...]\n" % left_out + whole[-half:]


def test_a_full_disk_takes_nothing_of_the_log():
    from pathlib import Path

    with BoundedLog(Path("/dev/full"), LIMIT) as log:
        log.write(b"a" * 200)
    assert log.text() == b"a" * 32 + b"\n[... 136 bytes left out ...]\n" + b"a" * 32
