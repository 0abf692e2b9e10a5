"""`publish` with the real parts: one command from a folder to Azure's emulator, the control plane, a registry with a password and a
package; then a sentinel that serves what was published. All of it over TLS but the registry, which is on loopback.

Looked for everywhere that publish writes or speaks, the arguments of its steps included: every secret of the provider's.
spec: wire 3
"""
import base64
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
import zipfile

import chain

sys.path.insert(0, os.path.join(chain.REPO, "tests", "cli"))
import azurite  # noqa: E402
import registry_process  # noqa: E402

STEPS = ["encrypt", "verify", "upload", "register", "contract", "build", "package", "draft"]
MIB = 1 << 20


def write(path, content, mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    return path


def children_of(pid):
    try:
        return [int(child) for task in os.listdir(f"/proc/{pid}/task")
                for child in pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


class Arguments(threading.Thread):
    """What every process of a command's shows to the machine, looked at until the command ends."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.seen = process, set()

    def run(self):
        while self.process.poll() is None:
            pids = [self.process.pid]
            for pid in pids:
                pids += children_of(pid)
                try:
                    self.seen.add(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:
                    pass
            time.sleep(0.002)


class Publish(chain.Case):
    @classmethod
    def setUpClass(cls):
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="tb-publish-"))
        cls.addClassCleanup(subprocess.run, ["rm", "-rf", str(cls.place)], check=False)
        cls.certificate, key = cls.place / "tls.pem", cls.place / "tls.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key,
                        "-out", cls.certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        cls.store = azurite.Azurite(tls=(str(cls.certificate), str(key)))
        cls.addClassCleanup(cls.store.close)
        write(cls.place / f"keys/{azurite.ACCOUNT}.key", cls.store.key_base64() + "\n", 0o600)
        cls.chain = chain.Chain(TB_CP_STORE=f"azure:{azurite.ACCOUNT}/models/{{tenant}}", TB_CP_STORE_ENDPOINT=cls.store.endpoint(),
                                TB_CP_STORE_CREDENTIAL=f"key-file:{cls.place}/keys/{{account}}.key",
                                TB_CP_TLS_CERT_PATH=str(cls.certificate), TB_CP_TLS_KEY_PATH=str(key))
        cls.addClassCleanup(cls.chain.close)
        cls.registry = registry_process.RegistryProcess(cls.place, "registry", registry_process.users(cls.place))
        cls.addClassCleanup(cls.registry.close)
        cls.login = base64.b64encode(f"{registry_process.USER}:{registry_process.PASSWORD}".encode()).decode()
        write(cls.place / "logins.json", json.dumps({"auths": {cls.registry.host: {"auth": cls.login}}}), 0o600)
        for flag, name in (("--oms", "oms.pem"), ("--signing", "provider.key")):
            cls.chain.tb("keygen", flag, "--out", cls.place / name)
        # What the model server's image is, is the provider's business: here it is the smallest that build takes.
        write(cls.place / "server.c", "int main(void) { return 0; }\n")
        subprocess.run(["cc", "-o", "server", "server.c", "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../lib/trustbridge"], cwd=cls.place, check=True)
        cls.chain.tb("build", "--what", "sentinel", "--sentinel-binary", "server", "--oci-layout", "base", cwd=cls.place)
        cls.common = ["--storage-account", azurite.ACCOUNT, "--prefix", "acme", "--endpoint", cls.store.endpoint(), "--create-container",
                      *cls.chain.at, "--ca-path", str(cls.certificate), "--control-plane-key", cls.chain.pinned,
                      "--oms-key", "oms.pem", "--sign-key", "provider.key", "--consumer", "consumer", "--not-after", "1h", "--lease-seconds",
                      str(chain.LEASE_S)]

    def setUp(self):
        self.given = {}  # more of the environment

    def command(self, asset_id, *flags):
        return [chain.CLI, "publish", "m", "--asset-id", asset_id, "--contract-id", f"of-{asset_id}", *self.common, *flags]

    def start(self, asset_id, *flags):  # pylint: disable=arguments-differ
        return subprocess.Popen(self.command(asset_id, *flags, "--yes", "--json"), cwd=self.place, env=self.chain.environment | self.given,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def publish(self, asset_id, *flags):
        """The summary; whatever was said, written or shown holds no secret."""
        process = self.start(asset_id, *flags)
        arguments = Arguments(process)
        arguments.start()
        out, err = process.communicate(timeout=120)
        arguments.join()
        self.assertEqual(process.returncode, 0, err)
        self.seen = arguments.seen
        folder = self.place / f"{asset_id}.publish"
        shown = {"stdout": out.encode(), "stderr": err.encode(), "arguments": b"\n".join(arguments.seen)}
        shown |= {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in (".key", ".token")}
        if "trustbridge-app.zip" in shown:
            with zipfile.ZipFile(folder / "trustbridge-app.zip") as package:
                shown |= {name: package.read(name) for name in package.namelist()}
        self.tell_no_secret(folder, shown)
        summary = json.loads(out)
        self.assertTrue(summary["ok"])
        self.assertEqual(json.loads((folder / "summary.json").read_text(encoding="utf-8")), summary)
        return summary

    def tell_no_secret(self, folder, shown):
        def text(path):
            return pathlib.Path(path).read_text(encoding="utf-8")

        key = text(folder / "model.tbenc.key").split()[0]
        secrets = {"file key": key, "file key in base64": base64.b64encode(bytes.fromhex(key)).decode(),
                   "activation token": text(folder / "activation.token").split()[0], "bearer token": text(self.chain.token).strip(),
                   "account key": self.store.key_base64(), "password": registry_process.PASSWORD, "login": self.login,
                   "model signing key": text(self.place / "oms.pem").splitlines()[1], "signing key": text(self.place / "provider.key").split()[0],
                   "signature of a URL": "sig=", "connection string": "AccountKey="}
        for where, content in shown.items():
            for name, secret in secrets.items():
                self.assertGreater(len(secret), 3)
                self.assertNotIn(secret.encode(), content, f"the {name} in {where}")

    def model(self):
        files = {"config.json": b"{}", "w.gguf": os.urandom(3_000_001)}
        for name, content in files.items():
            write(self.place / "m" / name, content)
        return hashlib.sha256(files["config.json"] + files["w.gguf"]).hexdigest()

    def statuses(self, summary):
        return {step["name"]: step["status"] for step in summary["steps"]}

    def results(self, summary):
        return {step["name"]: step["result"] for step in summary["steps"]}

    def serves(self, asset_id, digest):
        """The real sentinel on the ciphertext in the emulator, by the signature of the real control plane."""
        sentinel = self.chain.sentinel(f"of-{asset_id}", asset_id, TB_DELIVERY="tmpfs", TB_CA_PATH=str(self.certificate),
                                       TB_PROVIDER_KEY=str(self.place / "provider.key.pub"),
                                       TB_ACTIVATION_TOKEN_FILE=str(self.place / f"{asset_id}.publish/activation.token"), **chain.reading_runtime())
        self.addCleanup(sentinel.close)
        sentinel.wait_state("Ready", seconds=90)
        self.assertEqual(chain.what_it_read(sentinel), digest)
        self.assertNotIn("sig=", sentinel.log())
        self.assertEqual(sentinel.stop(), 0)

    def in_registry(self, name, tag):
        request = urllib.request.Request(f"http://{self.registry.host}/v2/{name}/manifests/{tag}",
                                         headers={"Accept": "application/vnd.oci.image.manifest.v1+json", "Authorization": "Basic " + self.login})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return "sha256:" + hashlib.sha256(answer.read()).hexdigest()

    def test_from_a_folder_to_a_running_model(self):
        digest = self.model()
        flags = ["--account-key-file", f"keys/{azurite.ACCOUNT}.key", "--registry", self.registry.host, "--base-image", "oci:base", "--tag", "1.0",
                 "--auth-file", "logins.json", "--offer-id", "llm", "--plan-id", "standard", "--dimension", "tokens", "--all-steps"]
        flags += ["--store", "azure:"]  # which the account says, too
        plan = subprocess.run(self.command("whole", *flags, "--dry-run"), cwd=self.place, env=self.chain.environment, capture_output=True, check=True)
        self.assertFalse((self.place / "whole.publish").exists())
        summary = self.publish("whole", *flags)
        self.assertEqual(self.statuses(summary), {name: "done now" for name in STEPS})
        self.tell_no_secret(self.place / "whole.publish", {"plan": plan.stdout + plan.stderr})

        # Of the step that takes longest: what is looked for in arguments was looked at.
        self.assertTrue(any(b"\0build\0" in arguments for arguments in self.seen), self.seen)

        results = self.results(summary)
        manifest = json.loads((self.place / "whole.publish/model.manifest.json").read_text(encoding="utf-8"))
        blob = self.store.get("/models/acme/whole/model.tbenc")
        self.assertEqual(hashlib.sha256(blob).hexdigest(), manifest["sha256_ciphertext"])
        self.assertEqual(results["encrypt"]["sha256_ciphertext"], manifest["sha256_ciphertext"])
        self.assertTrue(results["upload"]["ciphertext_url"].endswith(f"/{azurite.ACCOUNT}/models/acme/whole/model.tbenc"))
        self.assertEqual(results["contract"]["contract_id"], "of-whole")
        pushed = self.in_registry("trustbridge-runtime", "1.0")
        self.assertEqual(results["build"]["digest"], pushed)
        self.assertEqual(results["build"]["reference"], f"{self.registry.host}/trustbridge-runtime:1.0@{pushed}")
        zip_path = self.place / "whole.publish/trustbridge-app.zip"
        self.assertEqual(results["package"]["sha256"], chain.sha256_of_file(zip_path))
        with zipfile.ZipFile(zip_path) as package:
            self.assertIn(f"{self.registry.host}/trustbridge-runtime@{pushed}".encode(), package.read("mainTemplate.json"))
        self.chain.tb("package", "--check", zip_path)
        draft = json.loads((self.place / "whole.publish/draft.json").read_text(encoding="utf-8"))
        self.assertEqual((draft["plan"]["package"]["sha256"], draft["published"]["build"]["digest"]), (results["package"]["sha256"], pushed))
        self.chain.tb("verify", "whole.publish/model.tbenc", "--key-file", "whole.publish/model.tbenc.key", "--oms-key", "oms.pem.pub",
                      "--provider-key", "provider.key.pub", cwd=self.place)

        with self.subTest("again: nothing is done"):
            etag = self.store.ask("HEAD", "/models/acme/whole/model.tbenc")[1]["ETag"]
            again = self.publish("whole", *flags)
            self.assertEqual(self.statuses(again), {name: "done before" for name in STEPS})
            self.assertEqual(self.results(again), results)
            self.assertEqual(self.store.ask("HEAD", "/models/acme/whole/model.tbenc")[1]["ETag"], etag)
        with self.subTest("a sentinel serves it"):
            self.serves("whole", digest)
            with open(self.chain.work + "/control-plane.log", "rb") as log:
                self.tell_no_secret(self.place / "whole.publish", {"the control plane's log": log.read()})

    def stops_at(self, step, exit_status, *flags):
        """What it said."""
        process = self.start("faults", *flags)
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, exit_status, err)
        self.assertEqual(json.loads(out)["steps"][-1]["name"], step)
        self.assertIn("hint: ", err)
        return err

    def test_every_fault_leaves_a_state_from_which_it_goes_on(self):
        self.model()
        write(self.place / "wrong.key", "d3Jvbmc=\n", 0o600)
        write(self.place / "nobody.json", "{}", 0o600)
        blob = "/models/acme/faults/model.tbenc"
        right = ["--account-key-file", f"keys/{azurite.ACCOUNT}.key"]
        image = ["--registry", self.registry.host, "--base-image", "oci:base", "--sentinel-binary", "server", "--skip-draft", "--auth-file"]
        self.stops_at("upload", 3, "--account-key-file", "wrong.key", *image, "nobody.json")
        self.store.ask("PUT", "/models", "restype=container")
        self.store.put(blob, b"of somebody else")
        self.assertIn("faults/model.tbenc", self.stops_at("upload", 7, *right, *image, "nobody.json"))
        self.assertEqual(self.store.get(blob), b"of somebody else")
        self.store.ask("DELETE", blob)
        self.stops_at("build", 3, *right, *image, "nobody.json")
        etag = self.store.ask("HEAD", blob)[1]["ETag"]
        # By another credential, in the environment, it goes on all the same.
        self.given = {"AZURE_STORAGE_CONNECTION_STRING": self.store.connection_string()}
        summary = self.publish("faults", *image, "logins.json")
        self.assertEqual([step["status"] for step in summary["steps"]], ["done before", "done before", "done now", "done before", "done before", "done now", "done now"])
        self.assertEqual(self.store.ask("HEAD", blob)[1]["ETag"], etag, "it was sent again")
        self.assertEqual(self.store.get(blob), (self.place / "faults.publish/model.tbenc").read_bytes())

    def killed_in_mid_upload(self, asset_id, *flags):
        """By SIGKILL, publish and its step, once a part of the ciphertext lies at the store."""
        blob = f"/models/acme/{asset_id}/model.tbenc"
        process = self.start(asset_id, *flags)
        deadline = time.monotonic() + 60
        while not self.store.uncommitted(blob):
            if process.poll() is not None:
                self.fail(f"it ended before it was killed: {process.communicate()}")
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        for pid in [process.pid, *children_of(process.pid)]:
            os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, -signal.SIGKILL)
        self.assertIsNone(self.store.get(blob), "a part appeared")

    def test_killed_in_mid_upload(self):
        write(self.place / "m/big.gguf", os.urandom(MIB) * 28)
        self.addCleanup(os.unlink, self.place / "m/big.gguf")
        slow = ["--parallel", "1", "--max-bytes-per-second", str(10 * MIB)]
        flags = ["--account-key-file", f"keys/{azurite.ACCOUNT}.key"]
        self.killed_in_mid_upload("cut", *flags, *slow)
        key = (self.place / "cut.publish/model.tbenc.key").read_bytes()
        # As fast as it goes now: at what pace something is sent is no other input.
        summary = self.publish("cut", *flags)
        self.assertEqual([step["status"] for step in summary["steps"]], ["done before", "done before", "done now", "done now", "done now"])
        self.assertEqual((self.place / "cut.publish/model.tbenc.key").read_bytes(), key)
        self.assertEqual(self.store.get("/models/acme/cut/model.tbenc"), (self.place / "cut.publish/model.tbenc").read_bytes())

        with self.subTest("in one pass: begun anew with another key"):
            flags = ["--one-pass", "--sas-file", "sas"]
            write(self.place / "sas", self.store.sas("models"), 0o600)
            self.killed_in_mid_upload("pass", *flags, *slow)
            summary = self.publish("pass", *flags)
            self.assertEqual(self.statuses(summary), {name: "done now" for name in ("encrypt", "register", "contract")})
            self.assertIn("/models/acme/pass/model.tbenc", self.results(summary)["encrypt"]["ciphertext_url"])
            self.assertFalse((self.place / "pass.publish/model.tbenc").exists(), "there is a ciphertext on this disk")
            write(self.place / "fetched.tbenc", self.store.get("/models/acme/pass/model.tbenc"))
            self.chain.tb("verify", "fetched.tbenc", "--manifest", "pass.publish/model.manifest.json", "--key-file", "pass.publish/model.tbenc.key",
                          "--oms-key", "oms.pem.pub", "--oms-bundle", "pass.publish/model.sig", cwd=self.place)
            # Another way to the same place is no other input of what was done once.
            again = self.publish("pass", "--one-pass", "--account-key-file", f"keys/{azurite.ACCOUNT}.key")
            self.assertEqual(self.statuses(again)["encrypt"], "done before")


if __name__ == "__main__":
    chain.main()
