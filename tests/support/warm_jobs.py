"""Jobs of tests start in milliseconds: forked from a process that has imported what jobs import, and done nothing else.

A job stays what it is to its harness: a process of its own with the real worker, supervisor, session, log and pipes.
Only the interpreter is not started anew and torch not imported for each of some hundred jobs. What must be new is
started anew as ever: a foreign interpreter, a cap of memory, and variables that libraries read when they are loaded.
``REFBENCH_COLD_JOBS=1`` starts every job so.
"""

import contextlib
import ctypes
import fcntl
import functools
import gc
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

from refbench.engine.job import process
from refbench.engine.job.supervisor import PROGRESS_VARIABLE

COLD_VARIABLE = "REFBENCH_COLD_JOBS"
READ_AT_START = ("OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "PYTHON", "CUDA_", "MALLOC_", "TORCH")
"""Variables that the interpreter or a library reads once."""
ONE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
"""Tests run beside each other: a job has one thread unless it asks for more."""
IMPORTED = (
    "torch", "rasterio.warp", "rasterio.features", "scipy.ndimage", "scipy.spatial", "scipy.optimize", "numba",
    "open3d", "laspy", "pydantic.dataclasses",
)  # fmt: skip
WITH_MODULES = (
    "refbench.contracts", "refbench.files", "refbench.geometry", "refbench.formats", "refbench.weights",
    "refbench.registry", "refbench.scenes", "refbench.bridges", "refbench.evaluation", "refbench.engine",
    "refbench_baselines", "refbench_diffrender", "refbench_fusion", "refbench_immpi", "refbench_implicity",
    "refbench_pix2pix", "refbench_resdepth",
)  # fmt: skip
"""Packages that are imported with every module in them; what a plugin lacks is left out."""
PR_SET_CHILD_SUBREAPER = 36
ROOMY = 6 << 30
"""A cap of memory that leaves a job enough beside what the warm process has mapped (2 GiB)."""
_HIGH = 500
_started_new = process._open
_one_at_a_time = threading.Lock()


class Job:
    """What ``run_process`` needs of ``subprocess.Popen``, of a process that another one has forked for this one."""

    def __init__(self, pid, stdin, stdout):
        self.pid, self.stdin, self.stdout, self.returncode = pid, stdin, stdout, None

    def wait(self):
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def open_warm(request, arguments, environment, writer):
    """Stand in for ``process._open``."""
    start = _environment()
    names = {name for name in {*environment, *start} if name.startswith(READ_AT_START)}
    as_at_the_start = all(environment.get(name, "1" if name in ONE else None) == start.get(name) for name in names)
    is_tight = request.memory_cap_bytes is not None and request.memory_cap_bytes < ROOMY
    if request.python or is_tight or not as_at_the_start or COLD_VARIABLE in os.environ:
        return _started_new(request, arguments, environment, writer)
    reader, stdin = os.pipe()
    stdout, printed = os.pipe()
    asked = {"arguments": arguments, "environment": environment, "folder": str(Path.cwd())}
    try:
        with _one_at_a_time, _adopting():
            server = _server()
            socket.send_fds(server, [json.dumps(asked).encode()], [reader, printed, writer])
            pid = int(server.recv(64))
    except BaseException:
        os.close(stdin)
        os.close(stdout)
        raise
    finally:
        os.close(reader)
        os.close(printed)
    return Job(pid, os.fdopen(stdin, "wb", buffering=0), os.fdopen(stdout, "rb", buffering=0))


def _environment():
    """The environment of the process that jobs are forked from."""
    thrifty = {"OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"}
    return {**thrifty, **_AT_IMPORT, **dict.fromkeys(ONE, "1"), "PYTHONUNBUFFERED": "1"}


_AT_IMPORT = dict(os.environ)


@functools.cache
def _server():
    """Start the process that jobs are forked from; it ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    subprocess.Popen(
        [sys.executable, __file__, str(theirs.fileno())], env=_environment(), pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    theirs.close()
    return ours


@contextlib.contextmanager
def _adopting():
    """Inside, a descendant that loses its parent becomes a child of this process, which can then wait for it."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def serve(connection):
    """Fork a job for each message until the tests end."""
    for name in (*IMPORTED, *WITH_MODULES):
        _import(name)
    for package in filter(None, map(sys.modules.get, WITH_MODULES)):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            _import(module.name)
    gc.collect()
    gc.freeze()
    while True:
        text, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not text:
            return
        told, tell = os.pipe()
        between = os.fork()
        if not between:
            # The parent of the job ends at once: whoever asked for the job becomes its parent.
            job = os.fork()
            if not job:
                become(json.loads(text), descriptors, (connection.fileno(), told, tell))
            os.write(tell, str(job).encode())
            os._exit(0)
        os.waitpid(between, 0)
        connection.send(os.read(told, 64))
        for descriptor in (told, tell, *descriptors):
            os.close(descriptor)


def _import(name):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)


def become(asked, descriptors, foreign):
    """Be what ``python -m refbench.engine.job.worker`` is when it starts; never returns.

    Only the server's own descriptors are closed. Libraries hold files, too, such as PROJ its database: were those
    closed below them, the next file that is opened would take their number, and two readers would move one position.
    """
    try:
        stdin, printed, writer = high = [fcntl.fcntl(each, fcntl.F_DUPFD, _HIGH) for each in descriptors]
        for each in (*descriptors, *foreign):
            os.close(each)
        # The number that the job is told may be one of a library's files here.
        asked["environment"][PROGRESS_VARIABLE] = str(fcntl.fcntl(writer, fcntl.F_DUPFD, 3))
        for here, there in ((stdin, 0), (printed, 1), (printed, 2)):
            os.dup2(here, there)
        for each in high:
            os.close(each)
        os.setsid()
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["folder"])
        sys.path[0] = asked["folder"]
        sys.argv = ["worker", *asked["arguments"]]
        gc.enable()
        from refbench.engine.job import worker

        worker.main()
    finally:
        os._exit(1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
