#!/usr/bin/python3
"""deploy/compose with podman, on images that our own `build` made: encrypted, uploaded, registered, licensed; the text that comes
out of the containers is the engine's own on the plaintext; then suspended, and everything gone. Nothing of the weights on any
layer or volume of the containers; the runtime's port is nobody's but the sentinel's."""
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

REPO = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import images  # noqa: E402

ACCOUNT = "trustbridge"
PROJECT = f"tb{os.getpid()}"  # names of networks are the machine's: an earlier run that was killed may have left some
QUESTION = {"messages": [{"role": "user", "content": "tell me a story"}], "max_tokens": 24, "temperature": 0}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for path in (images.node_files() / "node", images.AZURITE):
            if not path.exists():
                raise AssertionError(f"{path} is missing: scripts/engine.sh and scripts/test-tools.sh make it")
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="tb-compose-"))
        cls.addClassCleanup(shutil.rmtree, cls.place, True)
        cls.shm = pathlib.Path(tempfile.mkdtemp(prefix="tb-compose-", dir="/dev/shm"))
        cls.addClassCleanup(shutil.rmtree, cls.shm, True)
        cls.started = cls.place / "started"
        cls.started.touch()
        cls.storage = images.Storage(cls.place)
        cls.addClassCleanup(cls.storage.close)
        roots = cls.place / "roots"
        sentinel, _ = cls.storage.built("--what", "sentinel")
        control_plane, _ = cls.storage.built("--what", "control-plane")
        layout = images.engine_base(cls.storage, roots / "engine")
        runtime, _ = cls.storage.built("--what", "runtime", "--base-image", f"oci:{layout}")
        cls.project = cls.place / "deployed"
        shutil.copytree(REPO / "deploy/compose", cls.project)
        (cls.project / "azurite.yaml").write_text(f"services:\n  azurite:\n    volumes: ['{images.AZURITE}:/srv/azurite/node_modules:ro']\n")
        cls.ports = {name: free_port() for name in ("TB_PUBLIC_PORT", "TB_CONTROL_PLANE_PORT", "TB_AZURITE_PORT")}
        cls.storage.environment |= {name: str(port) for name, port in cls.ports.items()}
        cls.storage.environment |= {
            "TB_SENTINEL_IMAGE": sentinel, "TB_CONTROL_PLANE_IMAGE": control_plane, "TB_RUNTIME_IMAGE": runtime, "TB_MODEL_PAGES": "65536", "TB_PROJECT": PROJECT,
            "TB_POSTGRES_IMAGE": images.postgres_image(cls.storage, roots / "postgres"),
            "TB_AZURITE_IMAGE": images.azurite_image(cls.storage, roots / "azurite"), "TB_ALLOW_SWAP": "true" if swaps() else "false"}
        shutil.rmtree(roots)
        shutil.rmtree(layout)
        cls.storage.run("bash", cls.project / "prepare.sh", cls.project)
        cls.addClassCleanup(cls.compose, "down", "-v", check=False)

    @classmethod
    def compose(cls, *arguments, **rest):
        return cls.storage.run("podman-compose", "-p", PROJECT, "-f", "compose.yaml", "-f", "engine.yaml", "-f", "azurite.yaml", *arguments, cwd=cls.project, **rest)

    @classmethod
    def container(cls, service):
        return f"{PROJECT}_{service}_1"

    def logs(self):
        return "\n".join(f"---- {service}\n" + "\n".join(self.storage.podman("logs", self.container(service), check=False).stderr.splitlines()[-20:])
                         for service in ("postgres", "azurite", "control-plane", "sentinel", "runtime"))

    def wait_for(self, what, condition, seconds=120):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if condition():
                    return
                fault = "it does not hold"
            except (OSError, AssertionError, ValueError, KeyError) as error:
                fault = error
            if time.monotonic() > deadline:
                raise AssertionError(f"waited in vain for {what}: {fault}\n{self.logs()}")
            time.sleep(0.3)

    def inside(self, service, *command, check=True):
        return self.storage.podman("exec", self.container(service), *command, check=check)

    def tb(self, *arguments):
        return self.storage.run(images.BIN / "trustbridge", *arguments, "--quiet")

    def ask(self):
        key = (self.volume(PROJECT + "_sentinel") / "first-api-key").read_text().strip()
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports['TB_PUBLIC_PORT']}/v1/chat/completions", json.dumps(QUESTION).encode(),
                                         {"Content-Type": "application/json", "Authorization": "Bearer " + key})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]

    def volume(self, name):
        return pathlib.Path(self.storage.podman("volume", "inspect", "-f", "{{.Mountpoint}}", name).strip())

    def status_of_request(self):
        try:
            self.ask()
            return 200
        except urllib.error.HTTPError as error:
            return error.code

    def test_the_whole_chain(self):
        # The provider's machine: model and key in memory, ciphertext on disk.
        plain = self.shm / "model.gguf"
        subprocess.run([sys.executable, REPO / "runtime/make_tiny_gguf.py", plain], check=True, capture_output=True)
        reference = engine_answer(plain)
        cipher, manifest, key = self.place / "model.tbenc", self.place / "model.manifest.json", self.shm / "model.key"
        self.tb("encrypt", "--in", plain, "--asset-id", "demo-model", "--out", cipher, "--manifest", manifest, "--key-file", key, "--chunk-bytes", "65536")

        self.compose("up", "-d", "postgres", "azurite", "control-plane")
        health = ["podman", "exec", self.container("control-plane"), "/opt/trustbridge/bin/trustbridge-control-plane", "healthcheck"]
        self.wait_for("the control plane", lambda: self.storage.run(*health, check=False).returncode == 0)
        self.wait_for("the emulator", lambda: socket.create_connection(("127.0.0.1", self.ports["TB_AZURITE_PORT"]), timeout=5).close() or True)
        # The same store as the containers see it at https://azurite:10000: the port is another one for us.
        self.tb("upload", "--encrypted-file", cipher, "--manifest", manifest, "--storage-account", ACCOUNT, "--prefix", "acme", "--create-container",
                "--endpoint", f"https://localhost:{self.ports['TB_AZURITE_PORT']}/{{account}}", "--account-key-file",
                self.project / "secrets/azure-account-key", "--ca-path", self.project / "secrets/ca.crt")

        program = "/opt/trustbridge/bin/trustbridge-control-plane"
        token = own_file(self.shm / "token", self.inside("control-plane", program, "token", "create", "--role", "provider", "--tenant", "acme"))
        pinned = own_file(self.shm / "pinned", self.inside("control-plane", program, "identity"))
        at = ["--edc-endpoint", f"https://localhost:{self.ports['TB_CONTROL_PLANE_PORT']}", "--token-file", token, "--ca-path",
              self.project / "secrets/ca.crt"]
        self.tb("register", "--manifest", manifest, "--key-file", key, "--storage-account", ACCOUNT, "--prefix", "acme", "--endpoint",
                "https://azurite:10000/{account}", "--control-plane-key", pinned, *at)
        self.tb("contract", "create", "--contract-id", "demo", "--asset-id", "demo-model", "--consumer", "c", "--not-after", "1h", "--max-seats", "1",
                "--lease-seconds", "10", "--activation-token-file", self.project / "secrets/activation-token", *at)
        self.storage.run("bash", self.project / "prepare.sh", self.project)

        # The consumer's.
        self.compose("up", "-d", "sentinel", "runtime")
        sentinel = "/opt/trustbridge/bin/trustbridge-sentinel"
        self.wait_for("the sentinel", lambda: self.storage.run("podman", "exec", self.container("sentinel"), sentinel, "healthcheck", check=False).returncode == 0)
        self.assertEqual(self.ask(), reference)

        for service in ("control-plane", "sentinel", "runtime"):
            with self.subTest(service=service):
                told = json.loads(self.storage.podman("inspect", self.container(service)))[0]
                self.assertTrue(told["HostConfig"]["ReadonlyRootfs"])
                self.assertEqual(told["EffectiveCaps"] or [], [])
                with open(f"/proc/{told['State']['Pid']}/status", encoding="utf-8") as file:
                    status = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
                self.assertEqual(set(status["Uid"].split()), {"65532"})
                self.assertEqual(status["NoNewPrivs"], "1")
                self.assertNotIn("sig=", self.storage.podman("logs", self.container(service), check=False).stderr)

        # Plaintext: in the volume that is memory, where the search finds it, and nowhere else.
        find = [sys.executable, REPO / "tests/e2e/find_plaintext.py", plain]
        model = next(self.volume(PROJECT + "-model").rglob("*.gguf"))
        self.assertEqual(self.storage.run("stat", "-f", "-c", "%T", model).strip(), "tmpfs")
        self.assertNotEqual(self.storage.run(*find, "--in", model, check=False).returncode, 0, "the search does not find the weights where they are")
        said = self.storage.run(*find, "--since", self.started, "--key", key)
        print("plaintext and key on disks: none:", said.strip())

        # The runtime: on no port of any address, and its network leads nowhere. The sentinel's public port shows that we look well.
        address = self.storage.podman("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.container("sentinel")).strip()
        with socket.create_connection((address, 8000), timeout=10):
            pass
        listening = self.inside("runtime", "cat", "/proc/net/tcp", "/proc/net/tcp6")
        states = [line.split()[3] for line in listening.splitlines() if ":" in line.split()[0]]
        self.assertNotIn("0A", states, listening)
        routes = self.inside("runtime", "cat", "/proc/net/route").splitlines()[1:]
        self.assertFalse([line for line in routes if line.split()[1] == "00000000"], "the runtime has a way out")
        self.assertEqual(self.inside("runtime", "stat", "-c", "%F %u %a", "/gate").strip(), "directory 65532 700")

        # Suspension: no traffic, no plaintext, no server that still holds it.
        old = self.storage.podman("inspect", "-f", "{{.State.StartedAt}}", self.container("runtime")).strip()
        self.tb("contract", "suspend", "demo", *at)
        self.wait_for("403", lambda: self.status_of_request() == 403, 60)
        self.wait_for("the plaintext to go", lambda: not list(self.volume(PROJECT + "-model").rglob("*.gguf")), 60)
        self.wait_for("the server to end",
                      lambda: self.storage.podman("inspect", "-f", "{{.State.StartedAt}}", self.container("runtime")).strip() != old or
                      self.storage.podman("inspect", "-f", "{{.State.Running}}", self.container("runtime")).strip() == "false", 60)
        self.tb("contract", "resume", "demo", *at)
        self.wait_for("the same text again", lambda: self.ask() == reference)


def swaps():
    with open("/proc/swaps", encoding="ascii") as file:
        return len(file.readlines()) > 1


def own_file(path, content):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
    return path


def engine_answer(model):
    """What the engine says on the plaintext, as its owner would run it."""
    port = free_port()
    engine = subprocess.Popen([images.node_files() / "node", images.node_files() / "server.mjs", "--model", model, "--port", str(port)],
                              stderr=subprocess.PIPE, text=True)
    try:
        for line in engine.stderr:
            if "model loaded" in line:
                break
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(QUESTION).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["choices"][0]["message"]["content"]
    finally:
        engine.terminate()
        engine.communicate(timeout=30)


if __name__ == "__main__":
    unittest.main(verbosity=2)
