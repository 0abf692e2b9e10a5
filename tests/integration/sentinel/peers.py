"""The sentinel's peers, in plain Python: a control plane with a blob store, a runtime that can fail in every way, and the
sentinel itself as a child process. All on free loopback ports, all ended by the test that started them.

The control plane answers the kept fields of wire 1.1 only (an old peer), or the new lease fields too.
"""
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "vectors"))
import sealing  # noqa: E402

BINARY = os.environ.get("TB_SENTINEL", "build/release/bin/trustbridge-sentinel")
KEY = bytes(range(32))
CHUNK = 65536


def rfc3339(when):
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Asset:
    """A sealed model and its manifest; `old` is what the first implementation wrote: no mac, no content."""

    def __init__(self, plain, old=False):
        self.plain = plain
        prefix = b"\x01\x02\x03\x04"
        self.cipher = sealing.seal(KEY, CHUNK, prefix, plain)
        manifest = {"format": "tbenc/v1", "algo": "aes-256-gcm-chunked", "chunk_bytes": CHUNK, "plaintext_bytes": len(plain),
                    "sha256_ciphertext": hashlib.sha256(self.cipher).hexdigest(), "asset_id": "asset-1",
                    "weights_filename": "model.gguf.tbenc"}
        if not old:
            manifest |= {"nonce_prefix": prefix.hex(), "content": {"kind": "file", "name": "model.gguf"}}
            manifest = sealing.with_mac(manifest, KEY)
        self.manifest = json.dumps(manifest).encode()


