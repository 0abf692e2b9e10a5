"""Azurite, Azure's own emulator of its blob store, in memory, on a free port, with an account of this run; and what scenarios
want to know of what lies in it. `tls` = (certificate, key) makes it take OAuth tokens over https."""
import base64
import email.utils
import hashlib
import hmac
import http.client
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.parse

from scenario import SOURCE, Failed

NODE = SOURCE / "build/engine/node"
PROGRAM = SOURCE / "build/azurite/node_modules/azurite/dist/src/blob/main.js"
ACCOUNT, VERSION = "trustbridge", "2022-11-02"


class Azurite:
    def __init__(self, tls=None, flags=()):
        if not os.access(NODE, os.X_OK) or not os.access(PROGRAM, os.R_OK):
            raise Failed("azurite is missing: run scripts/engine.sh and scripts/test-tools.sh")
        self.key = os.urandom(64)
        self.tls = tls
        more = ["--oauth", "basic", "--cert", tls[0], "--key", tls[1]] if tls else []
        self.log = tempfile.TemporaryFile()
        # A port that was free may be another's by the time it is bound.
        for _ in range(5):
            if self.start([*more, *flags]):
                return
        self.log.seek(0)
        raise Failed(f"azurite does not start: {self.log.read()[-2000:]!r}")

    def start(self, flags):
        """False if it has ended."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [NODE, PROGRAM, "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--inMemoryPersistence",
             "--disableTelemetry", "--silent", *flags],
            env={"PATH": os.environ["PATH"], "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key_base64()}"},
            stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 100
        while self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return True
            except OSError:
                if time.monotonic() > deadline:
                    self.close()
                    raise
                time.sleep(0.05)
        return False

    def key_base64(self):
        return base64.b64encode(self.key).decode()

    def endpoint(self):
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/{{account}}"

    def connection_string(self):
        scheme = "https" if self.tls else "http"
        return f"DefaultEndpointsProtocol={scheme};AccountName={ACCOUNT};AccountKey={self.key_base64()};BlobEndpoint={self.endpoint().format(account=ACCOUNT)}"

    def sas(self, container, permissions="rcw", seconds=3600):
        """Of a whole container."""
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        to_sign = "\n".join([permissions, "", end, f"/blob/{ACCOUNT}/{container}", "", "", "https,http", VERSION, "c", "", "",
                             "", "", "", "", ""])
        signature = base64.b64encode(hmac.new(self.key, to_sign.encode(), hashlib.sha256).digest()).decode()
        return urllib.parse.urlencode({"sv": VERSION, "spr": "https,http", "se": end, "sr": "c", "sp": permissions, "sig": signature})

    def ask(self, method, path, query="", body=b"", **fields):
        """With the account's key; (status, headers, body)."""
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        fields |= {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": VERSION}
        named = "".join(f"{name}:{value}\n" for name, value in sorted(fields.items()))
        pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
        resource = f"/{ACCOUNT}/{ACCOUNT}{path}" + "".join(f"\n{name}:{value}" for name, value in pairs)
        length = str(len(body)) if body else ""
        to_sign = f"{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{named}{resource}"
        signature = base64.b64encode(hmac.new(self.key, to_sign.encode(), hashlib.sha256).digest()).decode()
        if self.tls:
            context = ssl.create_default_context(cafile=self.tls[0])
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=100, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=100)
        connection.request(method, f"/{ACCOUNT}{path}" + ("?" + query if query else ""), body or None,
                           fields | {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": str(len(body))})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, answer.headers, text

    def get(self, path):
        status, headers, body = self.ask("GET", path)
        return body if status == 200 else None

    def put(self, path, body):
        status, _, text = self.ask("PUT", path, body=body, x_ms_blob_type="BlockBlob")
        assert status == 201, text

    def uncommitted(self, path):
        """Names of blocks that wait there."""
        status, _, text = self.ask("GET", path, "comp=blocklist&blocklisttype=uncommitted")
        return re.findall(r"<Name>([^<]*)</Name>", text.decode()) if status == 200 else []

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.log.close()
