"""Everything at once against the real sentinel: clients of every bad habit, a runtime that breaks and restarts, a contract that
is suspended and resumed, certificates and keys that change. Afterwards: alive and Ready, no descriptor and no memory more
than before, a log that verifies, and a record for each answer that a client got.

20 s times TB_TEST_SCALE, or TB_CHAOS_SECONDS; five minutes at most.
"""
import collections
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "tests" / "integration" / "sentinel"), str(REPO / "tests" / "e2e")]
import clients  # noqa: E402
import peers  # noqa: E402
from tls_files import TlsFiles  # noqa: E402
from user_tokens import Issuer  # noqa: E402

SECONDS = min(300, int(os.environ.get("TB_CHAOS_SECONDS", 20 * int(os.environ.get("TB_TEST_SCALE", "1")))))
THREADS_OF_A_KIND = 2
MAX_GROWTH_KIB = 48 << 10


class Runtime(peers.Runtime):
    """Also one that goes away and comes back at the same port."""

    def __init__(self):
        self.open = set()
        super().__init__()

    def serve(self, connection):
        self.open.add(connection)
        try:
            super().serve(connection)
        except (ValueError, KeyError, IndexError):
            connection.close()  # the proxy cut a request off
        finally:
            self.open.discard(connection)

    def restart(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        time.sleep(0.3)
        for _ in range(100):
            try:
                self.socket = socket.create_server(("127.0.0.1", self.port))
                break
            except OSError:
                time.sleep(0.1)
        threading.Thread(target=self.accept, daemon=True).start()

    def do_endless(self, connection, fields, buffer):
        """Five seconds, as what nobody hears any more is read on for its numbers."""
        self.body(connection, fields, buffer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(250):
            connection.sendall(b"9\r\ndata: x\n\n\r\n")
            time.sleep(0.02)

    def do_ticks(self, connection, fields, buffer):
        _, buffer = self.body(connection, fields, buffer)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in [*range(20), None]:
            event = b"data: [DONE]\n\n" if number is None else b'data: {"choices":[{"delta":{"content":"%d"}}]}\n\n' % number
            connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
            time.sleep(0.01)
        connection.sendall(b"0\r\n\r\n")
        return buffer


class Chaos(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.runtime = Runtime()
        cls.addClassCleanup(cls.runtime.close)
        cls.tls = TlsFiles()
        cls.addClassCleanup(cls.tls.close)
        cls.issuer = Issuer(cls.tls.work)
        cls.certificate = [cls.tls.path("in-force.pem"), cls.tls.path("in-force.key")]
        cls.use_certificate(cls.tls.server)
        cls.sentinel = cls.start(f"http://127.0.0.1:{cls.runtime.port}", TB_TLS_CERT_PATH=cls.certificate[0],
                                 TB_TLS_KEY_PATH=cls.certificate[1], TB_DELIVERY="tmpfs", **cls.issuer.settings())
        cls.addClassCleanup(cls.sentinel.close)
        cls.sentinel.wait_state("Ready")

        cls.book, cls.over = clients.Book(), threading.Event()
        host, port = cls.sentinel.addresses()["public"].rsplit(":", 1)
        cls.address = (host, int(port))
        cls.tls_context = ssl.create_default_context(cafile=cls.tls.ca)
        cls.key = cls.sentinel.api_key()
        cls.limited_key = cls.keys("add", "limited", "--requests-per-minute", "600", "--concurrent", "1").strip()
        cls.sentinel.wait_for("the limited key", lambda: cls.closed_path_status(cls.limited_key) == 403)

    @classmethod
    def start(cls, runtime_url, **settings):
        """A control plane, and the sentinel that asks it."""
        cls.control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000), lease_seconds=120)
        cls.addClassCleanup(cls.control_plane.close)
        return peers.Sentinel(cls.control_plane, runtime_url, **settings)

    @classmethod
    def closed_path_status(cls, key):
        """403 to those who may, 401 to others."""
        with socket.create_connection(cls.address, timeout=20) as raw, cls.tls_context.wrap_socket(raw, server_hostname="model.example") as connection:
            connection.sendall(f"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Api-Key: {key}\r\n\r\n".encode())
            return peers.answer_on(connection)[0]

    @classmethod
    def use_certificate(cls, pair):
        """Both files replaced as an operator's tool does it: written aside, then renamed."""
        for path, source in zip(reversed(cls.certificate), reversed(pair)):
            data = pathlib.Path(source).read_bytes()
            with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(data)
            os.rename(path + ".new", path)

    @classmethod
    def keys(cls, *arguments):
        environment = {"PATH": os.environ["PATH"], "TB_API_KEYS_FILE": cls.sentinel.work + "/state/api-keys"}
        return subprocess.run([peers.BINARY, "keys", *arguments], env=environment, capture_output=True, text=True, check=True).stdout

    # What the world does to the sentinel, one after the other.

    def suspend(self):
        self.control_plane.mode = "denied"
        self.sentinel.wait_for("Suspended", lambda: self.sentinel.status()["state"] != "Ready", seconds=60)
        time.sleep(0.5)
        self.control_plane.mode = "ok"
        self.sentinel.wait_state("Ready", seconds=120)

    def restart_the_runtime(self):
        self.runtime.restart()

    def change_the_certificate(self):
        self.use_certificate(self.tls.issue("server", "subjectAltName=DNS:model.example", "serverAuth", name=f"server-{time.monotonic_ns()}"))

    def break_the_certificate(self):
        """A pair that does not fit: what is in force stays."""
        self.use_certificate((self.tls.server[0], self.tls.other[1]))
        time.sleep(1)
        self.use_certificate(self.tls.server)

    def change_the_keys(self):
        made = json.loads(self.keys("add", "short-lived", "--json"))
        self.keys("limits", made["id"], "--concurrent", "3")
        self.keys("revoke", made["id"])

    def change_the_issuers_keys(self):
        text = pathlib.Path(self.issuer.path).read_text(encoding="ascii")
        pathlib.Path(self.issuer.path + ".new").write_text(text + " ", encoding="ascii")
        os.rename(self.issuer.path + ".new", self.issuer.path)

    def scrape(self):
        for path in ("/metrics", "/status", "/health", "/readyz"):
            self.sentinel.health(path)

    def doings(self):
        return [self.restart_the_runtime, self.change_the_keys, self.suspend, self.change_the_certificate, self.scrape,
                self.break_the_certificate, self.change_the_issuers_keys]

    # What is measured.

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.sentinel.process.pid}/fd"))

    def status_value(self, name, process=None):
        with open(f"/proc/{(process or self.sentinel.process).pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))

    def metric(self, name):
        """The sum over its series."""
        text = self.sentinel.health("/metrics")[1]
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M))

    def settle(self):
        """Until nothing is under way and idle connections to the runtime are closed."""
        self.sentinel.wait_for("quiet", lambda: self.metric("trustbridge_sentinel_requests_in_flight") == 0, seconds=90)
        low, since = self.descriptors(), time.monotonic()
        while time.monotonic() - since < 6:
            time.sleep(0.2)
            if (now := self.descriptors()) != low:
                low, since = min(low, now), time.monotonic() if now < low else since
        return low

    def round(self, seconds):
        """All kinds of clients for so long, and the world's doings beside them."""
        self.over.clear()
        crowd = [clients.Client(self, kind, seed) for seed, kind in enumerate(clients.KINDS * THREADS_OF_A_KIND)]
        for client in crowd:
            client.thread.start()
        doings = self.doings()
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            doings[number % len(doings)]()
            number += 1
            time.sleep(min(1, max(0, end - time.monotonic())))
        self.over.set()
        for client in crowd:
            client.thread.join(timeout=120)
            self.assertFalse(client.thread.is_alive(), f"{client.kind} hangs")
        return number

    def before(self):
        """Between the first round and the one that counts."""

    def verified(self):
        log = self.sentinel.work + "/state/audit/audit.jsonl"
        done = subprocess.run([os.environ["TB_CLI"], "audit", "verify", log], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)

    def after(self):
        """Once nothing is under way, and all is recorded."""

    def records(self):
        lines = [line for path in sorted(pathlib.Path(self.sentinel.work + "/state/audit").glob("*.jsonl")) for line in path.read_bytes().splitlines()]
        return [record for record in map(json.loads, lines) if "request_id" in record]

    def test_nothing_is_lost_and_nothing_is_left(self):
        # What is made once (threads, pools, buffers, certificates of each kind) is made in a first short round.
        self.round(4)
        descriptors, memory, threads = self.settle(), self.status_value("VmRSS"), self.status_value("Threads")
        self.before()
        doings = self.round(SECONDS)
        self.sentinel.wait_state("Ready", seconds=120)
        after = self.settle()

        self.assertIsNone(self.sentinel.process.poll())
        self.assertEqual(self.book.wrong[:5], [])
        # Its own client may have a connection to the control plane more; requests that left one would leave hundreds.
        self.assertLessEqual(after, descriptors + 8, "descriptors")
        grown = self.status_value("VmRSS") - memory
        self.assertLess(grown, MAX_GROWTH_KIB, "KiB of memory")
        self.assertLessEqual(self.status_value("Threads"), threads + 2)
        self.assertEqual(self.sentinel.health("/readyz")[0], 200)

        # Each answer that a client got has one record that says the same; and what is counted is what is recorded.
        self.sentinel.wait_for("all records", lambda: len(self.records()) >= self.metric("trustbridge_sentinel_requests_total"), seconds=60)
        records = self.records()
        ids = collections.Counter(record["request_id"] for record in records)
        self.assertEqual([request_id for request_id, count in ids.items() if count > 1], [])
        by_id = {record["request_id"]: record for record in records}
        for request_id, (status, whole) in self.book.answers.items():
            self.assertIn(request_id, by_id)
            self.assertEqual(by_id[request_id]["status"], status)
            if whole and by_id[request_id]["outcome"] != "refused":
                self.assertIn(by_id[request_id]["outcome"], ("complete", "upstream_error", "aborted"))
        self.assertEqual(len(records), self.metric("trustbridge_sentinel_requests_total"))

        # Every kind of client got what it was there for.
        kinds = {kind for kind, status in self.book.done if status in (200, 400, 401, 403)}
        self.assertLessEqual(set(clients.KINDS) - {"half_open"}, kinds)
        self.assertTrue(any(status == 429 for _, status in self.book.done))

        self.after()
        self.assertEqual(self.sentinel.stop(), 0)
        self.verified()
        print(f"{len(records)} requests, {len(self.book.answers)} answers seen by clients, {doings} disturbances in {SECONDS} s; "
              f"descriptors {descriptors} -> {after}, memory +{grown} KiB", file=sys.stderr)


if __name__ == "__main__":
    peers.BINARY = os.environ["TB_SENTINEL"]
    unittest.main(verbosity=2)
