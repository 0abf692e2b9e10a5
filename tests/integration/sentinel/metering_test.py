"""What is billed is what the engine did, token for token: scripted clients against the real sentinel, before an engine that keeps
count of what it really read and generated. Whatever goes wrong on the way (clients that leave, repeat, send nonsense), the
ledger's error is 0; a sentinel that is killed loses no more than docs/metering.md says, and bills nothing twice.

spec: wire 2.6
"""
import http.server
import json
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.request

import peers

CLIENTS = 40
REQUESTS = 12 * int(os.environ.get("TB_TEST_SCALE", "1"))


class Engine:
    """An OpenAI-style engine whose words are numbers, and which knows what it did."""

    def __init__(self):
        self.lock = threading.Lock()
        self.input = self.output = self.answered = 0
        self.bodies = []
        self.word_pause_s = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    pass

            def whole(self, status, value):
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers["Content-Length"]))
                out = b""
                while size := int(self.rfile.readline(), 16):
                    out += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return out

            def piece(self, data):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def event(self, value, name=None):
                text = value if isinstance(value, str) else json.dumps(value)
                self.piece((f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode())

            def begin_events(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()

            def do_GET(self):
                if self.path == "/metrics":
                    with outer.lock:
                        text = f"vllm:prompt_tokens_total{{model_name=\"m\"}} {outer.input}.0\nvllm:generation_tokens_total{{model_name=\"m\"}} {outer.output}.0\n"
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    return self.wfile.write(text.encode())
                return self.whole(200, {})

            def do_POST(self):
                asked = json.loads(self.body())
                with outer.lock:
                    outer.bodies.append(asked)
                assert self.headers.get("Accept-Encoding") == "identity", self.headers
                prompt = len(str(asked.get("prompt", asked.get("messages", asked.get("input"))))) // 8 + 1
                if asked.get("model") == "fails":
                    return self.whole(500, {"error": {"message": "out of memory", "code": 500}})
                if self.path == "/v1/embeddings":
                    outer.did(prompt, 0)
                    return self.whole(200, {"data": [], "usage": {"prompt_tokens": prompt, "total_tokens": prompt}})
                n = asked.get("n", 1)
                words = min(asked.get("max_tokens", 20), asked.get("seed", 7) % 23 + 1)
                if self.path == "/v1/messages":
                    return self.messages(asked, prompt, words)
                if asked.get("stream"):
                    return self.stream(asked, prompt, n, words)
                if outer.word_pause_s:
                    time.sleep(outer.word_pause_s * words)
                outer.did(prompt, n * words)
                choices = [{"index": i, "message": {"role": "assistant", "content": "7 " * words}, "finish_reason": "stop"} for i in range(n)]
                return self.whole(200, {"id": "c", "choices": choices, "usage": {"prompt_tokens": prompt, "completion_tokens": n * words,
                                                                                 "total_tokens": prompt + n * words}})

            def stream(self, asked, prompt, n, words):
                frame = {"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m"}
                self.begin_events()
                made = 0
                try:
                    for _ in range(words):
                        for index in range(n):
                            made += 1
                            self.event(frame | {"choices": [{"index": index, "delta": {"content": "7 "}, "finish_reason": None}]})
                        if outer.word_pause_s:
                            time.sleep(outer.word_pause_s)
                    self.event(frame | {"choices": [{"index": i, "delta": {}, "finish_reason": "stop"} for i in range(n)]})
                    if (asked.get("stream_options") or {}).get("include_usage"):
                        self.event(frame | {"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": made,
                                                                     "total_tokens": prompt + made}})
                    self.event("[DONE]")
                    self.piece(b"")
                finally:
                    outer.did(prompt, made)

            def messages(self, asked, prompt, words):
                if not asked.get("stream"):
                    outer.did(prompt, words)
                    return self.whole(200, {"type": "message", "content": [{"type": "text", "text": "7 " * words}],
                                            "usage": {"input_tokens": prompt - 1, "cache_read_input_tokens": 1, "output_tokens": words}})
                self.begin_events()
                made = 0
                try:
                    self.event({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": prompt, "output_tokens": 1}}}, "message_start")
                    for _ in range(words):
                        made += 1
                        self.event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "7 "}}, "content_block_delta")
                    self.event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": made}}, "message_delta")
                    self.event({"type": "message_stop"}, "message_stop")
                    self.piece(b"")
                finally:
                    outer.did(prompt, made)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def did(self, prompt, words):
        with self.lock:
            self.input += prompt
            self.output += words
            self.answered += 1

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Marketplace:
    """The metering API and the identity endpoint of a virtual machine; one event an hour."""

    def __init__(self):
        self.status, self.events, self.tokens, self.posts = "Accepted", {}, 0, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, value):
                body = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                assert "resource=20e940b3-4c77-4b0b-9a53-9e16a1b010a7" in self.path, self.path
                outer.tokens += 1
                self.answer({"access_token": "secret-of-the-test", "expires_in": "3599"})

            def do_POST(self):
                assert self.headers["Authorization"] == "Bearer secret-of-the-test"
                outer.posts += 1
                result = []
                for event in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]:
                    if outer.status == "Accepted":
                        assert outer.events.setdefault((event["dimension"], event["effectiveStartTime"]), event) == event
                    result.append(event | {"status": outer.status, "quantity": float(event["quantity"])})
                self.answer({"count": len(result), "result": result})

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Client(threading.Thread):
    """One user: a fixed script of requests by its seed."""

    def __init__(self, sentinel, key, seed):
        super().__init__(daemon=True)
        self.sentinel, self.key, self.random = sentinel, key, random.Random(seed)
        self.faults, self.whole = [], 0

    def request(self, path, value, key=None, extra=""):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        connection = self.sentinel.connect()
        connection.settimeout(120)
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key or self.key}\r\nAccept-Encoding: gzip\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return connection

    def expect(self, status, path, value, **more):
        with self.request(path, value, **more) as connection:
            got = peers.answer_on(connection)
        if got[0] != status:
            self.faults.append((status, got))
        return got

    def chat(self, **more):
        return {"model": "m", "messages": [{"role": "user", "content": "x" * self.random.randrange(200)}], "seed": self.random.randrange(100)} | more

    def leave(self, connection, after):
        """In the middle: by an orderly end, or by a reset."""
        if after:
            connection.recv(after)
        if self.random.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def one(self):
        kind = self.random.randrange(14)
        chat = "/v1/chat/completions"
        if kind == 0:
            self.expect(200, chat, self.chat())
        elif kind == 1:
            self.expect(200, chat, self.chat(n=self.random.randrange(1, 5)))
        elif kind == 2:
            body = self.expect(200, chat, self.chat(stream=True))[2]
            if b"usage" in body or b"[DONE]" not in body:
                self.faults.append(("usage that was not asked for", body))
        elif kind == 3:
            body = self.expect(200, chat, self.chat(stream=True, stream_options={"include_usage": True}))[2]
            if body.count(b"completion_tokens") != 1:
                self.faults.append(("no usage", body))
        elif kind == 4:
            self.expect(200, chat, self.chat(stream=True, n=3, stream_options={"include_usage": False}))
        elif kind == 5:  # leaves in the middle of a stream
            self.leave(self.request(chat, self.chat(stream=True)), 200)
        elif kind == 6:  # leaves before the answer
            self.leave(self.request(chat, self.chat()), 0)
            time.sleep(0.01)
        elif kind == 7:  # the same again, as a client does that lost the answer
            value = self.chat(stream=True)
            self.leave(self.request(chat, value), 1)
            self.expect(200, chat, value)
        elif kind == 8:
            self.expect(400, chat, b"{broken")
            self.expect(400, chat, b'{"stream":true,"stream":false}')
            self.expect(415, chat, b"x", extra="Content-Encoding: gzip\r\n")
            self.expect(401, chat, self.chat(), key="wrong")
        elif kind == 9:
            self.expect(500, chat, self.chat(model="fails"))
        elif kind == 10:
            self.expect(200, "/v1/messages", self.chat(max_tokens=50, stream=self.random.random() < 0.5))
        elif kind == 11:
            self.expect(200, "/v1/embeddings", {"model": "m", "input": "x" * self.random.randrange(300)})
        elif kind == 12:  # a body that streams
            self.expect(200, chat, self.chat(stream=True, padding="x" * 150_000))
        else:  # reads slowly
            with self.request(chat, self.chat(stream=True), extra="Connection: close\r\n") as connection:
                while connection.recv(64):
                    pass

    def run(self):
        try:
            for _ in range(REQUESTS):
                self.one()
                self.whole += 1
        except Exception as error:  # the thread's own end is the test's to see
            self.faults.append(repr(error))


