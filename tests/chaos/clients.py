"""Clients of every bad habit, each an endless loop of its own. All speak raw HTTP/1.1 over TLS, so that what they do wrong is
exactly what was meant. What they are answered is noted in a Book.
"""
import hashlib
import random
import socket
import ssl
import struct
import threading
import time


class Book:
    """What all clients were answered: request id -> status, and whether the answer came whole."""

    def __init__(self):
        self.lock = threading.Lock()
        self.answers, self.wrong, self.done = {}, [], {}

    def note(self, kind, head, whole):
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        request_id = next((line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("x-request-id:")), None)
        with self.lock:
            if request_id is None or request_id in self.answers:
                self.wrong.append(f"{kind}: an answer without an id of its own: {lines[:3]}")
            self.answers[request_id] = (status, whole)
            self.done[kind, status] = self.done.get((kind, status), 0) + 1
        return status

    def fault(self, kind, what):
        with self.lock:
            self.wrong.append(f"{kind}: {what}")


class Answer:
    """One answer, read strictly."""

    def __init__(self, reader):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline(65536)
            if not line:
                raise ConnectionError("no answer")
            head += line
        self.head = head[:-4]
        self.fields = {name.strip().lower(): value.strip() for name, _, value in
                       (line.partition(":") for line in self.head.decode("latin-1").split("\r\n")[1:])}
        self.status = int(self.head.split(b" ")[1])

    def pieces(self, reader):
        if self.fields.get("transfer-encoding") == "chunked":
            while True:
                size = int(reader.readline(64).strip() or b"-1", 16)
                if size < 0:
                    raise ConnectionError("cut in a chunk")
                piece = reader.read(size) if size else b""
                if len(piece) < size or reader.read(2) != b"\r\n":
                    raise ConnectionError("cut in a chunk")
                if not size:
                    return
                yield piece
        left = int(self.fields.get("content-length", 0))
        while left:
            piece = reader.read(min(left, 65536))
            if not piece:
                raise ConnectionError("cut in the body")
            left -= len(piece)
            yield piece


