"""register, contract and upload against a control plane that is not ours: what is sent, and how bad answers are taken."""
import http.server
import json
import threading

from scenario import check, equal, play


class Peer(http.server.BaseHTTPRequestHandler):
    """Keeps every request; answers what the scenario has put into `script` for a method and path, in order."""
    seen, script = [], {}

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Peer.seen.append((self.command, self.path, dict(self.headers), body))
        answers = Peer.script.get((self.command, self.path.split("?")[0])) or [(404, {"code": "not_found", "detail": "no such route"})]
        status, value = answers.pop(0) if len(answers) > 1 else answers[0]
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        if status in (429, 503):
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


def last(method):
    return next(r for r in reversed(Peer.seen) if r[0] == method)


def story(s):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Peer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    s.asset("my-model", out="model.tbenc")
    s.file("token", "tbp_secret-token\n").chmod(0o600)
    at = ["--edc-endpoint", f"http://127.0.0.1:{server.server_port}", "--token-file", "token"]
    key = (s.folder / "model.tbenc.key").read_text()[:64]
    register = ["register", "--manifest", "model.manifest.json", "--key-file", "model.tbenc.key", *at]

    Peer.script = {("POST", "/api/v1/assets/register"): [(503, b"busy"), (201, {"asset_id": "my-model"})]}
    done = s.tb(*register, "--blob-url", "https://blobs.example/models/my-model/model.tbenc")
    equal(done.out, "my-model\n", "stdout")
    check("trying again" in done.err and "TLS alone protects" in done.err, done.err)
    check(key not in done.out + done.err and "tbp_secret" not in done.out + done.err, "a secret was printed")
    _, _, headers, body = last("POST")
    equal(headers["Authorization"], "Bearer tbp_secret-token", "token")
    sent = json.loads(body)
    manifest = json.loads((s.folder / "model.manifest.json").read_text())
    equal(sent["blob_urls"], {"ciphertext": "https://blobs.example/models/my-model/model.tbenc",
                              "manifest": "https://blobs.example/models/my-model/model.manifest.json"}, "blob_urls")
    equal((sent["decryption_key_hex"], sent["asset_id"], sent["manifest"]), (key, "my-model", manifest), "kept fields")
    equal(sorted(sent["metadata"]), ["algo", "chunk_bytes", "format", "plaintext_bytes", "sha256_ciphertext"], "metadata")

    Peer.script = {("POST", "/api/v1/assets/register"): [(201, {"asset_id": "my-model"})] * 3}
    place = ["--storage-account", "acct", "--prefix", "live"]
    for flags, at_ in ((place, "https://acct.blob.core.windows.net/models/live/my-model/"),
                       ([*place, "--container", "other"], "https://acct.blob.core.windows.net/other/live/my-model/"),
                       ([*place, "--endpoint", "http://127.0.0.1:1/{account}"], "http://127.0.0.1:1/acct/models/live/my-model/")):
        s.tb(*register, *flags)
        equal(json.loads(last("POST")[3])["blob_urls"], {"ciphertext": at_ + "model.tbenc", "manifest": at_ + "model.manifest.json"}, "place")

    blob = ["--blob-url", "https://b/m"]
    for status, answer, reason, rc in ((409, {"code": "asset_conflict", "detail": "other content"}, None, 7),
                                       (401, {"code": "x", "detail": "y"}, "permission_denied", 3), (403, b"<html>", "permission_denied", 3),
                                       (404, b"", "not_found", 5), (302, b"", "bad_request", 4), (200, b"<html>", "answer_malformed", 4)):
        Peer.script = {("POST", "/api/v1/assets/register"): [(status, answer)]}
        refused = s.tb(*register, *blob, "--json", rc=rc)
        check(reason is None or refused.reason() == reason, f"{status}: {refused.out}")
    check(not any(path == "/elsewhere" for _, path, _, _ in Peer.seen), "a redirect was followed")
    count = len(Peer.seen)
    s.tb("keygen", "--out", "other.key")
    s.fails("mac_mismatch", 4, "register", "--manifest", "model.manifest.json", "--key-file", "other.key", *at, *blob)
    s.fails("asset_mismatch", 4, *register, *blob, "--asset-id", "another")
    s.fails("usage", 2, *register)
    s.fails("usage", 2, *register, *blob, "--key-hex", key)
    s.fails("usage", 2, *register, "--blob-url", "https://b/m?sig=1")
    s.fails("usage", 2, *register, *blob, *place)
    s.fails("usage", 2, *register, "--store", "cp:", *place)
    s.fails("usage", 2, *register, *place, "--container", "Not-One")
    s.fails("usage", 2, *register, *place, "--endpoint", "https://blob.example")
    equal(len(Peer.seen), count, "requests after refusals that need no control plane")

    create = ["contract", "create", "--consumer", "acme", "--asset-id", "a", "--asset-id", "b", "--not-after", "30d", "--max-seats",
              2, "--hardware", "pin_first", "--no-allow-finetune", "--allowed-path", "/v1/models", *at]
    Peer.script = {("POST", "/api/v1/contracts"): [(201, {"contract_id": "c-1", "state": "active", "activation_token": "tba_once"})]}
    s.fails("usage", 2, *create)
    done = s.tb(*create, "--activation-token-file", "acme.token", "--json")
    equal((s.folder / "acme.token").read_text(), "tba_once\n", "token file")
    equal((s.folder / "acme.token").stat().st_mode & 0o777, 0o600, "mode of the token file")
    check("tba_once" not in done.out + done.err, "the token was printed")
    terms = json.loads(last("POST")[3])
    equal({k: v for k, v in terms.items() if k != "not_after"},
          {"consumer": "acme", "asset_ids": ["a", "b"], "max_seats": 2, "hardware": "pin_first", "allow_finetune": False,
           "allowed_paths": ["/v1/models"]}, "terms: what was not given is not sent")
    count = len(Peer.seen)
    s.fails("output_exists", 7, *create, "--activation-token-file", "acme.token")
    s.fails("usage", 2, *create[:-4], "--not-before", "soon", *at, "--activation-token-file", "t")
    equal(len(Peer.seen), count, "requests after refusals")
    Peer.script = {("POST", "/api/v1/contracts"): [(503, b"")]}
    s.tb(*create, "--activation-token-file", "t", rc=6)
    equal(len(Peer.seen), count + 1, "a contract is never made twice: requests")
    s.absent("t")

    Peer.script = {("GET", "/api/v1/contracts"): [(200, {"items": [{"contract_id": "c-1"}], "next_cursor": "a b"}),
                                                  (200, {"items": [{"contract_id": "c-2"}]})]}
    listed = s.tb("contract", "list", *at, "--json").json()
    equal([c["contract_id"] for c in listed["items"]], ["c-1", "c-2"], "pages")
    equal(last("GET")[1], "/api/v1/contracts?cursor=a%20b", "the cursor")
    s.tb("contract", "show", "../../x", *at, rc=5)
    equal(last("GET")[1], "/api/v1/contracts/..%2F..%2Fx", "an id stays one part of the path")
    s.fails("url_refused", 3, "contract", "list", "--edc-endpoint", "http://192.0.2.1", "--token-file", "token")
    (s.folder / "token").chmod(0o644)
    s.fails("file_mode_unsafe", 3, "contract", "list", *at)
    server.shutdown()


play(story)
