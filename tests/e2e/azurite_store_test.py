"""A model whose ciphertext lies in Azure's own emulator of its blob store: registered by account and container, signed for by the
real control plane, fetched and opened by the real sentinel. Nobody but the provider, here this test, has the account's key.
spec: wire 1.5
"""
import base64
import email.utils
import hashlib
import hmac
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import chain

NODE = os.path.join(chain.ENGINE, "node")
AZURITE = os.path.join(chain.REPO, "build", "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
ACCOUNT, VERSION = "trustbridge", "2022-11-02"


class Azurite:
    """In memory, on a free port, with an account of this run."""

    def __init__(self):
        if not os.access(NODE, os.X_OK) or not os.access(AZURITE, os.R_OK):
            raise AssertionError("azurite is missing: run scripts/engine.sh and scripts/azurite.sh")
        self.key = os.urandom(64)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [NODE, AZURITE, "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--inMemoryPersistence", "--disableTelemetry",
             "--silent"],
            env=chain.bare(AZURITE_ACCOUNTS=f"{ACCOUNT}:{base64.b64encode(self.key).decode()}"), stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.close()
                    raise
                time.sleep(0.05)

    def put(self, path, body=b"", query="", **fields):
        """With the account's key (SharedKey, 2015-02-21 and later)."""
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        fields |= {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION}
        length = str(len(body)) if body else ""
        named = "".join(f"{name}:{value}\n" for name, value in sorted(fields.items()))
        resource = f"/{ACCOUNT}/{ACCOUNT}{path}" + "".join(f"\n{one.replace('=', ':')}" for one in sorted(filter(None, query.split("&"))))
        to_sign = f"PUT\n\n\n{length}\n\napplication/octet-stream\n\n\n\n\n\n\n{named}{resource}"
        signature = base64.b64encode(hmac.new(self.key, to_sign.encode(), hashlib.sha256).digest()).decode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{ACCOUNT}{path}{'?' + query if query else ''}", data=body,
                                         method="PUT", headers=fields | {"Authorization": f"SharedKey {ACCOUNT}:{signature}",
                                                                         "Content-Type": "application/octet-stream"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 201, answer.status

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.log.close()


class AzuriteStore(chain.Case):
    @classmethod
    def setUpClass(cls):
        cls.azurite = Azurite()
        cls.addClassCleanup(cls.azurite.close)
        cls.azurite.put("/models", query="restype=container")
        cls.keys = tempfile.mkdtemp(prefix="tb-e2e-", dir="/dev/shm")
        cls.addClassCleanup(shutil.rmtree, cls.keys)
        with open(os.open(f"{cls.keys}/{ACCOUNT}.key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(base64.b64encode(cls.azurite.key) + b"\n")
        cls.endpoint = f"http://127.0.0.1:{cls.azurite.port}/{{account}}"
        cls.chain = chain.Chain(TB_CP_STORE=f"azure:{ACCOUNT}/models/{{tenant}}", TB_CP_STORE_ENDPOINT=cls.endpoint,
                                TB_CP_STORE_CREDENTIAL=f"key-file:{cls.keys}/{{account}}.key")
        cls.addClassCleanup(cls.chain.close)

    def publish(self, asset_id, plain):
        ciphertext, manifest, key = self.chain.seal(asset_id, plain, "--chunk-bytes", 65536)
        for path, name in ((ciphertext, "model.tbenc"), (manifest, "model.manifest.json")):
            with open(path, "rb") as file:
                self.azurite.put(f"/models/acme/{asset_id}/{name}", file.read(), x_ms_blob_type="BlockBlob")
        self.chain.tb("register", "--manifest", manifest, "--key-file", key, "--storage-account", ACCOUNT, "--prefix", "acme",
                      "--endpoint", self.endpoint, "--control-plane-key", self.chain.pinned, *self.chain.at)
        self.chain.contract(asset_id, asset_id)

    def test_a_sentinel_hydrates_by_the_control_planes_signature(self):
        plain = self.chain.work + "/model.gguf"
        with open(plain, "wb") as file:
            file.write(os.urandom(3_000_001))
        self.publish("m", plain)
        # The store itself gives nothing to who has no signature.
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{self.azurite.port}/{ACCOUNT}/models/acme/m/model.tbenc", timeout=30)
        self.assertIn(refused.exception.code, (403, 404))
        sentinel = self.start("m", TB_DELIVERY="tmpfs")
        path = self.delivered(sentinel, "tmpfs")
        self.assertEqual(chain.sha256_of_file(path), chain.sha256_of_file(plain))
        for log in (sentinel.log(), self.log_of_control_plane()):
            self.assertNotIn("sig=", log)
            self.assertNotIn(base64.b64encode(self.azurite.key).decode(), log)

    def test_another_tenants_place_is_not_registered(self):
        plain = self.chain.work + "/other.gguf"
        with open(plain, "wb") as file:
            file.write(os.urandom(1000))
        _, manifest, key = self.chain.seal("other", plain)
        with self.assertRaises(AssertionError) as refused:
            self.chain.tb("register", "--manifest", manifest, "--key-file", key, "--storage-account", ACCOUNT, "--prefix", "beta",
                          "--endpoint", self.endpoint, "--control-plane-key", self.chain.pinned, *self.chain.at)
        self.assertIn("ended with 4", str(refused.exception))
        self.assertIn("/models/acme/other/model.tbenc", str(refused.exception), "the hint says where it belongs")

    def log_of_control_plane(self):
        with open(self.chain.work + "/control-plane.log", encoding="utf-8") as file:
            return file.read()


if __name__ == "__main__":
    chain.main()