def ledger(sentinel, sql):
    with sqlite3.connect(f"file:{sentinel.work}/state/usage.db?mode=ro", uri=True) as db:
        return db.execute(sql).fetchone()


def usage_of_log(sentinel):
    """Sums of the audit log, and how many records have usage."""
    sums = [0, 0, 0]
    with open(sentinel.work + "/state/audit/audit.jsonl", encoding="utf-8") as file:
        for line in file:
            if usage := json.loads(line).get("usage"):
                sums = [sums[0] + usage["input_tokens"], sums[1] + usage["output_tokens"], sums[2] + 1]
    return tuple(sums)


class MeteringTest(unittest.TestCase):
    def setUp(self):
        self.control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000), lease_seconds=600)
        self.addCleanup(self.control_plane.close)
        self.engine = Engine()
        self.addCleanup(self.engine.close)

    def sentinel(self, **settings):
        sentinel = peers.Sentinel(self.control_plane, f"http://127.0.0.1:{self.engine.port}", TB_BILLING_INTERVAL="1s", **settings)
        self.addCleanup(sentinel.close)
        sentinel.wait_state("Ready")
        return sentinel

    def run_clients(self, sentinel, key):
        clients = [Client(sentinel, key, seed) for seed in range(CLIENTS)]
        for client in clients:
            client.start()
        return clients

    def quiet(self, sentinel):
        """Until nothing is under way, at the engine or at the gate."""
        def still():
            before = self.engine.answered
            time.sleep(0.5)
            return before == self.engine.answered and "trustbridge_sentinel_requests_in_flight 0" in sentinel.health("/metrics")[1]
        sentinel.wait_for("quiet", still, 120)

    def test_the_ledgers_error_is_zero(self):
        sentinel = self.sentinel()
        clients = self.run_clients(sentinel, sentinel.api_key())
        for client in clients:
            client.join(240)
            self.assertEqual((client.faults, client.whole), ([], REQUESTS))
        self.quiet(sentinel)
        metrics = sentinel.health("/metrics")[1]
        self.assertEqual(sentinel.stop(), 0)
        truth = (self.engine.input, self.engine.output)
        self.assertGreater(truth[1], 1000)
        self.assertEqual(ledger(sentinel, "SELECT sum(input_tokens), sum(output_tokens) FROM hour"), truth)
        self.assertEqual(usage_of_log(sentinel)[:2], truth)
        self.assertEqual(ledger(sentinel, "SELECT sum(input_tokens), sum(output_tokens) FROM subject"), truth)
        self.assertEqual(ledger(sentinel, "SELECT sum(disputed_requests), sum(estimated_requests) FROM hour"), (0, 0))
        self.assertIn('trustbridge_sentinel_metered_requests_total{usage="disputed"} 0', metrics)
        # What the control plane was told is the same, each record of the log in one report.
        reported = {r["id"]: r for report in self.control_plane.usage_reports for r in report["records"]}
        self.assertEqual(sum(r["usage"]["input_tokens"] for r in reported.values()), truth[0])
        self.assertEqual(sum(r["usage"]["output_tokens"] for r in reported.values()), truth[1])
        ranges = sorted((r["first_seq"], r["last_seq"]) for r in reported.values())
        self.assertEqual(ranges[0][0], 0)
        for (_, last), (first, _) in zip(ranges, ranges[1:]):
            self.assertEqual(first, last + 1)
        self.assertTrue(all(body["stream_options"]["include_usage"] for body in self.engine.bodies
                            if body.get("stream") and "max_tokens" not in body))

    def test_a_killed_sentinel_bills_nothing_twice_and_little_is_lost(self):
        sentinel = self.sentinel()
        key = sentinel.api_key()
        for round_number in range(4):
            clients = self.run_clients(sentinel, key)
            time.sleep(0.3 + 0.4 * round_number)
            sentinel.process.send_signal(signal.SIGKILL)
            sentinel.process.wait()
            for client in clients:
                client.join(240)
            sentinel.start()
            sentinel.wait_state("Ready")
        self.quiet(sentinel)
        self.assertEqual(sentinel.stop(), 0)
        # The ledger is what the log says, whatever was between them when the process died.
        self.assertEqual(ledger(sentinel, "SELECT sum(input_tokens), sum(output_tokens) FROM hour"), usage_of_log(sentinel)[:2])
        with open(sentinel.work + "/state/audit/audit.jsonl", encoding="utf-8") as file:
            ids = [record["request_id"] for record in map(json.loads, file) if record.get("usage")]
        self.assertEqual(len(ids), len(set(ids)))
        reported = {r["id"]: r for report in self.control_plane.usage_reports for r in report["records"]}
        self.assertEqual(sum(r["usage"]["output_tokens"] for r in reported.values()), usage_of_log(sentinel)[1])
        # Requests that the engine answered and the log lacks: those of the moment, 40 clients with one each, four times.
        self.assertLessEqual(self.engine.answered - len(ids), 4 * 2 * CLIENTS)
        self.assertLessEqual(usage_of_log(sentinel)[1], self.engine.output)

    def test_a_stream_that_a_kill_interrupts_is_billed_for_what_had_come(self):
        sentinel = self.sentinel()
        self.engine.word_pause_s = 0.2
        with Client(sentinel, sentinel.api_key(), 1).request("/v1/chat/completions", {"messages": [], "stream": True, "seed": 22}) as connection:
            seen = b""
            while seen.count(b"7 ") < 15:
                seen += connection.recv(65536)
            sentinel.process.send_signal(signal.SIGKILL)
            sentinel.process.wait()
        self.engine.word_pause_s = 0
        sentinel.start()
        sentinel.wait_state("Ready")
        self.assertEqual(sentinel.stop(), 0)
        (output, estimated) = ledger(sentinel, "SELECT sum(output_tokens), sum(estimated_requests) FROM hour")
        self.assertEqual(estimated, 1)
        # Noted every second: at 5 words a second no more than about two seconds of them are missing.
        self.assertGreater(output, 0)
        self.assertLessEqual(output, 23)

    def keys(self, sentinel, *arguments):
        done = subprocess.run([peers.BINARY, "keys", "add", *arguments, "--json"], env=sentinel.environment | {"TB_API_KEYS_FILE": sentinel.work + "/state/api-keys"},
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        key = json.loads(done.stdout)["key"]
        client = Client(sentinel, key, 0)

        def known():
            with client.request("/v1/embeddings", b"{broken") as connection:
                return peers.answer_on(connection)[0] == 400
        sentinel.wait_for("the new key", known)
        return client

    def code(self, answer):
        return answer[0], json.loads(answer[2])["error"]["code"]

    def test_a_budget_holds_in_answers_and_in_streams(self):
        sentinel = self.sentinel()
        client = self.keys(sentinel, "small", "--token-budget", "400")
        chat = "/v1/chat/completions"
        answer = json.loads(client.expect(200, chat, {"messages": ["x"], "seed": 22})[2])
        self.assertEqual(answer["usage"]["completion_tokens"], 23)
        self.assertLess(self.engine.bodies[-1]["max_tokens"], 400)  # which the client had not limited
        # An engine that does not keep the limit is cut, in the words of one that does.
        before = self.engine.output
        self.engine.word_pause_s = 0.01
        value = {"messages": ["x"], "stream": True, "n": 16, "max_tokens": 23, "seed": 22, "stream_options": {"include_usage": True}}
        body = client.expect(200, chat, value)[2]
        self.assertTrue(body.endswith(b"0\r\n\r\n"))
        self.assertEqual(client.faults, [])
        self.assertGreater(self.engine.output, before)
        for _ in range(60):
            got = client.expect(200, chat, {"messages": ["x"], "seed": 22, "max_tokens": 5})
            if got[0] != 200:
                break
        self.assertEqual(self.code(got), (402, "quota_exhausted"))
        self.quiet(sentinel)
        spent = ledger(sentinel, "SELECT max(input_tokens + output_tokens) FROM subject")[0]
        self.assertLessEqual(spent, 400)
        # It is used up after a start, too.
        self.assertEqual(sentinel.stop(), 0)
        sentinel.start()
        sentinel.wait_state("Ready")
        self.assertEqual(self.code(client.expect(402, chat, {"messages": ["x"] * 40, "max_tokens": 5})), (402, "quota_exhausted"))

    def test_tokens_a_minute_are_told_and_held(self):
        sentinel = self.sentinel()
        client = self.keys(sentinel, "slow", "--tokens-per-minute", "600")
        chat = "/v1/chat/completions"
        status, fields, _ = client.expect(200, chat, {"messages": ["x"], "max_tokens": 100, "seed": 22})
        self.assertEqual(fields["x-ratelimit-limit-tokens"], "600")
        self.assertLess(int(fields["x-ratelimit-remaining-tokens"]), 600)
        self.assertIn("x-ratelimit-reset-tokens", fields)
        for _ in range(30):
            got = client.expect(200, chat, {"messages": ["x"], "max_tokens": 400, "seed": 22})
            if got[0] != 200:
                break
        self.assertEqual(self.code(got), (429, "rate_limit_exceeded"))
        self.assertGreater(int(got[1]["retry-after"]), 0)

    def test_a_marketplace_gets_the_hour_and_only_its_word_suspends(self):
        market = Marketplace()
        self.addCleanup(market.close)
        market.status = "InvalidDimension"  # the publisher's fault
        began = time.time() // 3600
        sentinel = self.sentinel(TB_BILLING_ENABLED="true", TB_BILLING_DIMENSION="tokens,requests", TB_BILLING_RESOURCE_ID="resource-1",
                                 TB_BILLING_PLAN_ID="silver", TB_METERING_ENDPOINT=market.url, AZURE_POD_IDENTITY_AUTHORITY_HOST=market.url)
        client = Client(sentinel, sentinel.api_key(), 3)
        for _ in range(3):
            client.expect(200, "/v1/chat/completions", {"messages": ["x"], "seed": 22})
        time.sleep(2)
        if time.time() // 3600 == began:
            self.assertEqual(market.posts, 0)  # the hour has not ended
        self.control_plane.ahead_s = 3700
        sentinel.wait_for("events", lambda: market.posts > 1)
        self.assertEqual(sentinel.status()["state"], "Ready")
        market.status = "ResourceNotActive"
        sentinel.wait_state("Suspended")
        self.assertEqual(sentinel.status()["last_error"]["code"], "subscription_inactive")
        self.assertEqual(client.expect(403, "/v1/chat/completions", {"messages": ["x"]})[0], 403)
        market.status = "Accepted"
        sentinel.wait_state("Ready", 60)
        sentinel.wait_for("all accepted", lambda: len(market.events) >= 2)
        truth = self.engine.input + self.engine.output
        self.assertEqual(sum(e["quantity"] for (dimension, _), e in market.events.items() if dimension == "tokens"), truth)
        self.assertEqual(sum(e["quantity"] for (dimension, _), e in market.events.items() if dimension == "requests"), 3)
        self.assertEqual(sentinel.stop(), 0)
        self.assertNotIn("secret-of-the-test", sentinel.log())

    def test_the_runtimes_own_counters_show_no_drift(self):
        sentinel = self.sentinel()
        client = Client(sentinel, sentinel.api_key(), 3)
        client.expect(200, "/v1/chat/completions", {"messages": ["x"], "seed": 22})
        sentinel.wait_for("counters", lambda: "trustbridge_sentinel_runtime_counts_tokens 1" in sentinel.health("/metrics")[1])
        for direction in ("input", "output"):
            self.assertIn(f'trustbridge_sentinel_metering_drift_tokens{{direction="{direction}"}} 0\n', sentinel.health("/metrics")[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
