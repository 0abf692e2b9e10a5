"""The real control plane, started for a scenario on a free port."""
import os
import re
import select
import subprocess
import time

from scenario import check, skip


class ControlPlane:
    """In `s.folder/cp`; skips the scenario where the program was not built."""

    def __init__(self, s, **settings):
        if "TB_CONTROL_PLANE" not in os.environ:
            skip("this build has no trustbridge-control-plane")
        self.s, self.binary, self.process, self.url = s, os.environ["TB_CONTROL_PLANE"], None, ""
        self.environment = {**s.environment, "TB_CP_ADDR": "127.0.0.1:0", "TB_CP_DATA_DIR": str(s.folder / "cp"), **settings}

    def run(self, *arguments, rc=0):
        done = subprocess.run([self.binary, *arguments], env=self.environment, capture_output=True, check=False, timeout=100)
        check(done.returncode == rc, f"{arguments}: exit {done.returncode}, expected {rc}: {done.stderr!r}")
        return done.stdout.decode()

    def token_file(self, role, *more):
        """A new token in a file of mode 0600; gives its name."""
        path = self.s.file(f"{role}.token", self.run("token", "create", "--role", role, *more))
        path.chmod(0o600)
        return path.name

    def start(self):
        self.process = subprocess.Popen([self.binary], env=self.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        said, end = b"", time.monotonic() + 60
        while time.monotonic() < end:
            if select.select([self.process.stderr], [], [], 1)[0]:
                piece = os.read(self.process.stderr.fileno(), 65536)
                said += piece
                if found := re.search(rb'"url":"(http://127\.0\.0\.1:\d+)"', said):
                    self.url = found[1].decode()
                    return self.url
                check(piece, f"the control plane ended: {said!r}")
        check(False, f"the control plane does not listen: {said!r}")

    def stop(self):
        """Its exit status."""
        if self.process is None:
            return None
        self.process.terminate()
        status = self.process.wait(timeout=30)
        self.process = None
        return status

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
