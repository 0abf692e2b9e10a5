"""Every case of tests/smuggling through the sentinel as it is shipped, in front of servers that people really run: what the
client is answered, that a refused one's connection ends, and how many requests the server found by its own parser.

A case speaks from a loopback address of its own, which the sentinel tells the server: a request without one of ours is
smuggled, and none is taken for another's. What passes between them is kept and read by a strict reader, too.

spec: wire 2.4
"""
import dataclasses
import os
import re
import socket
import subprocess
import threading
import time
import unittest

import chain
import peers

CORPUS = os.path.join(chain.REPO, "tests", "smuggling")
PAUSE_S, QUIET_S, PATIENCE_S = 0.1, 0.2, 30
ESCAPE = re.compile(r"\\(?:([rnt0\\])|x([0-9a-fA-F]{2})|\{(\d+)\*([^}]*)\})")
LETTERS = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def unescaped(text):
    out, at = b"", 0
    for found in ESCAPE.finditer(text):
        out += text[at:found.start()].encode()
        letter, hexadecimal, times, repeated = found.groups()
        out += LETTERS[letter] if letter else bytes.fromhex(hexadecimal) if hexadecimal else unescaped(repeated) * int(times)
        at = found.end()
    assert "\\" not in re.sub(ESCAPE, "", text), text
    return out + text[at:].encode()


@dataclasses.dataclass
class SmugglingCase:
    name: str
    why: str = ""
    sends: list = dataclasses.field(default_factory=lambda: [b""])
    statuses: list = None
    whole: int = None
    never: list = dataclasses.field(default_factory=list)


def read_corpus():
    """As tests/smuggling/README.md says."""
    out = []
    for name in sorted(os.listdir(CORPUS)):
        if not name.endswith(".txt"):
            continue
        with open(f"{CORPUS}/{name}", encoding="utf-8") as file:
            for line in file.read().splitlines():
                if line.startswith("["):
                    out.append(SmugglingCase(line[1:-1]))
                    continue
                case, (mark, _, text) = out[-1], line.partition(" ")
                if mark == "#":
                    case.why = text
                elif mark == ">":
                    case.sends[-1] += unescaped(text)
                elif mark == "~":
                    case.sends.append(b"")
                elif mark == "<":
                    case.statuses = [] if text == "closed" else [int(word) for word in text.split()]
                elif mark == "=":
                    case.whole = int(text)
                elif mark == "!":
                    case.never.append(text.encode())
                else:
                    raise ValueError(f"{name}: {line}")
    return out


class TwoReadings(Exception):
    pass


def take_message(text, is_request):
    """(message, rest), one that has a single reading; (None, text) where it is unfinished. Raises TwoReadings."""
    end = text.find(b"\r\n\r\n")
    if end < 0:
        return None, text
    first, *lines = text[:end].split(b"\r\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b": ")
        if not colon or not re.fullmatch(rb"[A-Za-z0-9-]+", name) or re.search(rb"[\r\n\0]", value):
            raise TwoReadings(line)
        fields.append((name.lower(), value))
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]) or not all(re.fullmatch(rb"[0-9]+", value) for value in lengths):
        raise TwoReadings(lines)
    at = end + 4
    if codings:
        while True:
            line = text.find(b"\r\n", at)
            if line < 0:
                return None, text
            if not re.fullmatch(rb"[0-9a-fA-F]+", text[at:line]):
                raise TwoReadings(text[at:line])
            after = line + 2 + int(text[at:line], 16)
            if len(text) < after + 2:
                return None, text
            if text[after:after + 2] != b"\r\n":
                raise TwoReadings(text[line:after + 2])
            last, at = after == line + 2, after + 2
            if last:
                break
    elif is_request or not first.startswith(b"HTTP/1.1 1"):
        at += int(lengths[0]) if lengths else 0
    return (text[:at], text[at:]) if len(text) >= at else (None, text)


def field_of(message, name):
    found = re.findall(rb"\r\n" + name + rb": ([^\r]*)\r\n", message[:message.index(b"\r\n\r\n") + 2], re.IGNORECASE)
    return found[0].decode() if len(found) == 1 else None


class Tee:
    """Between the sentinel and the server: passes everything, keeps what was sent to the server, by connection."""

    def __init__(self, target):
        self.target = target
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.kept = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.socket.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.target)
            kept = bytearray()
            self.kept.append(kept)
            threading.Thread(target=self.relay, args=(near, far, kept), daemon=True).start()
            threading.Thread(target=self.relay, args=(far, near, None), daemon=True).start()

    def relay(self, source, sink, kept):
        try:
            while got := source.recv(65536):
                if kept is not None:
                    kept += got
                sink.sendall(got)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.socket.close()


NGINX = """
daemon off; master_process off; worker_processes 1; pid {work}/pid; error_log {work}/error.log; events {{ worker_connections 256; }}
http {{
  client_body_temp_path {work}/body; proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s; access_log off;
  log_format whole '$http_x_forwarded_for $request_method $request_uri';
  server {{
    listen unix:{work}/server.sock;
    location = /health {{ return 200; }}
    # Passed on when it has come whole, and not before.
    location / {{ proxy_request_buffering on; proxy_pass http://unix:{work}/sink.sock; }}
  }}
  server {{ listen unix:{work}/sink.sock; access_log {work}/whole.log whole; location / {{ return 200 "ok"; }} }}
}}
"""