class Client:
    """One thread's worth of trouble."""

    def __init__(self, world, kind, seed):
        self.world, self.kind, self.random = world, kind, random.Random(seed)
        self.thread = threading.Thread(target=self.run, daemon=True, name=kind)

    def run(self):
        work = getattr(self, "do_" + self.kind)
        while not self.world.over.is_set():
            try:
                work()
            except (OSError, ssl.SSLError, ConnectionError, ValueError):
                # Connections end in the middle here: suspensions, resets, our own doing. What must hold is checked at the end.
                time.sleep(0.02)

    def connect(self, tls=True):
        raw = socket.create_connection(self.world.address, timeout=20)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not tls:
            return raw
        try:
            return self.world.tls_context.wrap_socket(raw, server_hostname="model.example")
        except BaseException:
            raw.close()
            raise

    def head(self, method="POST", path="/v2/models/m/infer", test="echo", length=None, *fields, key=None):
        """Bodies that are no JSON go to KServe's path, where they are nobody's business."""
        lines = [f"{method} {path} HTTP/1.1", "Host: model.example", f"Authorization: Bearer {key or self.world.key}", f"X-Test: {test}"]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return "\r\n".join([*lines, *fields, "", ""]).encode()

    def stream_head(self, test):
        body = b'{"model":"m","prompt":"once","max_tokens":100,"stream":true}'
        return self.head("POST", "/v1/completions", test, len(body)) + body

    def ask(self, connection, reader, request, expected=None):
        """One whole exchange; gives (status, body)."""
        connection.sendall(request)
        answer = Answer(reader)
        body = hashlib.sha256()
        total = 0
        for piece in answer.pieces(reader):
            body.update(piece)
            total += len(piece)
        status = self.world.book.note(self.kind, answer.head, True)
        allowed = {403, 502, 503, 504} | (expected or {200})
        if status not in allowed:
            self.world.book.fault(self.kind, f"answered {status}: {answer.head[:200]!r}")
        return status, body.hexdigest(), total, answer

    def do_plain(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            for _ in range(self.random.randrange(1, 50)):
                body = self.random.randbytes(self.random.randrange(0, 4000))
                status, digest, _, _ = self.ask(connection, reader, self.head(length=len(body)) + body)
                if status == 200 and digest != hashlib.sha256(body).hexdigest():
                    self.world.book.fault(self.kind, "another body came back")
                if status != 200:
                    return time.sleep(0.05)

    def do_chunked(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            body = self.random.randbytes(20_000)
            pieces = [body[i:i + 777] for i in range(0, len(body), 777)]
            text = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
            status, digest, _, _ = self.ask(connection, reader, self.head("POST", "/v2/models/m/infer", "echo", None, "Transfer-Encoding: chunked") + text)
            if status == 200 and digest != hashlib.sha256(body).hexdigest():
                self.world.book.fault(self.kind, "another body came back")

    def do_slow(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            request = self.head(length=20) + b"x" * 20
            for i in range(0, len(request), 7):
                connection.sendall(request[i:i + 7])
                time.sleep(0.01)
            self.ask(connection, reader, b"")

    def do_half_open(self):
        """Says nothing, or half of something, and then goes away without a word."""
        connection = self.connect(tls=self.random.random() < 0.7)
        try:
            if self.random.random() < 0.5:
                connection.sendall(self.head(length=100)[: self.random.randrange(1, 100)])
            self.world.over.wait(self.random.random() * 2)
        finally:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    def do_cancels(self):
        connection = self.connect()
        try:
            with connection.makefile("rb") as reader:
                connection.sendall(self.stream_head("endless"))
                answer = Answer(reader)
                if answer.status != 200:
                    for _ in answer.pieces(reader):
                        pass
                    self.world.book.note(self.kind, answer.head, True)
                    return
                self.world.book.note(self.kind, answer.head, False)
                for _, _ in zip(answer.pieces(reader), range(self.random.randrange(1, 20))):
                    pass
        finally:
            if self.random.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    def do_streams(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            connection.sendall(self.stream_head("ticks"))
            answer = Answer(reader)
            body, whole = b"", False
            try:
                for piece in answer.pieces(reader):
                    body += piece
                whole = True
            finally:
                self.world.book.note(self.kind, answer.head, whole)
            if answer.status == 200 and not body.endswith(b"data: [DONE]\n\n") and b'data: {"error":' not in body:
                self.world.book.fault(self.kind, f"a stream ended properly and was not whole: {body[-80:]!r}")

    def do_pipelines(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            count = self.random.randrange(2, 8)
            connection.sendall(b"".join(self.head(length=1) + b"%d" % i for i in range(count)))
            for i in range(count):
                status, digest, _, answer = self.ask(connection, reader, b"")
                if status == 200 and digest != hashlib.sha256(b"%d" % i).hexdigest():
                    self.world.book.fault(self.kind, "answers in another order")
                if answer.fields.get("connection") == "close":
                    return

    def do_bad_keys(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            for key in ("tbk-wrong", "a.b.c", self.world.issuer.forged_token(), "x" * 5000):
                self.ask(connection, reader, self.head("GET", "/v1/models", key=key), {401})

    def do_tokens(self):
        token = self.world.issuer.token(subject=f"user-{self.random.randrange(50)}")
        with self.connect() as connection, connection.makefile("rb") as reader:
            for _ in range(5):
                self.ask(connection, reader, self.head(path="/v1/completions", length=2, key=token) + b"{}")

    def do_limited(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            for _ in range(20):
                status, _, _, answer = self.ask(connection, reader, self.head(length=2, key=self.world.limited_key) + b"{}", {200, 429})
                if status == 429 and int(answer.fields.get("retry-after", 0)) < 1:
                    self.world.book.fault(self.kind, "429 without retry-after")
                time.sleep(0.02)

    def do_closed_paths(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            for path in ("/metrics", "/invocations", "/v1/load_lora_adapter", "/v1/../metrics", "/%2e%2e/x"):
                status, _, _, _ = self.ask(connection, reader, self.head("GET", path))
                if status == 200:
                    self.world.book.fault(self.kind, f"{path} is open")

    def do_garbage(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            request = self.random.choice([
                self.random.randbytes(200) + b"\r\n\r\n", b"GET /v1/models HTTP/1.1\nHost: a\n\n", b"GET /v1/models HTTP/1.1\r\n\r\n",
                self.head(length=5)[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", self.head(length="1,1") + b"x",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"A" * 70_000, self.head("POST", "/v2/models/m/infer", "echo", None, "Transfer-Encoding: xchunked")])
            self.ask(connection, reader, request, {400, 401, 404, 405, 408, 431, 501, 505})

    def do_big_bodies(self):
        with self.connect() as connection, connection.makefile("rb") as reader:
            block, count = self.random.randbytes(1 << 16), 64
            connection.sendall(self.head(test="digest", length=len(block) * count))
            for _ in range(count):
                connection.sendall(block)
            status, _, total, answer = self.ask(connection, reader, b"")
            if status == 200 and (total != len(block) * count or answer.fields["x-digest"] != hashlib.sha256(block * count).hexdigest()):
                self.world.book.fault(self.kind, "a large body came out otherwise")

    def do_runtime_faults(self):
        test = self.random.choice(["reset_in_head", "reset_in_body", "reset_in_chunk", "both_lengths", "interim", "close", "early", "beyond", "switch"])
        with self.connect() as connection, connection.makefile("rb") as reader:
            connection.sendall(self.head(test=test, length=2) + b"{}")
            answer = Answer(reader)
            whole = False
            try:
                for _ in answer.pieces(reader):
                    pass
                whole = True
            finally:
                self.world.book.note(self.kind, answer.head, whole)


KINDS = [name.removeprefix("do_") for name in dir(Client) if name.startswith("do_")]