class ControlPlane:
    def __init__(self, asset, lease_seconds=None):
        self.asset, self.lease_seconds = asset, lease_seconds
        self.mode = "ok"          # ok, denied, html403, 503, garbage, both_keys
        self.requests, self.released, self.blob_gets, self.headers = [], [], 0, []
        self.usage_reports, self.usage_status = [], 200
        self.ahead_s = 0          # of the clock that its answers carry
        self.good_signature = "s3cret"  # the store refuses URLs with another one
        self.stalled, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()          # cleared: the store holds its answers back
        self.piece_pause_s = 0    # between pieces of 64 KiB of ciphertext
        self.sent_bytes = 0       # of ciphertext
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def date_time_string(self, timestamp=None):
                return super().date_time_string((timestamp or time.time()) + outer.ahead_s)

            def reply(self, status, body, kind="application/json", extra=()):
                self.send_response(status)
                for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *extra):
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.send(body)

            def send(self, body):
                if not self.path.startswith("/cipher"):
                    return self.wfile.write(body)
                for at in range(0, len(body), 65536):
                    self.wfile.write(body[at:at + 65536])
                    outer.sent_bytes += len(body[at:at + 65536])
                    if outer.piece_pause_s:
                        time.sleep(outer.piece_pause_s)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path.startswith("/api/v1/audit/checkpoints"):  # an old control plane has none
                    return self.reply(404, b"{}")
                body = json.loads(body)
                if self.path == "/api/v1/license/release":
                    outer.released.append(body)
                    return self.reply(200, b"{}")
                if self.path == "/api/v1/usage":
                    outer.usage_reports.append(body)
                    return self.reply(outer.usage_status, b'{"counted":1}')
                outer.requests.append(body)
                outer.headers.append(dict(self.headers))
                return self.reply(*outer.authorize(body))

            def do_GET(self):
                data = outer.asset.manifest if self.path.startswith("/manifest") else outer.asset.cipher
                extra = [("ETag", '"one"'), ("Accept-Ranges", "bytes")]
                if self.path.startswith("/cipher"):
                    if not self.path.endswith("=" + outer.good_signature):
                        return self.reply(403, b"expired")
                    outer.blob_gets += 1
                    if not outer.go_on.is_set():
                        outer.stalled.set()
                        outer.go_on.wait(30)
                span = self.headers.get("Range")
                if span is None:
                    return self.reply(200, data, "application/octet-stream", extra)
                first, last = span.removeprefix("bytes=").split("-")
                first, last = int(first), min(int(last or len(data) - 1), len(data) - 1)
                extra.append(("Content-Range", f"bytes {first}-{last}/{len(data)}"))
                return self.reply(206, data[first:last + 1], "application/octet-stream", extra)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A client that went away is what many tests are about."""
                if not isinstance(sys.exc_info()[1], OSError):
                    super().handle_error(request, client_address)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def authorize(self, body):
        now = datetime.now(timezone.utc).replace(microsecond=0)
        if self.mode == "denied":
            return 403, json.dumps({"status": "denied", "reason": "contract_suspended", "detail": "as the test wants"}).encode()
        if self.mode == "denied200":
            return 200, json.dumps({"status": "denied", "reason": "contract_expired"}).encode()
        if self.mode == "html403":
            return 403, b"<html>blocked by a proxy</html>", "text/html"
        if self.mode == "503":
            return 503, b"{}"
        if self.mode == "garbage":
            return 200, b'{"status":"authorized"}'
        answer = {"status": "authorized", "sas_url": self.url + f"/cipher?sig={'s3cret' if len(self.requests) == 1 else self.good_signature}", "manifest_url": self.url + "/manifest?sig=s3cret",
                  "expires_at": rfc3339(now + timedelta(hours=1)), "decryption_key_hex": KEY.hex()}
        if self.mode == "both_keys":
            answer["wrapped_key"] = "a.b.c.d.e"
        if self.lease_seconds:
            answer |= {"lease_id": "lease-1", "issued_at": rfc3339(now), "lease_expires_at": rfc3339(now + timedelta(seconds=self.lease_seconds)),
                       "renew_after_seconds": 1, "offline_grace_seconds": 0}
            if body.get("lease_id"):
                del answer["decryption_key_hex"]
        return 200, json.dumps(answer).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def read_request(connection, buffer=b""):
    """Head and body of one request as bytes; None at the end of the connection."""
    while b"\r\n\r\n" not in buffer:
        got = connection.recv(65536)
        if not got:
            return None
        buffer += got
    head, _, rest = buffer.partition(b"\r\n\r\n")
    fields = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower().decode()] = value.strip().decode()
    return head, fields, rest


class Runtime:
    """A runtime whose behaviour a request chooses by its `X-Test` header."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.healthy = True
        self.heads, self.connections, self.aborted = [], 0, threading.Event()
        self.go_on = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        buffer = b""
        try:
            while True:
                request = read_request(connection, buffer)
                if request is None:
                    return
                head, fields, buffer = request
                path = head.split(b" ")[1]
                if path == b"/health":
                    connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (200 if self.healthy else 503))
                    continue
                self.heads.append(head)
                buffer = getattr(self, "do_" + fields.get("x-test", "echo"))(connection, fields, buffer)
                if buffer is None:
                    return
        except OSError:
            self.aborted.set()
        finally:
            connection.close()

    @staticmethod
    def body(connection, fields, buffer):
        if fields.get("transfer-encoding") == "chunked":
            out = b""
            while True:
                while b"\r\n" not in buffer:
                    buffer += connection.recv(65536)
                size, _, buffer = buffer.partition(b"\r\n")
                need = int(size, 16) + 2
                while len(buffer) < need:
                    buffer += connection.recv(65536)
                out, buffer = out + buffer[:need - 2], buffer[need:]
                if need == 2:
                    return out, buffer
        length = int(fields.get("content-length", 0))
        while len(buffer) < length:
            got = connection.recv(65536)
            if not got:
                raise OSError("cut")
            buffer += got
        return buffer[:length], buffer[length:]

    def do_echo(self, connection, fields, buffer):
        body, buffer = self.body(connection, fields, buffer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nServer: engine\r\n\r\n" % len(body) + body)
        return buffer

    def do_digest(self, connection, fields, buffer):
        """Takes a body of any size in bounded memory and answers as many bytes."""
        digest, left = hashlib.sha256(buffer), int(fields["content-length"]) - len(buffer)
        while left:
            got = connection.recv(min(left, 1 << 20))
            digest.update(got)
            left -= len(got)
        total = int(fields["content-length"])
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Digest: %s\r\nContent-Length: %d\r\n\r\n" % (digest.hexdigest().encode(), total))
        for _ in range(total >> 20):
            connection.sendall(b"x" * (1 << 20))
        return b""

    def do_sse(self, connection, fields, buffer):
        _, buffer = self.body(connection, fields, buffer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(3):
            event = b"data: %d\n\n" % number
            connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            if not self.go_on.wait(20):
                raise OSError("nobody went on")
            self.go_on.clear()
        connection.sendall(b"0\r\n\r\n")
        return buffer

    def do_endless(self, connection, fields, buffer):
        self.body(connection, fields, buffer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"8\r\ndata: x\n\r\n")
            time.sleep(0.02)

    def do_silent(self, connection, fields, buffer):
        self.body(connection, fields, buffer)
        if connection.recv(1) == b"":
            self.aborted.set()

    def do_close(self, connection, fields, buffer):
        self.body(connection, fields, buffer)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    def do_reset_in_head(self, connection, fields, buffer):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-")

    def do_reset_in_body(self, connection, fields, buffer):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

    def do_reset_in_chunk(self, connection, fields, buffer):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe")

    def do_both_lengths(self, connection, fields, buffer):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")

    def do_interim(self, connection, fields, buffer):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return self.body(connection, fields, buffer)[1]

    def do_switch(self, connection, fields, buffer):
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")

    def do_early(self, connection, fields, buffer):
        connection.sendall(b"HTTP/1.1 422 No\r\nContent-Length: 5\r\n\r\nearly")
        time.sleep(0.3)

    def do_beyond(self, connection, fields, buffer):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        time.sleep(0.5)

    def close(self):
        self.socket.close()


class Sentinel:
    def __init__(self, control_plane, runtime_url=None, **settings):
        self.work = tempfile.mkdtemp(prefix="tb-sentinel-test-")
        self.shm = tempfile.mkdtemp(prefix="tb-sentinel-test-", dir="/dev/shm")
        self.model = self.shm + "/model/model.gguf"
        self.signal_file = self.shm + "/ready.signal"
        self.environment = {
            "PATH": os.environ["PATH"], "TB_CONTRACT_ID": "contract-1", "TB_ASSET_ID": "asset-1", "TB_EDC_ENDPOINT": control_plane.url,
            "TB_KEY_RELEASE": "plain", "TB_MODEL_DIR": self.shm + "/model", "TB_PIPE_PATH": self.shm + "/pipe",
            "TB_READY_SIGNAL": self.signal_file, "SECRET_TOKEN": "must-not-leak"}
        if runtime_url:
            self.environment["TB_RUNTIME_URL"] = runtime_url
        self.environment |= {name: str(value) for name, value in settings.items() if value is not None}
        # A container or a bare chroot has no identity of its own.
        with open(self.work + "/hw-id", "w", encoding="utf-8") as file:
            file.write("a machine of the tests\n")
        self.environment.setdefault("TB_HW_ID_FILE", self.work + "/hw-id")
        self.log_path = self.work + "/log"
        self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BINARY, "--dev", self.work], env=self.environment, stderr=log, stdout=log)

    def addresses(self):
        with open(self.work + "/state/addresses.json", encoding="utf-8") as file:
            return json.load(file)

    def health(self, path):
        try:
            with urllib.request.urlopen(f"http://{self.addresses()['health']}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self):
        return json.loads(self.health("/status")[1])

    def wait_for(self, what, check, seconds=30):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if check():
                    return
            except (OSError, ValueError, KeyError):
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"waited in vain: {what}\n{self.log()}")

    def wait_state(self, state, seconds=30):
        self.wait_for(state, lambda: self.status()["state"] == state, seconds)

    def log(self):
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def runtime_pid(self):
        """Of the runtime that the sentinel started last, as this machine counts: the log names the first process of its namespace."""
        pid = re.findall(r'"runtime started[^"]*".*?"pid":(\d+)', self.log())[-1]
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"runtime-init" not in file.read():
                return int(pid)
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return int(file.read().split()[0])

    def api_key(self):
        with open(self.work + "/state/first-api-key", encoding="utf-8") as file:
            return file.read().strip()

    def connect(self):
        host, port = self.addresses()["public"].rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=20)

    def audit(self):
        """The records, once those of the requests before are written; the whole log is in one part here."""
        if self.process.poll() is None:
            self.wait_for("records", lambda: self.status()["audit"]["pending_records"] == 0)
        with open(self.work + "/state/audit/audit.jsonl", "rb") as file:
            return file.read().splitlines()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        # What a killed sentinel had mounted is the next one's to take away; here none comes.
        unmount = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uzq"]
        if shutil.which(unmount[0]):
            subprocess.run([*unmount, self.shm + "/model"], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.shm, ignore_errors=True)


def answer_on(connection):
    """Status, headers and body of one answer; a body without length or chunks is read to the end."""
    buffer = b""
    while b"\r\n\r\n" not in buffer:
        got = connection.recv(65536)
        if not got:
            return (0, {}, buffer)
        buffer += got
    head, _, rest = buffer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return (100, {}, rest)
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.decode().split("\r\n")[1:])}
    status = int(head.split(b" ")[1])
    if "content-length" in fields:
        rest = bytearray(rest)
        while len(rest) < int(fields["content-length"]):
            got = connection.recv(65536)
            if not got:
                break
            rest += got
        rest = bytes(rest)
    elif fields.get("transfer-encoding") == "chunked":
        while not rest.endswith(b"0\r\n\r\n"):
            got = connection.recv(65536)
            if not got:
                break
            rest += got
    return status, fields, rest