NODE = """
const fs = require('fs');
require('http').createServer((request, answer) => {
  request.on('data', () => {});
  request.on('end', () => {
    if (request.url !== '/health') {
      fs.appendFileSync(process.argv[2], `${request.headers['x-forwarded-for']} ${request.method} ${request.url}\\n`);
    }
    answer.end('ok');
  });
}).listen(process.argv[1]);
"""


class Corpus(unittest.TestCase):
    """One sentinel and one server for all cases."""

    def begin(self, server):
        control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000))
        self.addCleanup(control_plane.close)
        self.sentinel = peers.Sentinel(control_plane, None, TB_RUNTIME_URL="unix:/nowhere", TB_ALLOW_ANONYMOUS="true")
        self.sentinel.stop()
        self.addCleanup(self.sentinel.close)
        self.work = self.sentinel.work + "/server"
        os.mkdir(self.work)
        self.whole_log = self.work + "/whole.log"
        process = subprocess.Popen(server(self.work))
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.terminate)
        self.tee = Tee(self.work + "/server.sock")
        self.addCleanup(self.tee.close)
        self.sentinel.environment["TB_RUNTIME_URL"] = f"http://127.0.0.1:{self.tee.port}"
        self.sentinel.start()
        self.sentinel.wait_state("Ready", seconds=60)

    def found_by_the_server(self):
        """Addresses of the clients whose requests it read whole, as often as it did."""
        if not os.path.exists(self.whole_log):
            return []
        with open(self.whole_log, encoding="utf-8") as file:
            return [line.split()[0] for line in file]

    def speak(self, case, source):
        """Statuses in their order, and what came after the last answer. Who is refused, or answered for the last time, is left
        by the sentinel; who may go on leaves it, once nothing more comes."""
        host, port = self.sentinel.addresses()["public"].rsplit(":", 1)
        may_go_on = bool(case.statuses) and case.statuses[-1] < 400
        statuses, text = [], b""
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S, source_address=(source, 0)) as wire:
            try:
                for number, part in enumerate(case.sends):
                    if number:
                        time.sleep(PAUSE_S)
                    wire.sendall(part)
                if not case.statuses:
                    wire.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all was said
            while True:
                is_quiet = may_go_on and len(statuses) >= len(case.statuses) and not text
                wire.settimeout(QUIET_S if is_quiet else PATIENCE_S)
                try:
                    got = wire.recv(65536)
                except ConnectionResetError:
                    got = b""
                except TimeoutError:
                    return (statuses if is_quiet else [*statuses, "still open"]), text
                if not got:
                    return statuses, text
                text += got
                while (taken := take_message(text, False))[0]:
                    statuses.append(int(taken[0][9:12]))
                    text = taken[1]

    def sent_to_the_server(self):
        """By the client's address: whole requests, and all bytes; by a reader that knows one reading only."""
        whole, sent = {}, {}
        for connection in self.tee.kept:
            rest = bytes(connection)
            while rest:
                message, after = take_message(rest, True)
                request = rest if message is None else message
                source = field_of(request, b"X-Forwarded-For")
                if source is None:
                    self.assertTrue(request.startswith(b"GET /health HTTP/1.1\r\n"), request)
                elif message is not None:
                    whole[source] = whole.get(source, 0) + 1
                sent[source] = sent.get(source, b"") + request
                rest = b"" if message is None else after
        return whole, sent

    def replay(self, server):
        self.begin(server)
        cases = read_corpus()
        self.assertGreaterEqual(len(cases), 140)
        sources = {case.name: f"127.0.{1 + number // 250}.{1 + number % 250}" for number, case in enumerate(cases)}
        self.assertEqual(len(sources), len(cases), "a name twice")
        for case in cases:
            with self.subTest(case.name, why=case.why):
                self.assertEqual(self.speak(case, sources[case.name]), (case.statuses, b""))
        self.assertEqual(self.sentinel.stop(), 0)
        found = self.found_by_the_server()
        self.assertEqual(set(found) - set(sources.values()), set(), "a request that the sentinel did not send")
        whole, sent = self.sent_to_the_server()
        for case in cases:
            with self.subTest(case.name, why=case.why):
                source = sources[case.name]
                self.assertEqual((found.count(source), whole.get(source, 0)), (case.whole, case.whole))
                for text in case.never:
                    self.assertNotIn(text, sent.get(source, b""))


class Nginx(Corpus):
    def test_every_case(self):
        def server(work):
            with open(work + "/nginx.conf", "w", encoding="utf-8") as file:
                file.write(NGINX.format(work=work))
            return ["/usr/sbin/nginx", "-c", work + "/nginx.conf", "-e", work + "/error.log"]
        self.replay(server)


class Node(Corpus):
    """Whose parser, llhttp, is vLLM's (by httptools), too."""

    def test_every_case(self):
        node = chain.engine_command()[0]
        self.replay(lambda work: [node, "-e", NODE, work + "/server.sock", work + "/whole.log"])


if __name__ == "__main__":
    chain.main()
