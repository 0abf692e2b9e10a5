"""Registries for the scenarios of `build`: Debian's own docker-registry on a free port (open, with users, or with tokens), a
token server for it, and a proxy before it that drops connections."""
import base64
import crypt
import datetime
import http.server
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from scenario import check, skip

USER, PASSWORD = "builder", "a word for this test"
BCRYPT_SALT = "$2b$05$abcdefghijklmnopqrstuu"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class RegistryProcess:
    def __init__(self, folder, name, auth=""):
        if not shutil.which("docker-registry"):
            skip("docker-registry is missing: scripts/deps.sh --what test")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        root = folder / name
        root.mkdir()
        config = root / "config.yml"
        config.write_text(f"version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {root}/data\n"
                          f"  delete:\n    enabled: true\nhttp:\n  addr: {self.host}\n{auth}")
        with open(root / "log", "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                check(self.process.poll() is None and time.monotonic() < deadline, f"the registry does not start: {(root / 'log').read_text()}")
                time.sleep(0.02)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)


def users(folder):
    """Its `auth` for one user."""
    path = folder / "htpasswd"
    path.write_text(f"{USER}:{crypt.crypt(PASSWORD, BCRYPT_SALT)}\n")
    return f"auth:\n  htpasswd:\n    realm: test\n    path: {path}\n"


class TokenServer:
    """Gives ES256 tokens that docker-registry believes, for user and password or a refresh token."""

    def __init__(self, folder):
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tokens")])
        now = datetime.datetime.utcnow()
        certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self.key.public_key()).serial_number(7)
                       .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
                       .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(self.key, hashes.SHA256()))
        self.der = certificate.public_bytes(serialization.Encoding.DER)
        self.bundle = folder / "tokens.pem"
        self.bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.asked, self.lifetime_s = [], 60
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def answer(self, query, known):
                outer.asked.append(query)
                scope = query.get("scope", [""])[0]
                body = json.dumps({"token": outer.token(scope)} if known else {"errors": []}).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                self.answer(urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query), self.headers.get("Authorization") == "Basic " + pair)

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.answer(form, form.get("refresh_token") == ["refresh+/=me"] and form.get("grant_type") == ["refresh_token"])

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def auth(self):
        """The registry's `auth` that sends clients here."""
        return f"auth:\n  token:\n    realm: {self.url}\n    service: test-registry\n    issuer: tokens\n    rootcertbundle: {self.bundle}\n"

    def token(self, scope):

        def part(value):
            raw = value if isinstance(value, bytes) else json.dumps(value).encode()
            return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

        access = []
        if scope:
            kind, repository, actions = scope.split(":")
            access = [{"type": kind, "name": repository, "actions": actions.split(",")}]
        now = int(time.time())
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(self.der).decode()]}
        claims = {"iss": "tokens", "sub": USER, "aud": "test-registry", "exp": now + self.lifetime_s, "nbf": now - 5, "iat": now,
                  "jti": os.urandom(8).hex(), "access": access}
        text = part(head) + "." + part(claims)
        r, s = utils.decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return text + "." + part(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    def close(self):
        self.server.shutdown()


class DroppingProxy:
    """Before a registry: cuts a connection after so many bytes of the client's, for as many connections as it is told to."""

    def __init__(self, port):
        self.upstream, self.cut_after, self.cuts, self.cut, self.sent = port, 0, 0, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        server = socket.create_connection(("127.0.0.1", self.upstream))
        threading.Thread(target=self.pump, args=(server, client, False), daemon=True).start()
        self.pump(client, server, True)

    def pump(self, source, target, from_client):
        passed = 0
        try:
            while piece := source.recv(65536):
                passed += len(piece)
                target.sendall(piece)
                if from_client:
                    self.sent += len(piece)
                    if self.cuts > 0 and passed > self.cut_after:
                        self.cuts -= 1
                        self.cut += 1
                        break
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.close()
