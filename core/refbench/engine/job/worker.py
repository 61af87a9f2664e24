"""The process of one job: ``python -m refbench.engine.job.worker REQUEST``. It writes files and a draft of the result.

Progress goes to the file descriptor in ``REFBENCH_PROGRESS_FD`` as one JSON line each; everything else to the log.
Everything heavy is imported after the fork of ``supervised``.
"""

from __future__ import annotations

import atexit
import gc
import os
import resource
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from refbench.engine.job.supervisor import supervised

if TYPE_CHECKING:
    from refbench.engine.job.request import JobRequest


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out: Python's own, torch's, or the allocator's words."""
    text = str(error).lower()
    words = ("out of memory", "allocate memory", "unable to allocate", "not enough memory")
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or any(w in text for w in words)


def run(request: JobRequest) -> None:
    """Run the job and write the draft; every error becomes a status with its reason."""
    from refbench.contracts.errors import InputError, MethodError, SkippedError, UnsupportedError
    from refbench.contracts.method import Context
    from refbench.engine.job.members import run_method
    from refbench.engine.job.recorder import Recorder
    from refbench.engine.job.result import Status
    from refbench.engine.job.steps import execute

    recorder = Recorder(request.folder, request.method)
    context = Context(
        device=request.device,
        seed=request.seed,
        scratch=request.folder / "scratch",
        memory_budget_bytes=request.memory_budget_bytes,
        threads=request.threads,
        report=recorder.progress,
        checkpoints=None if request.checkpoints is None else Path(request.checkpoints),
        run_method=run_method,
    )
    try:
        recorder.notify("run_started")
        execute(request, context, recorder)
    except UnsupportedError as error:
        recorder.write(Status.UNSUPPORTED, str(error))
    except SkippedError as error:
        recorder.write(Status.SKIPPED, str(error))
    except MethodError as error:
        recorder.write(Status.FAILED, str(error))
    except InputError as error:
        recorder.write("bad_input", str(error))
    except BaseException as error:
        if is_out_of_memory(error):
            _make_room(error)
        traceback.print_exc()
        text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        recorder.write(Status.OOM if is_out_of_memory(error) else Status.FAILED, text)
    else:
        recorder.write(Status.OK)
    recorder.notify("run_ended", {"status": recorder.status})


def _make_room(error: BaseException) -> None:
    """Free what the failed code held and lift the cap, so that the end can be written down."""
    traceback.clear_frames(error.__traceback__)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def main() -> None:
    """Read the request, set limits, run, and leave without taking the interpreter apart: that costs half a second."""
    supervised()
    gc.disable()  # imports and readers make many objects and no rubbish; ``execute`` switches it on for the method
    code = 0
    try:
        from refbench.engine.job.log import start_log
        from refbench.engine.job.request import JobRequest

        start_log()
        request = JobRequest.from_json(Path(sys.argv[1]).read_text())
        if request.memory_cap_bytes is not None:
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            cap = request.memory_cap_bytes if hard == resource.RLIM_INFINITY else min(request.memory_cap_bytes, hard)
            resource.setrlimit(resource.RLIMIT_AS, (cap, hard))
        run(request)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        atexit._run_exitfuncs()  # temporary folders, helpers of multiprocessing
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
