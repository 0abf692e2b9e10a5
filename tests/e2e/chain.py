"""The real chain for a proof: a control plane with a provider's sealed models, and sentinels that deliver them. All on free
loopback ports, all ended by the test that started them; ciphertext and state lie on a disk, plaintext and keys in memory.

A proof that this machine cannot give is skipped, and says NOT PROVEN; a test of which nothing was proven exits with 77.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(REPO, "tests", "integration", "sentinel"))
import peers  # noqa: E402

PROGRAMS = os.environ.get("TB_BIN", os.path.join(REPO, "build", "release", "bin"))
peers.BINARY = os.path.join(PROGRAMS, "trustbridge-sentinel")
CLI = os.path.join(PROGRAMS, "trustbridge")
CONTROL_PLANE = os.path.join(PROGRAMS, "trustbridge-control-plane")
ENGINE = os.path.join(REPO, "build", "engine")
PYTHON = "/usr/bin/python3"  # which other users can run, too
SKIPPED = 77
LEASE_S = 10  # renewed after a third: long enough for a busy machine, short enough to be waited for


def bare(**more):
    """An environment with nothing of ours in it."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | more


def mount_fault():
    """Why nothing can be mounted here; empty if it can."""
    said = json.loads(subprocess.run([CLI, "doctor", "--json"], env=bare(), capture_output=True, check=False).stdout)
    fuse = next(finding for finding in said["findings"] if finding["name"] == "fuse")
    return "" if fuse["health"] == "ok" else f"no FUSE mount works here: {fuse['value']}"


MOUNT_FAULT = mount_fault()
needs_mount = unittest.skipIf(MOUNT_FAULT, f"NOT PROVEN: {MOUNT_FAULT}")
needs_root = unittest.skipUnless(os.geteuid() == 0, "NOT PROVEN: only root can take on another user")


def needs_memory(bytes_needed):
    """In /dev/shm, which a container may have little of, and on the machine."""
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
    free = min(available, shutil.disk_usage("/dev/shm").free)
    return unittest.skipIf(free < bytes_needed, f"NOT PROVEN: {free >> 20} MiB of memory are free, {bytes_needed >> 20} are needed")


def is_mounted(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split()[4] == path for line in table)


def sha256_of_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Chain:
    """A control plane, and the provider who uses it by the command line."""

    def __init__(self, **settings):
        self.work = tempfile.mkdtemp(prefix="tb-e2e-")
        self.shm = tempfile.mkdtemp(prefix="tb-e2e-", dir="/dev/shm")
        self.environment = bare(HOME=self.work, TB_CP_ADDR="127.0.0.1:0", TB_CP_DATA_DIR=self.work + "/cp",
                                TB_CP_STORE=f"filesystem:{self.work}/blobs") | settings
        os.mkdir(self.work + "/blobs", 0o700)
        self.start()
        self.token = self.own_file("token", self.operator("token", "create", "--role", "provider", "--tenant", "acme"))
        self.pinned = self.own_file("control-plane.pub", self.operator("identity"))
        self.at = ["--edc-endpoint", self.url, "--token-file", self.token]

    def start(self):
        log = self.work + "/control-plane.log"
        with open(log, "wb") as out:
            self.process = subprocess.Popen([CONTROL_PLANE], env=self.environment, stdout=out, stderr=out)
        deadline = time.monotonic() + 60
        while True:
            with open(log, encoding="utf-8") as file:
                said = file.read()
            if found := re.search(r'"url":"(https?://127\.0\.0\.1:\d+)"', said):
                break
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the control plane does not listen: {said}")
            time.sleep(0.05)
        self.url = found[1]

    def restart(self, dead_s=0.5):
        """kill -9, and after a while another one at the same place."""
        self.process.kill()
        self.process.wait()
        time.sleep(dead_s)
        self.environment["TB_CP_ADDR"] = self.url.rsplit("/", 1)[1]
        self.start()

    def own_file(self, name, content):
        path = f"{self.shm}/{name}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(content)
        return path

    def operator(self, *arguments):
        return subprocess.run([CONTROL_PLANE, *arguments], env=self.environment, capture_output=True, check=True).stdout

    def tb(self, *arguments, cwd=None):
        done = subprocess.run([CLI, *map(str, arguments), "--quiet"], env=self.environment, capture_output=True, text=True,
                              check=False, timeout=200, cwd=cwd)
        if done.returncode:
            raise AssertionError(f"trustbridge {arguments[0]} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def seal(self, asset_id, plain, *flags):
        """Gives (ciphertext, manifest, key): the first two on a disk, as at any provider's."""
        out, manifest, key = f"{self.work}/{asset_id}.tbenc", f"{self.work}/{asset_id}.manifest.json", f"{self.shm}/{asset_id}.key"
        self.tb("encrypt", "--in", plain, "--asset-id", asset_id, "--out", out, "--manifest", manifest, "--key-file", key, *flags)
        return out, manifest, key

    def publish(self, asset_id, plain, *flags):
        """Sealed, uploaded, registered, and licensed to one consumer by a contract of the asset's name."""
        out, manifest, key = self.seal(asset_id, plain, *flags)
        self.tb("upload", "--store", "cp:", "--asset-id", asset_id, "--encrypted-file", out, "--manifest", manifest, *self.at)
        self.tb("register", "--store", "cp:", "--asset-id", asset_id, "--manifest", manifest, "--key-file", key,
                "--control-plane-key", self.pinned, *self.at)
        self.contract(asset_id, asset_id)
        return out, manifest, key

    def contract(self, contract_id, asset_id):
        self.tb("contract", "create", "--contract-id", contract_id, "--asset-id", asset_id, "--consumer", "consumer",
                "--not-after", "1h", "--max-seats", 1, "--lease-seconds", LEASE_S,
                "--activation-token-file", f"{self.shm}/{contract_id}.activation", *self.at)

    def sentinel(self, contract_id, asset_id=None, runtime_url=None, **settings):
        return peers.Sentinel(self, runtime_url, **{
            "TB_CONTRACT_ID": contract_id, "TB_ASSET_ID": asset_id or contract_id, "TB_KEY_RELEASE": "wrapped",
            "TB_ACTIVATION_TOKEN_FILE": f"{self.shm}/{contract_id}.activation"} | settings)

    def events(self):
        """What the provider reads of its own events, oldest first."""
        with open(self.token, encoding="utf-8") as file:
            token = file.read().strip()
        out, cursor = [], ""
        while True:
            url = f"{self.url}/api/v1/events?limit=100" + (f"&cursor={cursor}" if cursor else "")
            request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
            with urllib.request.urlopen(request, timeout=30) as answer:
                page = json.load(answer)
            out += [item["event"] for item in page["items"]]
            cursor = page.get("next_cursor")
            if not cursor:
                return out

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.shm, ignore_errors=True)


