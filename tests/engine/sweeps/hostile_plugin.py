"""A plugin whose methods spoil whatever of a sweep they can reach; used through REFBENCH_PLUGINS."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from refbench import Gives, MethodRecord, Need, Prediction, hookimpl


class _Hostile:
    def __init__(self, config, weights):
        pass

    def refine(self, scene, context):
        dsm = scene.dsm.read()
        self.spoil(context.scratch.parent, scene)
        return Prediction(dsm)


def put_pipe(path):
    path.unlink(missing_ok=True)
    os.mkfifo(path)


class NoFolder(_Hostile):
    def spoil(self, folder, scene):
        shutil.rmtree(folder)


class FileFolder(_Hostile):
    def spoil(self, folder, scene):
        shutil.rmtree(folder)
        folder.write_text("no folder any more")
        os._exit(0)


class NoRequest(_Hostile):
    def spoil(self, folder, scene):
        (folder / "request.json").unlink()
        (folder / "request.json").mkdir()


class DraftFolder(_Hostile):
    def spoil(self, folder, scene):
        (folder / "draft.json").mkdir()
        (folder / "draft.json" / "x").write_text("x")


class DraftPipe(_Hostile):
    def spoil(self, folder, scene):
        put_pipe(folder / "draft.json")
        os._exit(0)


class DraftHuge(_Hostile):
    def spoil(self, folder, scene):
        with (folder / "draft.json").open("wb") as file:
            file.truncate(1 << 36)
        os._exit(0)


class DraftDeep(_Hostile):
    def spoil(self, folder, scene):
        (folder / "draft.json").write_text("[" * 200_000)
        os._exit(0)


class DraftLink(_Hostile):
    def spoil(self, folder, scene):
        (folder / "draft.json").symlink_to("/dev/zero")
        os._exit(0)


class LogPipe(_Hostile):
    def spoil(self, folder, scene):
        put_pipe(folder / "log.txt")


class ResultFolder(_Hostile):
    def spoil(self, folder, scene):
        (folder / "result.json").mkdir()
        put_pipe(folder / "pipe")
        (folder / "link").symlink_to("/etc/passwd")


class Chatty(_Hostile):
    def spoil(self, folder, scene):
        line, most = b"x" * (1 << 20), 0
        for _ in range(40):
            os.write(1, line)
            most = max(most, (folder / "log.txt").stat().st_size)
        os.write(1, b"\nthe end\n")
        raise RuntimeError(f"at most {most} bytes of log " + "a" * 100_000)


class SceneCutter(_Hostile):
    def spoil(self, folder, scene):
        for path in scene.dsm.files:
            os.truncate(path, 100)


class HungryChild(_Hostile):
    def spoil(self, folder, scene):
        subprocess.run([sys.executable, "-c", "bytearray(1 << 50)"], check=True)


class Daemon(_Hostile):
    """Leaves a process in a session of its own that nobody waits for, and one of that one's."""

    def spoil(self, folder, scene):
        code = "import os, sys, time\nos.fork()\nopen(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\ntime.sleep(900)"
        pids = Path(os.environ["REFBENCH_TEST_PIDS"])
        middle = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}, {str(pids)!r}], "
        middle += "start_new_session=True)"
        subprocess.run([sys.executable, "-c", middle], check=True)
        while not pids.exists() or pids.read_text().count("\n") < 2:
            time.sleep(0.01)


class DaemonWaits(Daemon):
    def spoil(self, folder, scene):
        super().spoil(folder, scene)
        time.sleep(900)


@hookimpl
def refbench_methods():
    names = [name for name, kind in globals().items() if isinstance(kind, type) and issubclass(kind, _Hostile)]
    return [MethodRecord(name.lower(), f"hostile_plugin:{name}", "x", (Need.DSM,), (Gives.DSM,)) for name in names[1:]]
