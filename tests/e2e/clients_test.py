"""Clients that consumers really use, against the real sentinel: OpenAI's own client in front of the real llama.cpp engine,
curl by TLS, nginx behind.

spec: wire 2.4
"""
import functools
import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import chain
import peers
from tls_files import TlsFiles
from user_tokens import Issuer

CLIENTS = os.path.join(chain.REPO, "build", "clients")
SCRIPT = os.path.join(chain.REPO, "tests", "clients", "openai_client.mjs")


def keys(sentinel, *arguments):
    """`trustbridge-sentinel keys …` for this sentinel; gives what it printed."""
    environment = chain.bare(TB_API_KEYS_FILE=sentinel.work + "/state/api-keys")
    done = subprocess.run([peers.BINARY, "keys", *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def new_key(sentinel, *limits):
    """A key that the sentinel knows; gives (key, id)."""
    made = json.loads(keys(sentinel, "add", "test", "--json", *limits))

    def known():
        """Costs the key one request, once: a closed path is 403 to those who may and 401 to others."""
        with sentinel.connect() as connection:
            connection.sendall(f"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Api-Key: {made['key']}\r\n\r\n".encode())
            return peers.answer_on(connection)[0] == 403
    sentinel.wait_for("the key", known)
    return made["key"], made["id"]


class WithEngine(chain.Case):
    """The real engine behind a sentinel, and the client's steps."""

    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(CLIENTS + "/node_modules/openai"):
            raise unittest.SkipTest("NOT PROVEN: OpenAI's client is missing: run scripts/test-tools.sh")
        super().setUpClass()
        command = chain.engine_command()
        plain = cls.chain.shm + "/model.gguf"
        subprocess.run([sys.executable, chain.REPO + "/runtime/make_tiny_gguf.py", plain], check=True)
        cls.chain.publish("asset", plain)
        cls.issuer = Issuer(cls.chain.shm)
        # llama-server's own default: the model is called by its path.
        cls.sentinel = cls.chain.sentinel(
            "asset", **{**chain.engine_settings(), "TB_RUNTIME_COMMAND": json.dumps([*command, "--alias", "{model_path}"])},
            TB_DELIVERY="tmpfs", **cls.issuer.settings())
        cls.addClassCleanup(cls.sentinel.close)
        cls.sentinel.wait_state("Ready", seconds=120)
        cls.key = cls.sentinel.api_key()

    def begin(self, step, key=None):
        environment = chain.bare(TB_CLIENTS=CLIENTS)
        url = f"http://{self.sentinel.addresses()['public']}/v1"
        return subprocess.Popen([chain.ENGINE + "/node", SCRIPT, step, url, key or self.key], env=environment,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run_step(self, step, key=None):
        process = self.begin(step, key)
        out, err = process.communicate(timeout=240)
        self.assertEqual(process.returncode, 0, err)
        return [json.loads(line) for line in out.splitlines()]

    def records(self, **wanted):
        """Audit records that have these members."""
        out = [json.loads(line) for line in self.sentinel.audit()]
        return [record for record in out if all(record.get(name) == value for name, value in wanted.items())]


class OpenAi(WithEngine):
    def test_a_plain_answer(self):
        [said] = self.run_step("plain")
        self.assertGreater(len(said["text"]), 4)
        self.assertGreater(said["usage"]["completion_tokens"], 0)
        self.assertEqual(said["requestId"], said["headers"]["x-request-id"])
        self.assertNotIn("server", said["headers"])
        self.sentinel.wait_for("its record", lambda: self.records(request_id=said["requestId"]))
        record = self.records(request_id=said["requestId"])[0]
        self.assertEqual((record["status"], record["outcome"]), (200, "complete"))
        self.assertEqual(record["subject"], json.loads(keys(self.sentinel, "list", "--json").splitlines()[0])["id"])
        [other] = self.run_step("completion")
        self.assertGreater(len(other["text"]), 2)

    def test_a_stream_says_the_same_and_usage_comes_where_it_was_asked_for(self):
        [plain] = self.run_step("plain")
        without, with_usage = self.run_step("streamed")
        self.assertEqual(without["text"], plain["text"])
        self.assertEqual(with_usage["text"], plain["text"])
        self.assertEqual((without["usage"], without["usageChunks"]), (None, 0))
        self.assertEqual(with_usage["usageChunks"], 1)
        self.assertEqual(with_usage["usage"]["completion_tokens"], plain["usage"]["completion_tokens"])

    def test_a_client_that_leaves_is_recorded_and_blocks_nobody(self):
        before = len(self.records(outcome="aborted"))
        [said] = self.run_step("cancelled")
        self.assertGreaterEqual(said["chunks"], 2)
        self.sentinel.wait_for("its record", lambda: len(self.records(outcome="aborted")) > before)
        self.assertGreater(len(self.run_step("plain")[0]["text"]), 4)

    def test_eight_at_once_get_the_answers_of_one(self):
        [said] = self.run_step("concurrent")
        self.assertEqual(len(said["texts"]), 8)
        self.assertEqual(len(set(said["texts"])), 1, said["texts"])

    def test_the_list_of_models_tells_no_path(self):
        [said] = self.run_step("models")
        self.assertEqual(said["ids"], ["asset"])

    def test_wrong_keys_are_authentication_errors(self):
        for wrong in ("tbk-wrong", "a.b.c", self.issuer.token(issuer="https://other.example"), self.issuer.forged_token()):
            [said] = self.run_step("refusal", wrong)
            self.assertEqual((said["error"], said["status"], said["code"]), ("AuthenticationError", 401, "invalid_api_key"), wrong)
            self.assertTrue(said["requestId"])

    def test_closed_paths_are_permission_errors(self):
        for said in self.run_step("refusals_of_paths"):
            self.assertEqual((said["error"], said["status"], said["code"]), ("PermissionDeniedError", 403, "path_not_allowed"))

    def test_a_token_of_the_issuer_lets_in(self):
        [said] = self.run_step("plain", self.issuer.token(subject="alice"))
        self.sentinel.wait_for("its record", lambda: self.records(request_id=said["requestId"]))
        self.assertEqual(self.records(request_id=said["requestId"])[0]["subject"], "jwt:alice")

    def test_limits_are_rate_limit_errors(self):
        key, _ = new_key(self.sentinel, "--requests-per-minute", "3")
        first, second, third = self.run_step("limited", key)
        self.assertEqual((first["value"], second["value"]), (1, 1))
        self.assertEqual((third["error"], third["status"], third["code"]), ("RateLimitError", 429, "rate_limit_exceeded"))
        self.assertLessEqual(int(third["headers"]["retry-after"]), 20)
        self.assertGreaterEqual(int(third["headers"]["retry-after"]), 1)
        self.assertEqual(third["headers"]["x-ratelimit-limit-requests"], "3")
        self.assertEqual(third["headers"]["x-ratelimit-remaining-requests"], "0")

    def test_one_at_once_is_one_at_once(self):
        key, _ = new_key(self.sentinel, "--concurrent", "1")
        refused, after = self.run_step("crowded", key)
        self.assertEqual((refused["error"], refused["code"]), ("RateLimitError", "rate_limit_exceeded"))
        self.assertEqual(after["value"], 1)

    def test_the_clients_own_patience_gets_it_through(self):
        key, _ = new_key(self.sentinel, "--requests-per-minute", "60", "--concurrent", "1")
        [said] = self.run_step("retried", key)
        self.assertGreaterEqual(said["ms"], 0)

    def test_a_revoked_key_ends(self):
        key, key_id = new_key(self.sentinel)
        self.assertGreater(len(self.run_step("plain", key)[0]["text"]), 4)
        keys(self.sentinel, "revoke", key_id)
        deadline = time.monotonic() + 30
        while "error" not in (said := self.run_step("refusal", key)[0]) and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertEqual(said.get("error"), "AuthenticationError")


class Suspension(WithEngine):
    """Of its own, as the model is gone afterwards."""

    def test_a_stream_that_a_suspension_cuts_is_an_api_error(self):
        process = self.begin("cut")
        self.addCleanup(process.kill)
        self.assertEqual(json.loads(process.stdout.readline()), {"streaming": True})
        self.chain.tb("contract", "suspend", "asset", *self.chain.at)
        out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, err)
        cut, after = [json.loads(line) for line in out.splitlines()]
        self.assertTrue(cut["isApiError"], cut)
        self.assertEqual(cut["code"], "contract_suspended", cut)
        self.assertEqual((after["error"], after["code"]), ("PermissionDeniedError", "contract_suspended"))
        self.chain.tb("contract", "resume", "asset", *self.chain.at)
        self.sentinel.wait_state("Ready", seconds=120)
        self.assertGreater(len(self.run_step("plain")[0]["text"]), 4)


class Curl(unittest.TestCase):
    """TLS, and certificates in the place of keys."""

    @classmethod
    def setUpClass(cls):
        cls.control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000))
        cls.addClassCleanup(cls.control_plane.close)
        cls.runtime = peers.Runtime()
        cls.addClassCleanup(cls.runtime.close)
        cls.tls = TlsFiles()
        cls.addClassCleanup(cls.tls.close)

    def start(self, **settings):
        sentinel = peers.Sentinel(self.control_plane, f"http://127.0.0.1:{self.runtime.port}", TB_TLS_CERT_PATH=self.tls.server[0],
                                  TB_TLS_KEY_PATH=self.tls.server[1], **settings)
        self.addCleanup(sentinel.close)
        sentinel.wait_state("Ready")
        return sentinel

    def curl(self, sentinel, *arguments, key=None):
        """(exit status of curl, HTTP status, body)."""
        address = sentinel.addresses()["public"]
        port = address.rsplit(":", 1)[1]
        command = ["curl", "-sS", "--max-time", "60", "--cacert", self.tls.ca, "--resolve", f"model.example:{port}:127.0.0.1",
                   "-w", "\n%{http_code} %{ssl_verify_result} %{http_version}", "-H", "X-Test: echo", "-d", '{"a":1}']
        if key:
            command += ["-H", f"Authorization: Bearer {key}"]
        done = subprocess.run([*command, *arguments, f"https://model.example:{port}/v1/completions"], capture_output=True,
                              text=True, check=False)
        body, _, tail = done.stdout.rpartition("\n")
        return done.returncode, int(tail.split()[0]), body

    def test_tls_12_and_13_and_nothing_older(self):
        sentinel = self.start()
        key = sentinel.api_key()
        for version in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
            self.assertEqual(self.curl(sentinel, *version, key=key), (0, 200, '{"a":1}'), version)
        status, code, _ = self.curl(sentinel, "--tlsv1.1", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", key=key)
        self.assertNotEqual(status, 0)
        self.assertEqual(code, 0)
        for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA256"):
            self.assertNotEqual(self.curl(sentinel, "--tlsv1.2", "--tls-max", "1.2", "--ciphers", weak, key=key)[0], 0, weak)
        head = self.runtime.heads[-1].decode()
        self.assertIn("X-Forwarded-Proto: https", head)
        # Plain HTTP on the TLS port gets no answer of the model's.
        with sentinel.connect() as connection:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
            try:
                said = connection.recv(4096)
            except ConnectionResetError:
                said = b""
            self.assertNotIn(b"HTTP/1.1 200", said)

    def http_version(self, sentinel, *arguments, key=None):
        """The version that curl was answered in, and the status."""
        port = sentinel.addresses()["public"].rsplit(":", 1)[1]
        done = subprocess.run(["curl", "-sS", "--max-time", "60", "--cacert", self.tls.ca, "--resolve", f"model.example:{port}:127.0.0.1",
                               "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "-H", "X-Test: echo",
                               "-H", f"Authorization: Bearer {key}", "-d", '{"a":1}', *arguments,
                               f"https://model.example:{port}/v1/completions"], capture_output=True, text=True, check=True)
        return done.stdout

    def test_http_2_by_alpn_alone(self):
        sentinel = self.start()
        key = sentinel.api_key()
        for version in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
            self.assertEqual(self.http_version(sentinel, "--http2", *version, key=key), "2 200", version)
        self.assertEqual(self.http_version(sentinel, "--http1.1", key=key), "1.1 200")
        self.assertEqual(self.http_version(sentinel, "--no-alpn", key=key), "1.1 200")
        self.assertEqual(self.http_version(sentinel, "--http2", key="wrong"), "2 401")
        self.assertEqual(self.curl(sentinel, "--http2", "-H", "Transfer-Encoding: chunked", key=key), (0, 200, '{"a":1}'))
        head = self.runtime.heads[-1].decode()
        self.assertTrue(head.startswith("POST /v1/completions HTTP/1.1\r\n"), head)
        self.assertNotIn("uthorization", head)
        statuses = [json.loads(line).get("status") for line in sentinel.audit()]
        self.assertEqual((statuses.count(200), statuses.count(401)), (5, 1), statuses)
        without = self.start(TB_PROXY_HTTP2="false")
        self.assertEqual(self.http_version(without, "--http2", key=without.api_key()), "1.1 200")

    def test_many_streams_of_one_connection(self):
        sentinel = self.start()
        port = sentinel.addresses()["public"].rsplit(":", 1)[1]
        body = os.path.join(self.tls.work, "body.json")
        with open(body, "w", encoding="utf-8") as file:
            file.write('{"a":1}')
        done = subprocess.run(["h2load", "-n", "1000", "-c", "4", "-m", "25", "-d", body, "-H", "X-Test: echo",
                               "-H", f"Authorization: Bearer {sentinel.api_key()}", f"https://127.0.0.1:{port}/v1/completions"],
                              capture_output=True, text=True, timeout=120, check=True)
        self.assertIn("Application protocol: h2", done.stdout)
        self.assertIn("1000 succeeded, 0 failed, 0 errored", done.stdout)
        self.assertIn("status codes: 1000 2xx", done.stdout)
        statuses = [json.loads(line).get("status") for line in sentinel.audit()]
        self.assertEqual(statuses.count(200), 1000)

    def test_a_certificate_of_the_ca_is_needed_where_it_is_required(self):
        sentinel = self.start(TB_TLS_CLIENT_CA_PATH=self.tls.ca)
        key = sentinel.api_key()
        good = ["--cert", self.tls.batch[0], "--key", self.tls.batch[1]]
        self.assertEqual(self.curl(sentinel, *good, key=key)[:2], (0, 200))
        self.assertEqual(self.curl(sentinel, *good)[:2], (0, 401), "a certificate alone is no key")
        for version in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
            for wrong in ([], ["--cert", self.tls.foreign[0], "--key", self.tls.foreign[1]],
                          ["--cert", self.tls.expired[0], "--key", self.tls.expired[1]]):
                status, code, _ = self.curl(sentinel, *version, *wrong, key=key)
                self.assertNotEqual(status, 0, (version, wrong))
                self.assertEqual(code, 0, (version, wrong))

    def test_a_certificate_stands_in_for_a_key(self):
        sentinel = self.start(TB_TLS_CLIENT_CA_PATH=self.tls.ca, TB_TLS_CLIENT_SUBJECTS="spiffe://acme/batch, named-by-cn")
        key = sentinel.api_key()

        def with_certificate(files, **options):
            return self.curl(sentinel, "--cert", files[0], "--key", files[1], **options)[:2]
        self.assertEqual(with_certificate(self.tls.batch), (0, 200))
        self.assertEqual(with_certificate(self.tls.by_cn), (0, 200))
        self.assertEqual(with_certificate(self.tls.other), (0, 401))
        self.assertEqual(with_certificate(self.tls.other, key=key), (0, 200))
        self.assertEqual(with_certificate(self.tls.cn_hidden_by_san), (0, 401), "the common name counts only alone")
        self.assertEqual(self.curl(sentinel)[:2], (0, 401))
        self.assertEqual(self.curl(sentinel, key=key)[:2], (0, 200))
        self.assertNotEqual(with_certificate(self.tls.foreign)[0], 0)
        subjects = {json.loads(line).get("subject") for line in sentinel.audit()}
        self.assertLessEqual({"cert:spiffe://acme/batch", "cert:named-by-cn"}, subjects)

    def test_trace_context_passes_on(self):
        sentinel = self.start()
        fields = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=b,c=d",
                  "baggage": "user=alice"}
        arguments = [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
        self.assertEqual(self.curl(sentinel, *arguments, key=sentinel.api_key())[:2], (0, 200))
        head = self.runtime.heads[-1].decode()
        for name, value in fields.items():
            self.assertIn(f"{name}: {value}", head)


class KeySet(unittest.TestCase):
    """An issuer's key set by its address: fetched, kept while the issuer is away, followed when it changes."""

    def setUp(self):
        self.control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000))
        self.addCleanup(self.control_plane.close)
        self.runtime = peers.Runtime()
        self.addCleanup(self.runtime.close)
        self.work = tempfile.mkdtemp(prefix="tb-issuer-")
        self.addCleanup(shutil.rmtree, self.work)
        self.issuer = Issuer(self.work)

    def serve(self, port=0):
        """The issuer's own server; 0: any free port."""
        handler = functools.partial(QuietFiles, directory=self.work)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def status(self, sentinel, token):
        with sentinel.connect() as connection:
            connection.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
                               f"X-Test: echo\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            return peers.answer_on(connection)[0]

    def test_it_is_fetched_and_kept_while_the_issuer_is_away(self):
        server = self.serve()
        port = server.server_address[1]
        settings = self.issuer.settings() | {"TB_JWT_KEYS": f"http://127.0.0.1:{port}/issuer.json"}
        sentinel = peers.Sentinel(self.control_plane, f"http://127.0.0.1:{self.runtime.port}", **settings)
        self.addCleanup(sentinel.close)
        sentinel.wait_state("Ready")
        sentinel.wait_for("the key set", lambda: self.status(sentinel, self.issuer.token()) == 200)
        self.assertEqual(self.status(sentinel, self.issuer.forged_token()), 401)
        self.assertEqual(self.status(sentinel, self.issuer.token(audience="others")), 401)
        self.assertEqual(self.status(sentinel, self.issuer.token(seconds=-120)), 401)
        server.shutdown()
        server.server_close()
        self.assertEqual(self.status(sentinel, self.issuer.token(subject="new")), 200)

    def test_until_it_comes_tokens_are_to_come_again_and_keys_let_in(self):
        server = self.serve()
        port = server.server_address[1]
        server.shutdown()
        server.server_close()
        settings = self.issuer.settings() | {"TB_JWT_KEYS": f"http://127.0.0.1:{port}/issuer.json"}
        sentinel = peers.Sentinel(self.control_plane, f"http://127.0.0.1:{self.runtime.port}", **settings)
        self.addCleanup(sentinel.close)
        sentinel.wait_state("Ready")
        self.assertEqual(self.status(sentinel, self.issuer.token()), 503)
        self.assertEqual(self.status(sentinel, sentinel.api_key()), 200)
        self.assertIn("cannot be had", sentinel.log())
        server = self.serve(port)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        sentinel.wait_for("the key set", lambda: self.status(sentinel, self.issuer.token()) == 200, seconds=90)

    def test_a_withdrawn_key_ends(self):
        settings = self.issuer.settings()
        sentinel = peers.Sentinel(self.control_plane, f"http://127.0.0.1:{self.runtime.port}", **settings)
        self.addCleanup(sentinel.close)
        sentinel.wait_state("Ready")
        token = self.issuer.token()
        sentinel.wait_for("the key set", lambda: self.status(sentinel, token) == 200)
        renewed = Issuer(self.work)  # the same kid, another key
        sentinel.wait_for("the new set", lambda: self.status(sentinel, renewed.token()) == 200)
        self.assertEqual(self.status(sentinel, token), 401)


