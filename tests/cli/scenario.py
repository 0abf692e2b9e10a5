"""Plays one scenario on the real binary: a fresh directory, the commands of it, and what must hold after every one.

After each scenario nothing unfinished may lie about: no `.partial` file anywhere in its directory, unless the scenario
killed a process and says so.
"""
import glob
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import traceback

SKIPPED = 77
SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


class Failed(AssertionError):
    pass


def check(truth, what):
    if not truth:
        raise Failed(what)


def equal(actual, expected, what="value"):
    check(actual == expected, f"{what}: {actual!r}, expected {expected!r}")


class Outcome:
    def __init__(self, arguments, done):
        self.arguments, self.rc, self.raw, self.err = arguments, done.returncode, done.stdout, done.stderr.decode()
        self.out = done.stdout.decode(errors="replace")

    def json(self):
        return json.loads(self.out)

    def reason(self):
        return self.json()["error"]["reason"]


class Scenario:
    def __init__(self, folder):
        self.folder = folder
        self.binary = os.environ["TB_CLI"]
        self.killed = False
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home"), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        (folder / "home").mkdir()

    def tb(self, *arguments, rc=0, stdin=b"", environment=None, **rest):
        """Runs trustbridge; its exit status must be `rc`, and its voice the one of habits.md."""
        arguments = [str(a) for a in arguments]
        done = subprocess.run([self.binary, *arguments], input=stdin, capture_output=True, timeout=100, check=False,
                              cwd=self.folder, env={**self.environment, **(environment or {})}, **rest)
        outcome = Outcome(arguments, done)
        check(done.returncode == rc, f"{arguments}: exit {done.returncode}, expected {rc}\n{outcome.out}\n{outcome.err}")
        if rc:
            first = next((line for line in outcome.err.splitlines() if "error: " in line), "")
            check(first.startswith("trustbridge: error: "), f"{arguments}: no error line: {outcome.err!r}")
            check(not first.endswith("."), f"a full stop: {first!r}")
        return outcome

    def fails(self, reason, rc, *arguments, **rest):
        """Runs with --json; the error object must name `reason`, and exit with `rc`."""
        outcome = self.tb(*arguments, "--json", rc=rc, **rest)
        equal(outcome.reason(), reason, f"reason of {arguments}")
        equal(outcome.json()["error"]["exit_status"], rc, "exit_status in the error object")
        return outcome

    def start(self, *arguments, **rest):
        return subprocess.Popen([self.binary, *map(str, arguments)], cwd=self.folder, env=self.environment, **rest)

    def file(self, name, content=b""):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def sparse(self, name, size):
        path = self.file(name)
        os.truncate(path, size)
        return path

    def names(self, folder="."):
        return sorted(p.name for p in (self.folder / folder).iterdir() if p.name != "home")

    def absent(self, *names):
        for name in names:
            check(not os.path.lexists(self.folder / name), f"{name} is there")

    def partials(self):
        return [str(p) for p in self.folder.rglob("*.partial")]

    def unfinished_bytes(self):
        """Size of the largest file that is being written aside, under a name of its own or none."""
        found = list(self.folder.rglob("*.partial"))
        for link in glob.glob("/proc/[0-9]*/fd/*"):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith(f"{self.folder}/") and "/#" in target and target.endswith(" (deleted)"):
                found.append(pathlib.Path(link))
        sizes = [0]
        for path in found:
            try:
                if path.is_file():
                    sizes.append(path.stat().st_size)
            except OSError:
                pass
        return max(sizes)

    def keeps_nameless_files(self):
        """Whether its file system is one where a kill leaves nothing of what was written aside."""
        kind = subprocess.run(["stat", "-f", "-c", "%T", str(self.folder)], capture_output=True, text=True, check=True).stdout.strip()
        return kind in ("ext2/ext3", "xfs", "btrfs", "tmpfs")

    def model(self, name="weights.bin.enc-me", size=300_000):
        """A file of bytes that do not repeat by chunk."""
        return self.file(name, bytes((i * 7 + (i >> 8) * 13 + (i >> 16)) & 255 for i in range(size)))

    def asset(self, asset_id="asset-a", size=300_000, out="model.tbenc", chunk_bytes=65536, *more):
        """An encrypted file; gives its plaintext's path."""
        plain = self.model(f"{asset_id}.weights", size)
        self.tb("encrypt", plain, "--asset-id", asset_id, "--out", out, "--chunk-bytes", chunk_bytes, *more)
        return plain


def skip(why):
    print(f"SKIPPED, NOT PROVEN: {why}", file=sys.stderr)
    raise SystemExit(SKIPPED)


def play(story):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tb-cli-"))
    os.chmod(folder, 0o755)
    scenario = Scenario(folder)
    try:
        story(scenario)
        if not scenario.killed:
            equal(scenario.partials(), [], "unfinished files")
        print("held")
    except (Failed, subprocess.TimeoutExpired, OSError, KeyError, ValueError):
        traceback.print_exc()
        print("in the directory:", sorted(str(p.relative_to(folder)) for p in folder.rglob("*")), file=sys.stderr)
        sys.exit(1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
