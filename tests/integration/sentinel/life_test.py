"""The sentinel's life with an old control plane, under suspension, and at its end: the real binary."""
import errno
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest

import peers

PLAIN = b"".join(number.to_bytes(4, "big") for number in range(100_000))

ENGINE = textwrap.dedent("""
    import http.server, os, sys
    model = open(sys.argv[1], "rb").read()
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_): pass
        def do_GET(self):
            if self.path == "/v1/models":
                body = ("%d %d %s" % (os.getpid(), len(model), os.environ.get("SECRET_TOKEN", "clean"))).encode()
            else:
                body = b""
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            import time
            while True:
                self.wfile.write(b"data: x\\n\\n")
                time.sleep(0.05)
    print("engine loaded", len(model), "bytes", flush=True)
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
    """)


class LifeTest(unittest.TestCase):
    def setUp(self):
        self.asset = peers.Asset(PLAIN)

    def begin(self, asset=None, lease_seconds=None, mode="ok", supervised=False, **settings):
        control_plane = peers.ControlPlane(asset or self.asset, lease_seconds)
        control_plane.mode = mode
        self.addCleanup(control_plane.close)
        runtime = peers.Runtime()
        self.addCleanup(runtime.close)
        if supervised:
            settings["TB_RUNTIME_COMMAND"] = json.dumps(["/usr/bin/python3", "-c", ENGINE, "{model_path}", "{runtime_port}", "{served_model_name}"])
        sentinel = peers.Sentinel(control_plane, None if supervised else f"http://127.0.0.1:{runtime.port}", **settings)
        self.addCleanup(sentinel.close)
        return control_plane, runtime, sentinel

    def get(self, sentinel, path="/v1/models"):
        with sentinel.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {sentinel.api_key()}\r\nConnection: close\r\n\r\n".encode())
            return peers.answer_on(connection)

    def test_old_control_plane(self):
        control_plane, _, sentinel = self.begin()
        sentinel.wait_state("Ready")
        asked = control_plane.requests[0]
        self.assertEqual({"contract_id", "asset_id", "hw_id", "client_version"}, set(asked))
        self.assertRegex(asked["hw_id"], "^[0-9a-f]{64}$")
        with open(sentinel.model, "rb") as file:
            self.assertEqual(file.read(), PLAIN)
        with open(sentinel.signal_file, encoding="utf-8") as file:
            ready = json.load(file)
        self.assertEqual((ready["ready"], ready["delivery"], ready["path"], ready["plaintext_bytes"]), (True, "tmpfs", sentinel.model, len(PLAIN)))
        self.assertEqual(sentinel.health("/health"), (200, "OK"))
        self.assertEqual(sentinel.health("/readiness"), (200, "Ready"))
        for path in ("/livez", "/healthz", "/startupz", "/readyz"):
            self.assertEqual(sentinel.health(path)[0], 200, path)
        status = sentinel.status()
        self.assertEqual((status["ready"], status["suspended"], status["delivery"]["manifest_proof"]), (True, False, "mac"))
        self.assertNotIn("s3cret", json.dumps(status))
        self.assertIn('trustbridge_sentinel_state{state="Ready"} 1', sentinel.health("/metrics")[1])
        self.assertEqual(self.get(sentinel)[0], 200)

    def test_a_plain_key_is_refused_by_default(self):
        control_plane, _, sentinel = self.begin(TB_KEY_RELEASE="wrapped")
        sentinel.wait_state("Suspended")
        self.assertIn("key_release_jwk", control_plane.requests[0])
        self.assertNotIn("d", control_plane.requests[0]["key_release_jwk"])
        self.assertEqual(control_plane.blob_gets, 0)
        self.assertEqual(sentinel.status()["last_error"]["code"], "authorize_answer_malformed")

    def test_both_key_forms_are_refused_always(self):
        _, _, sentinel = self.begin(mode="both_keys")
        sentinel.wait_state("Suspended")
        self.assertFalse(os.path.exists(sentinel.model))

    def test_denied_at_the_start(self):
        for mode, code in (("denied", "contract_suspended"), ("denied200", "contract_expired"), ("html403", "licence_denied"),
                           ("garbage", "authorize_answer_malformed")):
            control_plane, _, sentinel = self.begin(mode=mode)
            sentinel.wait_state("Suspended")
            status = sentinel.status()
            self.assertEqual((status["last_error"]["code"], status["suspended"]), (code, True))
            self.assertEqual(control_plane.blob_gets, 0)
            self.assertNotIn("public", sentinel.addresses(), "the public port must stay closed")
            self.assertEqual(sentinel.health("/health"), (503, "Not ready: Suspended"))
            self.assertEqual(len(control_plane.requests), 1, "a denial is final")

    def test_exit_on_denial(self):
        _, _, sentinel = self.begin(mode="denied", TB_EXIT_ON_DENIAL="true")
        self.assertEqual(sentinel.process.wait(timeout=20), 3)

    def test_unavailable_is_asked_again(self):
        control_plane, _, sentinel = self.begin(mode="503")
        sentinel.wait_for("a second question", lambda: len(control_plane.requests) >= 2)
        self.assertEqual(sentinel.status()["state"], "Authorize")
        control_plane.mode = "ok"
        sentinel.wait_state("Ready")

    def test_tampered(self):
        cipher = bytearray(self.asset.cipher)
        cipher[len(cipher) // 2] ^= 1
        self.asset.cipher = bytes(cipher)
        _, _, sentinel = self.begin()
        sentinel.wait_for("the release", lambda: sentinel.status()["state"] == "Suspended" and not sentinel.status()["delivery"]["kind"])
        self.assertEqual(sentinel.status()["last_error"]["code"], "tag_mismatch")
        self.assertEqual([], [name for _, _, names in os.walk(sentinel.shm) for name in names])

    def test_fifo_for_the_first_implementations_assets(self):
        _, _, sentinel = self.begin(peers.Asset(PLAIN, old=True), TB_ALLOW_UNAUTHENTICATED_MANIFEST="true")
        sentinel.wait_state("Ready")
        for _ in range(2):
            with open(sentinel.shm + "/pipe", "rb") as pipe:
                self.assertEqual(pipe.read(), PLAIN)
        self.assertEqual(sentinel.status()["delivery"]["manifest_proof"], "none")
        self.assertEqual(sentinel.stop(), 0)
        self.assertFalse(os.path.exists(sentinel.shm + "/pipe"))

    def test_an_unproven_manifest_is_refused_by_default(self):
        _, _, sentinel = self.begin(peers.Asset(PLAIN, old=True))
        sentinel.wait_state("Suspended")
        self.assertEqual(sentinel.status()["last_error"]["code"], "manifest_unauthenticated")

    def test_suspension_closes_ends_wipes_and_comes_back(self):
        for delivery in ("mount", "tmpfs"):
            with self.subTest(delivery):
                self.suspend_and_resume(delivery)

    def suspend_and_resume(self, delivery):
        control_plane, _, sentinel = self.begin(lease_seconds=20, supervised=True, TB_DELIVERY=delivery)
        sentinel.wait_state("Ready")
        _, size, secret = self.get(sentinel)[2].decode().split()
        pid = sentinel.runtime_pid()
        self.assertEqual((int(size), secret), (len(PLAIN), "clean"), "the runtime must not see our secrets")
        self.assertIn("engine loaded", sentinel.log())
        stream = sentinel.connect()
        self.addCleanup(stream.close)
        stream.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {sentinel.api_key()}\r\nContent-Length: 0\r\n\r\n".encode())
        self.assertIn(b"200", stream.recv(65536))
        held = open(sentinel.model, "rb")
        self.addCleanup(held.close)

        control_plane.mode = "denied"
        sentinel.wait_state("Suspended")
        try:
            while stream.recv(65536):
                pass
        except ConnectionResetError:
            pass
        self.assertEqual(self.get(sentinel)[0], 403)
        sentinel.wait_for("the end of the runtime", lambda: not os.path.exists(f"/proc/{pid}"))
        sentinel.wait_for("the release", lambda: control_plane.released)
        self.assertFalse(os.path.exists(sentinel.model))
        self.assertFalse(os.path.exists(sentinel.signal_file))
        try:
            self.assertEqual(held.read().strip(b"\0"), b"", "an open descriptor still shows plaintext")
            self.assertEqual(delivery, "tmpfs")
        except OSError as error:
            self.assertIn(error.errno, (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED))
            self.assertEqual(delivery, "mount")
        self.assertEqual(sentinel.status()["last_error"]["code"], "contract_suspended")
        self.assertIn({"contract_id": "contract-1", "lease_id": "lease-1"}, control_plane.released)

        downloaded = control_plane.blob_gets
        control_plane.mode = "ok"
        sentinel.wait_state("Ready")
        self.assertEqual(control_plane.blob_gets, downloaded, "it came back with a new download")
        self.assertNotEqual(pid, sentinel.runtime_pid())
        self.assertIsNone(sentinel.status()["last_error"])
        self.assertIn(b"aborted", b"".join(sentinel.audit()))

    def test_a_proxys_answer_at_renewal_is_no_denial_but_the_lease_ends(self):
        control_plane, _, sentinel = self.begin(lease_seconds=8)
        sentinel.wait_state("Ready")
        control_plane.mode = "html403"
        asked = len(control_plane.requests)
        sentinel.wait_for("a failing renewal", lambda: sentinel.status()["lease"]["renewal_failing"])
        self.assertGreater(len(control_plane.requests), asked)
        self.assertEqual(sentinel.status()["state"], "Ready")
        sentinel.wait_state("Suspended")
        self.assertEqual(sentinel.status()["last_error"]["code"], "lease_expired")

    def test_an_url_that_expired_is_renewed(self):
        for lease_seconds in (None, 60):
            control_plane = peers.ControlPlane(self.asset, lease_seconds)
            self.addCleanup(control_plane.close)
            control_plane.good_signature = "second-s3cret"
            runtime = peers.Runtime()
            self.addCleanup(runtime.close)
            sentinel = peers.Sentinel(control_plane, f"http://127.0.0.1:{runtime.port}")
            self.addCleanup(sentinel.close)
            sentinel.wait_state("Ready")
            self.assertGreaterEqual(len(control_plane.requests), 2)
            self.assertNotIn("s3cret", sentinel.log())

    def test_a_denial_ends_a_download(self):
        control_plane, _, sentinel = self.begin(lease_seconds=60, TB_DOWNLOAD_CONCURRENCY=1)
        sentinel.wait_state("Ready")
        sentinel.close()
        control_plane.go_on.clear()
        control_plane.stalled.clear()
        sentinel = peers.Sentinel(control_plane, sentinel.environment["TB_RUNTIME_URL"])
        self.addCleanup(sentinel.close)
        self.addCleanup(control_plane.go_on.set)
        self.assertTrue(control_plane.stalled.wait(20))
        self.assertEqual(sentinel.status()["state"], "Hydrate")
        control_plane.mode = "denied"
        sentinel.wait_state("Suspended")
        self.assertFalse(os.path.exists(sentinel.model))
        self.assertEqual(sentinel.stop(), 0, "SIGTERM while Suspended")

    def test_renewals_keep_it_ready(self):
        control_plane, _, sentinel = self.begin(lease_seconds=20)
        sentinel.wait_state("Ready")
        sentinel.wait_for("renewals", lambda: sentinel.status()["lease"]["renewals"] >= 4)
        self.assertEqual(sentinel.status()["state"], "Ready")
        self.assertEqual(control_plane.requests[-1]["lease_id"], "lease-1")
        self.assertEqual(sentinel.log().count('"to":"Suspended"'), 0)

    def test_a_runtime_that_ends_is_started_again(self):
        _, _, sentinel = self.begin(supervised=True)
        sentinel.wait_state("Ready")
        pid = sentinel.runtime_pid()
        with open(f"/proc/{pid}/cmdline", encoding="ascii") as file:
            self.assertTrue(file.read().endswith("\0asset-1\0"), "the runtime is told what the model is called here")
        os.kill(pid, 9)
        sentinel.wait_for("a restart", lambda: sentinel.status()["runtime"]["restarts"] >= 1)
        sentinel.wait_for("answers", lambda: self.get(sentinel)[0] == 200)

    def test_a_runtime_that_is_lost_and_found(self):
        _, runtime, sentinel = self.begin()
        sentinel.wait_state("Ready")
        runtime.healthy = False
        sentinel.wait_state("Decrypt")
        self.assertEqual(self.get(sentinel)[0], 503)
        self.assertEqual(sentinel.health("/readiness")[0], 200)
        self.assertEqual(sentinel.health("/health"), (503, "Not ready: Decrypt"))
        runtime.healthy = True
        sentinel.wait_state("Ready")

    def test_sigterm_drains_releases_and_wipes(self):
        control_plane, runtime, sentinel = self.begin(lease_seconds=30)
        sentinel.wait_state("Ready")
        runtime.go_on.clear()
        stream = sentinel.connect()
        self.addCleanup(stream.close)
        stream.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Test: sse\r\nX-Api-Key: {sentinel.api_key()}\r\nContent-Length: 0\r\n\r\n".encode())
        seen = b""
        while b"data: 0" not in seen:
            seen += stream.recv(65536)
        sentinel.process.terminate()
        sentinel.wait_for("Stopping", lambda: sentinel.status()["state"] == "Stopping")
        with self.assertRaises(OSError):
            sentinel.connect().recv(1)
            raise OSError("closed at once")
        for _ in range(3):
            time.sleep(0.1)
            runtime.go_on.set()
        while got := stream.recv(65536):
            seen += got
        self.assertTrue(seen.endswith(b"0\r\n\r\n"), "the stream was not drained")
        self.assertEqual(sentinel.process.wait(timeout=30), 0)
        self.assertFalse(os.path.exists(sentinel.model))
        self.assertFalse(os.path.exists(sentinel.signal_file))
        self.assertEqual(control_plane.released, [{"contract_id": "contract-1", "lease_id": "lease-1"}])

    def test_nothing_of_an_earlier_run_is_mistaken_for_this_ones(self):
        control_plane, _, sentinel = self.begin(supervised=True)
        sentinel.wait_state("Ready")
        pid = sentinel.runtime_pid()
        sentinel.process.kill()
        sentinel.process.wait()
        for _ in range(400):
            if not os.path.exists(f"/proc/{pid}"):
                break
            time.sleep(0.05)
        self.assertFalse(os.path.exists(f"/proc/{pid}"), "the runtime outlived its sentinel")
        self.assertTrue(os.path.exists(sentinel.signal_file))
        self.assertTrue(os.path.exists(sentinel.model))
        control_plane.mode = "denied"
        os.unlink(sentinel.work + "/state/addresses.json")
        sentinel.start()
        sentinel.wait_state("Suspended")
        self.assertFalse(os.path.exists(sentinel.signal_file))
        self.assertFalse(os.path.exists(sentinel.model), "plaintext of the killed run is still there")

    def test_tls(self):
        with tempfile.TemporaryDirectory() as place:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=localhost",
                            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", place + "/key.pem", "-out", place + "/cert.pem"], check=True, capture_output=True)
            _, runtime, sentinel = self.begin(TB_TLS_CERT_PATH=place + "/cert.pem", TB_TLS_KEY_PATH=place + "/key.pem")
            sentinel.wait_state("Ready")
            context = ssl.create_default_context(cafile=place + "/cert.pem")
            body = os.urandom(1 << 20)
            with context.wrap_socket(sentinel.connect(), server_hostname="127.0.0.1") as connection:
                for _ in range(2):
                    connection.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {sentinel.api_key()}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                    self.assertEqual(peers.answer_on(connection)[2], body)
            self.assertIn(b"X-Forwarded-Proto: https", runtime.heads[-1])
            with self.assertRaises(OSError):  # plain HTTP on a TLS port
                with sentinel.connect() as connection:
                    connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
                    if b"HTTP/" not in connection.recv(100):
                        raise OSError("closed")

    @unittest.skipIf(os.geteuid() != 0, "needs root")
    def test_the_runtimes_own_user(self):
        command = json.dumps(["/usr/bin/python3", "-c", ENGINE, "{model_path}", "{runtime_port}"])
        _, _, sentinel = self.begin(TB_RUNTIME_COMMAND=command, TB_RUNTIME_URL="http://127.0.0.1:0", TB_RUNTIME_UID=65534)
        os.chmod(sentinel.shm, 0o711)
        sentinel.wait_state("Ready")
        _, size, _ = self.get(sentinel)[2].decode().split()
        self.assertEqual(int(size), len(PLAIN))
        self.assertEqual(os.stat(f"/proc/{sentinel.runtime_pid()}").st_uid, 65534)
        self.assertEqual((os.stat(sentinel.model).st_uid, os.stat(sentinel.model).st_mode & 0o777), (65534, 0o400))

    def test_configuration_faults(self):
        process = subprocess.run([peers.BINARY], env={"TB_DELIVERY": "disk"}, capture_output=True, text=True, check=False)
        self.assertEqual(process.returncode, 2)
        for name in ("TB_CONTRACT_ID", "TB_ASSET_ID", "TB_EDC_ENDPOINT", "TB_DELIVERY"):
            self.assertIn(name, process.stderr)

    def test_public_port_is_closed_before_the_first_ready(self):
        _, runtime, sentinel = self.begin()
        sentinel.wait_state("Ready")
        port = int(sentinel.addresses()["public"].rsplit(":", 1)[1])
        sentinel.stop()
        with self.assertRaises(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=2)


if __name__ == "__main__":
    unittest.main()