class QuietFiles(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


NGINX = """
daemon off; master_process off; worker_processes 1; pid {work}/pid; error_log {work}/error.log; events {{ worker_connections 256; }}
http {{
  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s; keepalive_requests 1000000;
  log_format connections '$connection $request_length $request'; access_log {work}/connections.log connections;
  server {{
    listen unix:{work}/nginx.sock;
    location = /health {{ access_log off; return 200; }}
    location = /v1/models {{ root {work}/files; default_type application/octet-stream; try_files /large =404; }}
    location = /v1/completions {{ client_max_body_size 0; proxy_http_version 1.1; proxy_pass http://unix:{work}/sink.sock; }}
  }}
  server {{ listen unix:{work}/sink.sock; access_log off; client_max_body_size 0; location / {{ return 200 "$request_method"; }} }}
}}
"""


class Nginx(unittest.TestCase):
    """As boring a server as there is, behind the sentinel."""

    LARGE = 256 << 20

    @classmethod
    def setUpClass(cls):
        control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000))
        cls.addClassCleanup(control_plane.close)
        cls.sentinel = peers.Sentinel(control_plane, None, TB_RUNTIME_URL="unix:/nowhere")
        cls.sentinel.stop()
        cls.addClassCleanup(cls.sentinel.close)
        cls.work = work = cls.sentinel.work + "/nginx"
        os.makedirs(work + "/files")
        digest = hashlib.sha256()
        with open(work + "/files/large", "wb") as file:
            for _ in range(cls.LARGE >> 20):
                block = os.urandom(1 << 20)
                digest.update(block)
                file.write(block)
        cls.digest = digest.hexdigest()
        with open(work + "/nginx.conf", "w", encoding="utf-8") as file:
            file.write(NGINX.format(work=work))
        nginx = subprocess.Popen(["/usr/sbin/nginx", "-c", work + "/nginx.conf", "-e", work + "/error.log"])
        cls.addClassCleanup(nginx.wait, 30)
        cls.addClassCleanup(nginx.terminate)
        cls.sentinel.environment["TB_RUNTIME_URL"] = f"unix:{work}/nginx.sock"
        cls.sentinel.start()
        cls.sentinel.wait_state("Ready", seconds=60)
        cls.key = cls.sentinel.api_key()

    def head(self, method, path, *fields):
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", f"Authorization: Bearer {self.key}", *fields, "", ""]).encode()

    def memory_kib(self):
        with open(f"/proc/{self.sentinel.process.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))

    def test_a_large_answer_comes_whole_in_bounded_memory(self):
        before = self.memory_kib()
        with self.sentinel.connect() as connection:
            for _ in range(2):  # twice on one connection
                connection.sendall(self.head("GET", "/v1/models"))
                buffer = b""
                while b"\r\n\r\n" not in buffer:
                    buffer += connection.recv(65536)
                head, _, rest = buffer.partition(b"\r\n\r\n")
                self.assertIn(b"200", head.split(b"\r\n")[0])
                self.assertNotIn(b"Server:", head)
                self.assertIn(f"Content-Length: {self.LARGE}".encode(), head)
                digest, left = hashlib.sha256(rest), self.LARGE - len(rest)
                while left:
                    got = connection.recv(min(left, 1 << 20))
                    self.assertTrue(got)
                    digest.update(got)
                    left -= len(got)
                self.assertEqual(digest.hexdigest(), self.digest)
        self.assertLess(self.memory_kib() - before, 16 << 10)

    def test_large_requests_with_a_length_and_in_chunks(self):
        before, block = self.memory_kib(), b"a" * (1 << 20)
        begin, end = b'{"model":"m","prompt":"', b'"}'
        with self.sentinel.connect() as connection:
            connection.sendall(self.head("POST", "/v1/completions", f"Content-Length: {len(begin) + (64 << 20) + len(end)}"))
            connection.sendall(begin)
            for _ in range(64):
                connection.sendall(block)
            connection.sendall(end)
            self.assertEqual(peers.answer_on(connection)[::2], (200, b"POST"))
            connection.sendall(self.head("POST", "/v1/completions", "Transfer-Encoding: chunked"))
            for part in (begin, *[block] * 64, end):
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            connection.sendall(b"0\r\n\r\n")
            self.assertEqual(peers.answer_on(connection)[::2], (200, b"POST"))
        self.assertLess(self.memory_kib() - before, 16 << 10)

    def test_connections_to_it_are_kept(self):
        def many():
            with self.sentinel.connect() as connection:
                for _ in range(100):
                    connection.sendall(self.head("POST", "/v1/completions", "Content-Length: 2") + b"{}")
                    self.assertEqual(peers.answer_on(connection)[0], 200)
        threads = [threading.Thread(target=many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        used, end = [], time.monotonic() + 30
        while len(used) < 400 and time.monotonic() < end:  # nginx answers before it writes its log
            with open(self.work + "/connections.log", encoding="ascii") as file:
                used = [line.split()[0] for line in file if "/v1/completions HTTP/1.1" in line]
            time.sleep(0.05)
        self.assertGreaterEqual(len(used), 400)
        self.assertLess(len(set(used)), len(used) / 5)


if __name__ == "__main__":
    chain.main()