class Case(unittest.TestCase):
    """One chain for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.chain = Chain()
        cls.addClassCleanup(cls.chain.close)

    def start(self, contract_id, *arguments, **settings):
        """A sentinel beside a runtime that is healthy and reads nothing: whoever tests is the reader."""
        if "TB_RUNTIME_COMMAND" not in settings:
            runtime = peers.Runtime()
            self.addCleanup(runtime.close)
            settings["runtime_url"] = f"http://127.0.0.1:{runtime.port}"
        sentinel = self.chain.sentinel(contract_id, *arguments, **settings)
        self.addCleanup(sentinel.close)
        return sentinel

    def delivered(self, sentinel, kind):
        """Where the sentinel says that the model is, once it is ready."""
        sentinel.wait_state("Ready", seconds=90)
        self.assertEqual(sentinel.status()["delivery"]["kind"], kind)
        with open(sentinel.signal_file, encoding="utf-8") as file:
            return json.load(file)["path"]


def reading_runtime():
    """Settings for a runtime of the sentinel's that reads the whole model. By its text: other users may not read this tree."""
    with open(HERE + "/reading_runtime.py", encoding="utf-8") as file:
        command = [PYTHON, "-c", file.read(), "{model_path}", "{runtime_port}"]
    return {"TB_RUNTIME_COMMAND": json.dumps(command), "TB_RUNTIME_URL": "http://127.0.0.1:0"}


def what_it_read(sentinel):
    """The SHA-256 of the model in that runtime, asked for as a user would."""
    request = urllib.request.Request(f"http://{sentinel.addresses()['public']}/v1/models")
    request.add_header("Authorization", "Bearer " + sentinel.api_key())
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"][0]["id"]


def runtime_pid(sentinel):
    return sentinel.runtime_pid()


class Engine:
    """The real llama.cpp engine on a plaintext file, as its owner would run it."""

    def __init__(self, model):
        self.process = subprocess.Popen(engine_command(model, "0"), env=bare(), stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
                self.url = "http://" + found[1]
            elif "model loaded" in line:
                return
        raise AssertionError(f"the engine ended with {self.process.wait()}")

    def close(self):
        self.process.terminate()
        self.process.communicate(timeout=30)


def engine_settings():
    """Settings for the real engine as the sentinel's runtime: confined, it sees its own program and nothing else of this tree."""
    return {"TB_RUNTIME_COMMAND": json.dumps(engine_command()), "TB_RUNTIME_URL": "http://127.0.0.1:0",
            "TB_RUNTIME_READ_PATHS": ENGINE}


def engine_command(model="{model_path}", port="{runtime_port}"):
    """As TB_RUNTIME_COMMAND has it, or on a given model. Installs the engine where it is missing, as the demo does."""
    done = subprocess.run([os.path.join(REPO, "scripts", "engine.sh")], capture_output=True, text=True, check=False)
    if done.returncode:
        raise unittest.SkipTest(f"NOT PROVEN: the engine cannot be installed: {done.stderr}")
    return [ENGINE + "/node", ENGINE + "/server.mjs", "--model", model, "--port", port]


def ask(url, api_key=None):
    """What the engine says, greedily."""
    body = {"messages": [{"role": "user", "content": "tell me a story"}], "max_tokens": 16, "temperature": 0}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    if api_key:
        request.add_header("Authorization", "Bearer " + api_key)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def main():
    """Runs the tests of the calling file, or the classes named by the arguments."""
    result = unittest.main(module="__main__", verbosity=2, exit=False).result
    for _, why in result.skipped:
        print(why, file=sys.stderr)
    if not result.wasSuccessful() or not (result.testsRun or result.skipped):
        sys.exit(1)
    # Whoever reads only ctest's summary must see that a proof is missing.
    sys.exit(SKIPPED if result.skipped else 0)
