"""How the gate ends, with the real binary: SIGTERM, a second one, and a suspension in the middle of a stream."""
import json
import time
import unittest

import peers


class EndTest(unittest.TestCase):
    def begin(self, **settings):
        control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000), settings.pop("lease_seconds", None))
        self.addCleanup(control_plane.close)
        runtime = peers.Runtime()
        self.addCleanup(runtime.close)
        self.addCleanup(runtime.go_on.set)
        sentinel = peers.Sentinel(control_plane, f"http://127.0.0.1:{runtime.port}", **settings)
        self.addCleanup(sentinel.close)
        sentinel.wait_state("Ready")
        return control_plane, runtime, sentinel

    def stream(self, runtime, sentinel):
        """A stream of events that has begun and does not go on."""
        runtime.go_on.clear()
        connection = sentinel.connect()
        self.addCleanup(connection.close)
        connection.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Test: sse\r\nX-Api-Key: {sentinel.api_key()}\r\nContent-Length: 0\r\n\r\n".encode())
        seen = b""
        while b"data: 0\n\n" not in seen:
            got = connection.recv(65536)
            self.assertTrue(got, seen)
            seen += got
        return connection, seen

    def rest_of(self, connection, seen):
        while got := connection.recv(65536):
            seen += got
        return seen

    def error_in(self, seen):
        """The last event of a stream that ended as it should."""
        self.assertTrue(seen.endswith(b"\n\n\r\n0\r\n\r\n"), seen)
        event = seen.split(b"data: ")[-1].split(b"\n\n")[0]
        return json.loads(event)["error"]

    def test_for_a_moment_new_requests_are_taken(self):
        _, _, sentinel = self.begin(TB_DRAIN_SECONDS=20, TB_DRAIN_ACCEPT_MS=4000)
        sentinel.process.terminate()
        sentinel.wait_for("not ready", lambda: sentinel.health("/health")[0] == 503)
        with sentinel.connect() as connection:
            connection.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Test: echo\r\nX-Api-Key: {sentinel.api_key()}\r\nContent-Length: 2\r\n\r\nhi".encode())
            status, fields, body = peers.answer_on(connection)
            self.assertEqual((status, body), (200, b"hi"))
            self.assertEqual(fields["connection"], "close")
        self.assertEqual(sentinel.process.wait(timeout=30), 0)
        self.assertEqual([json.loads(line)["status"] for line in sentinel.audit()], [200])

    def test_a_stream_beyond_the_drain_is_told(self):
        _, runtime, sentinel = self.begin(TB_DRAIN_SECONDS=1)
        connection, seen = self.stream(runtime, sentinel)
        sentinel.process.terminate()
        error = self.error_in(self.rest_of(connection, seen))
        self.assertEqual((error["code"], error["type"]), ("shutting_down", "server_error"))
        self.assertEqual(sentinel.process.wait(timeout=30), 0)
        self.assertEqual(json.loads(sentinel.audit()[-1])["outcome"], "aborted")

    def test_a_second_signal_ends_at_once(self):
        _, runtime, sentinel = self.begin(TB_DRAIN_SECONDS=600)
        self.stream(runtime, sentinel)
        sentinel.process.terminate()
        sentinel.wait_for("Stopping", lambda: sentinel.status()["state"] == "Stopping")
        began = time.monotonic()
        sentinel.process.terminate()
        self.assertEqual(sentinel.process.wait(timeout=60), 130)
        self.assertLess(time.monotonic() - began, 60)

    def test_a_suspension_in_a_stream_is_told(self):
        control_plane, runtime, sentinel = self.begin(lease_seconds=6)
        connection, seen = self.stream(runtime, sentinel)
        control_plane.mode = "denied"
        error = self.error_in(self.rest_of(connection, seen))
        self.assertEqual((error["code"], error["type"]), ("contract_suspended", "permission_error"))
        sentinel.wait_state("Suspended")
        with sentinel.connect() as other:
            other.sendall(f"GET /v1/models HTTP/1.1\r\nHost: a\r\nX-Api-Key: {sentinel.api_key()}\r\n\r\n".encode())
            self.assertEqual(peers.answer_on(other)[0], 403)


if __name__ == "__main__":
    unittest.main()
