"""The proxy against a runtime that fails in every way and clients that do: real sockets, the real binary."""
import hashlib
import json
import os
import socket
import subprocess
import time
import unittest

import peers


class ProxyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000))
        cls.runtime = peers.Runtime()
        cls.sentinel = peers.Sentinel(cls.control_plane, f"http://127.0.0.1:{cls.runtime.port}", TB_MAX_BODY_BYTES=200 << 20)
        cls.sentinel.wait_state("Ready")
        cls.key = cls.sentinel.api_key()

    @classmethod
    def tearDownClass(cls):
        cls.sentinel.close()
        cls.runtime.close()
        cls.control_plane.close()

    def send(self, test, body=b"{}", fields=(), path="/tokenize", method="POST"):
        connection = self.sentinel.connect()
        lines = [f"{method} {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {self.key}", f"X-Test: {test}", *fields]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        return connection

    def ask(self, test, **options):
        with self.send(test, **options) as connection:
            return peers.answer_on(connection)

    def code_of(self, answer):
        return answer[0], json.loads(answer[2])["error"]["code"]

    def test_answers_pass_both_ways(self):
        status, fields, body = self.ask("echo", body=b'{"a":1}')
        self.assertEqual((status, body), (200, b'{"a":1}'))
        self.assertNotIn("server", fields)
        self.assertIn("x-request-id", fields)
        head = self.runtime.heads[-1].decode()
        self.assertNotIn(self.key, head)
        self.assertNotIn("authorization", head.lower())
        self.assertIn("X-Forwarded-For: 127.0.0.1", head)

    def test_connections_are_kept_on_both_sides(self):
        with self.send("echo") as connection:
            self.assertEqual(peers.answer_on(connection)[0], 200)
            before = self.runtime.connections
            for _ in range(5):
                connection.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {self.key}\r\nContent-Length: 2\r\n\r\nhi".encode())
                self.assertEqual(peers.answer_on(connection)[2], b"hi")
        # The health probe makes a connection a second; the five requests made none.
        self.assertLess(self.runtime.connections - before, 5)

    def test_who_may(self):
        for lines in ("", "Authorization: Bearer wrong\r\n", "Authorization: Basic eA==\r\n", f"X-Api-Key: {self.key}x\r\n"):
            with self.sentinel.connect() as connection:
                connection.sendall(f"GET /v1/models HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
                self.assertEqual(self.code_of(peers.answer_on(connection)), (401, "invalid_api_key"))

    def test_what_may(self):
        for path in ("/metrics", "/invocations", "/v1/load_lora_adapter", "/v1/models%2f", "//v1/models", "/v1/../metrics", "/v1/models;x"):
            self.assertEqual(self.code_of(self.ask("echo", path=path, method="GET", body=None)), (403, "path_not_allowed"), path)
        self.assertEqual(self.ask("echo", method="DELETE", body=None)[0], 405)

    def test_events_leave_as_they_come(self):
        self.runtime.go_on.clear()
        with self.send("sse") as connection:
            seen = b""
            for number in range(3):
                while b"data: %d\n\n" % number not in seen:
                    seen += connection.recv(65536)
                self.assertNotIn(b"data: %d" % (number + 1), seen)
                self.runtime.go_on.set()
            while not seen.endswith(b"0\r\n\r\n"):
                seen += connection.recv(65536)

    def test_runtime_faults(self):
        for test in ("reset_in_head", "both_lengths", "switch"):
            self.assertEqual(self.code_of(self.ask(test)), (502, "upstream_failed"), test)
        self.assertEqual(self.ask("interim")[2], b"ok")
        self.assertEqual(self.ask("close")[2], b"d\r\nuntil the end\r\n0\r\n\r\n")

    def test_a_fault_is_found_in_the_log_by_the_id_that_the_client_was_told(self):
        trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        _, fields, _ = self.ask("reset_in_head", fields=[f"traceparent: 00-{trace}-00f067aa0ba902b7-01"])
        request_id = fields["x-request-id"]
        self.sentinel.wait_for("a line", lambda: request_id in self.sentinel.log())
        line = json.loads(next(line for line in self.sentinel.log().splitlines() if request_id in line))
        self.assertEqual((line["level"], line["trace_id"], line["status"]), ("warn", trace, "502"))

    def test_a_cut_answer_is_no_whole_one(self):
        status, fields, body = self.ask("reset_in_body")
        self.assertEqual((status, fields["content-length"]), (200, "100"))
        self.assertLess(len(body), 100)
        self.assertNotIn(b"0\r\n\r\n", self.ask("reset_in_chunk")[2])

    def test_bytes_beyond_an_answer_reach_nobody(self):
        self.assertEqual(self.ask("beyond")[2], b"ok")
        for _ in range(5):
            self.assertEqual(self.ask("echo", body=b"mine")[2], b"mine")

    def test_continue_is_answered(self):
        lines = f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {self.key}\r\nX-Test: echo\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        with self.sentinel.connect() as connection:
            connection.sendall(lines.encode())
            self.assertEqual(peers.answer_on(connection)[0], 100)
            connection.sendall(b"hello")
            self.assertEqual(peers.answer_on(connection)[2], b"hello")

    def test_an_early_answer_is_passed_on(self):
        with self.sentinel.connect() as connection:
            connection.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {self.key}\r\nX-Test: early\r\nContent-Length: 100000\r\n\r\nhalf".encode())
            status, fields, body = peers.answer_on(connection)
            self.assertEqual((status, body, fields["connection"]), (422, b"early", "close"))

    def test_chunked_requests(self):
        head = f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {self.key}\r\nX-Test: echo\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        with self.sentinel.connect() as connection:
            connection.sendall(head + b"3\r\nabc\r\n")
            time.sleep(0.05)
            connection.sendall(b"4;x=y\r\ndefg\r\n0\r\nTrailer: x\r\n\r\n")
            self.assertEqual(peers.answer_on(connection)[2], b"abcdefg")
        with self.sentinel.connect() as connection:
            connection.sendall(head + b"3\r\nabcXX")
            self.assertEqual(self.code_of(peers.answer_on(connection)), (400, "bad_request"))

    def test_large_bodies_in_bounded_memory(self):
        total = 96 << 20
        piece = os.urandom(1 << 20)
        digest = hashlib.sha256()
        with self.sentinel.connect() as connection:
            connection.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {self.key}\r\nX-Test: digest\r\nContent-Length: {total}\r\n\r\n".encode())
            for _ in range(total >> 20):
                connection.sendall(piece)
                digest.update(piece)
            status, fields, body = peers.answer_on(connection)
        self.assertEqual((status, fields["x-digest"], len(body)), (200, digest.hexdigest(), total))
        with open(f"/proc/{self.sentinel.process.pid}/status", encoding="ascii") as file:
            peak_kib = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        self.assertLess(peak_kib, 64 * 1024)

    def test_too_large(self):
        with self.sentinel.connect() as connection:
            connection.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {self.key}\r\nContent-Length: {201 << 20}\r\n\r\n".encode())
            self.assertEqual(self.code_of(peers.answer_on(connection)), (413, "body_too_large"))

    def test_a_client_that_leaves_ends_the_runtimes_work(self):
        self.runtime.aborted.clear()
        connection = self.send("silent")
        time.sleep(0.2)
        connection.close()
        self.assertTrue(self.runtime.aborted.wait(10))

    def test_smuggling(self):
        start = f"POST /tokenize HTTP/1.1\r\nHost: a\r\nX-Api-Key: {self.key}\r\n"
        smuggled = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"
        before = len(self.runtime.heads)
        for name, text in {
            "cl.te": start + f"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
            "te.cl": start + f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n{smuggled}",
            "te.te": start + f"Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n\r\n0\r\n\r\n{smuggled}",
            "te_tab": start + f"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{smuggled}",
            "te_blank": start + f"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}",
            "te_fold": start + f"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
            "te_list": start + f"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n{smuggled}",
            "cl.cl": start + f"Content-Length: 0\r\nContent-Length: 44\r\n\r\n{smuggled}",
            "cl_list": start + f"Content-Length: 0, 44\r\n\r\n{smuggled}",
            "cl_sign": start + f"Content-Length: +44\r\n\r\n{smuggled}",
            "bare_lf": start.replace("\r\n", "\n") + f"\n{smuggled}",
            "lf_in_field": start + f"X: y\nTransfer-Encoding: chunked\r\n\r\n{smuggled}",
            "cr_in_field": start + f"X: y\rTransfer-Encoding: chunked\r\n\r\n{smuggled}",
            "nul": start + f"X: \0\r\n\r\n{smuggled}",
            "two_hosts": start + f"Host: b\r\n\r\n{smuggled}",
            "no_host": f"GET /v1/models HTTP/1.1\r\nX-Api-Key: {self.key}\r\n\r\n{smuggled}",
            "absolute": f"GET http://a/v1/models HTTP/1.1\r\nHost: a\r\nX-Api-Key: {self.key}\r\nConnection: close\r\n\r\n",
            "http2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "version": f"GET /v1/models HTTP/1.2\r\nHost: a\r\n\r\n{smuggled}",
        }.items():
            with self.sentinel.connect() as connection:
                connection.sendall(text.encode("latin-1"))
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                while got := connection.recv(65536):
                    answer += got
                self.assertIn(answer[:12], (b"HTTP/1.1 400", b"HTTP/1.1 403", b"HTTP/1.1 505"), name)
                self.assertEqual(answer.count(b"X-Request-Id: "), 1, f"{name} was answered twice")
        self.assertEqual(len(self.runtime.heads), before, "something of it reached the runtime")

    def test_every_request_is_in_the_audit_log_and_the_chain_holds(self):
        self.ask("echo", body=b"said in private")
        self.ask("echo", path="/metrics", method="GET", body=None)
        self.ask("reset_in_body")
        self.sentinel.wait_for("records", lambda: any(b'"outcome":"upstream_error"' in line for line in self.sentinel.audit()))
        previous, records = bytes(32).hex(), []
        for number, line in enumerate(self.sentinel.audit()):
            record = json.loads(line)
            self.assertEqual((record["seq"], record["prev"]), (number, previous))
            previous = hashlib.sha256(b"\0" + line).hexdigest()
            records.append(record)
        text = b"".join(self.sentinel.audit())
        self.assertNotIn(self.key.encode(), text)
        self.assertNotIn(hashlib.sha256(b"said in private").hexdigest().encode(), text)
        outcomes = {record["outcome"] for record in records}
        self.assertLessEqual({"complete", "refused", "upstream_error"}, outcomes)
        refused = next(record for record in records if record["path"] == "/metrics")
        self.assertEqual((refused["status"], refused["outcome"], refused["method"]), (403, "refused", "GET"))

    def test_keys_can_be_added_and_revoked_while_it_serves(self):
        def keys(*arguments):
            environment = {**self.sentinel.environment, "TB_STATE_DIR": self.sentinel.work + "/state"}
            return subprocess.run([peers.BINARY, "keys", *arguments], env=environment, capture_output=True, text=True, check=True).stdout

        def status(key):
            with self.sentinel.connect() as connection:
                connection.sendall(f"POST /tokenize HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Length: 0\r\n\r\n".encode())
                return peers.answer_on(connection)[0]

        key = keys("add", "bob").strip()
        self.sentinel.wait_for("the new key", lambda: status(key) == 200)
        line = next(line for line in keys("list").splitlines() if "\tbob\t" in line)
        self.assertNotIn(key, keys("list"))
        keys("revoke", line.split("\t")[0])
        self.sentinel.wait_for("its end", lambda: status(key) == 401)

    def test_no_key_in_the_log(self):
        self.ask("echo")
        self.assertNotIn(self.key, self.sentinel.log())
        self.assertNotIn(peers.KEY.hex(), self.sentinel.log())
        self.assertNotIn("s3cret", self.sentinel.log())


if __name__ == "__main__":
    unittest.main()
