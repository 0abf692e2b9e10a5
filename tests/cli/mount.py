"""mount shows a file and a model directory, read by every means; what is tampered is EIO; it ends clean, and after kill -9."""
import filecmp
import http.server
import json
import mmap
import os
import signal
import subprocess
import threading

from peer import safetensors
from scenario import check, equal, play, skip

CHUNK = 65536


def mounted(path):
    return any(line.split()[4] == str(path) for line in open("/proc/self/mountinfo", encoding="utf-8"))


class Mounted:
    """A running `trustbridge mount`, from the line that says it is there."""

    running = []

    def __init__(self, s, *arguments, directory="view"):
        self.path = s.folder / directory
        self.process = s.start("mount", *arguments, directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.running.append(self)
        line = self.process.stdout.readline().decode()
        if not line:
            error = self.process.stderr.read().decode()
            if "fuse" in error.lower() and "cannot be mounted" in error:
                skip(f"no FUSE here: {error}")
            check(False, f"mount: {error}")
        equal(line.strip(), directory, "what stdout says")
        check(mounted(self.path), "it says so before it is mounted")

    def end(self, rc=0, number=signal.SIGTERM):
        self.process.send_signal(number)
        error = self.process.communicate(timeout=60)[1].decode()
        equal(self.process.returncode, rc, f"exit status: {error}")
        check(not mounted(self.path), "still mounted")
        return error


def read_direct(path, size):
    """The whole file by O_DIRECT reads of 1 MiB."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    out, block = bytearray(), mmap.mmap(-1, 1 << 20)
    while len(out) < size:
        got = os.preadv(fd, [block], len(out))
        check(got > 0, f"a direct read at {len(out)} gives {got}")
        out += block[:got]
    os.close(fd)
    return bytes(out)


def one_file(s):
    plain = s.asset(size=3_000_017, chunk_bytes=CHUNK)
    want = plain.read_bytes()
    view = Mounted(s, "--in", "model.tbenc", "--key-file", "model.tbenc.key")
    equal(os.listdir(view.path), [plain.name], "entries")
    path = view.path / plain.name
    equal(subprocess.run(["cat", str(path)], capture_output=True, check=True).stdout == want, True, "cat")
    subprocess.run(["cmp", str(path), str(plain)], check=True)
    equal(read_direct(path, len(want)) == want, True, "O_DIRECT")
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        equal(mapped[:] == want, True, "mmap")
    wrong = []

    def reader(number):
        fd = os.open(path, os.O_RDONLY)
        for step in range(200):
            at = (number * 7919 + step * 104_729) % len(want)
            if os.pread(fd, 4096, at) != want[at:at + 4096]:
                wrong.append(at)
        os.close(fd)

    threads = [threading.Thread(target=reader, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(wrong, [], "64 readers at once")
    for refused in (lambda: open(path, "wb"), lambda: (view.path / "new").write_bytes(b""), lambda: os.unlink(path)):
        try:
            refused()
            check(False, "the mount can be written to")
        except OSError as error:
            equal(error.errno, 30, f"errno of {error}")
    s.fails("path_unsafe", 3, "mount", "--in", "model.tbenc", "--key-file", "model.tbenc.key", "view")
    with open(path, "rb") as held:
        view.end(number=signal.SIGINT)
        try:
            held.read()
            check(False, "a file that was open can still be read")
        except OSError:
            pass
    equal(s.names("view"), [], "what stays")


def directory(s):
    s.file("m/config.json", '{"architectures": ["LlamaForCausalLM"]}')
    s.file("m/blobs/shard1", safetensors({"a.weight": [640, 320]}))
    os.symlink("blobs/shard1", s.folder / "m/model-00001-of-00002.safetensors")
    s.file("m/model-00002-of-00002.safetensors", safetensors({"b.weight": [128, 32]}))
    os.chmod(s.file("m/run.sh", "#!/bin/sh\n"), 0o755)
    s.tb("encrypt", "m", "--asset-id", "llama", "--out", "dir.tbenc", "--chunk-bytes", 4096)
    view = Mounted(s, "--in", "dir.tbenc", "--manifest", "dir.manifest.json", "--key-file", "dir.tbenc.key")
    names = sorted(str(p.relative_to(view.path)) for p in view.path.rglob("*"))
    equal(names, sorted(str(p.relative_to(s.folder / "m")) for p in (s.folder / "m").rglob("*")), "the tree")
    for name in names:
        if (view.path / name).is_file():
            check(filecmp.cmp(view.path / name, s.folder / "m" / name, shallow=False), f"{name} is another")
    check(os.access(view.path / "run.sh", os.R_OK) and (view.path / "run.sh").stat().st_mode & 0o777 == 0o500, "mode")
    listing = ["tar", "-C", "x", "--sort=name", "--mtime=@0", "--mode=u=rX,go=", "--dereference",
               "--hard-dereference", "-cf", "-", "."]
    tars = []
    for root in (view.path, s.folder / "m"):
        listing[2] = str(root)
        tars.append(subprocess.run(listing, capture_output=True, check=True).stdout)
    equal(tars[0] == tars[1], True, "tar of the mount and of the model")
    subprocess.run(["umount", str(view.path)] if os.geteuid() == 0 else ["fusermount3", "-u", str(view.path)], check=True)
    equal(view.process.wait(timeout=60), 0, "exit status when somebody unmounts it")


def tampered(s):
    sealed = bytearray((s.folder / "model.tbenc").read_bytes())
    # Its last chunk but a few: the kernel's readahead would touch neighbours.
    record = CHUNK + 20
    sealed[32 + 40 * record + 1000] ^= 1
    s.file("bad.tbenc", bytes(sealed))
    view = Mounted(s, "--in", "bad.tbenc", "--manifest", "model.manifest.json", "--key-file", "model.tbenc.key")
    path = next(view.path.iterdir())
    want = (s.folder / path.name).read_bytes()
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    page = mmap.mmap(-1, 4096)
    for chunk in (0, 39, 41):
        os.preadv(fd, [page], chunk * CHUNK)
        equal(page[:] == want[chunk * CHUNK:chunk * CHUNK + 4096], True, f"chunk {chunk}")
    try:
        os.preadv(fd, [page], 40 * CHUNK)
        check(False, "a tampered chunk was given out")
    except OSError as error:
        equal(error.errno, 5, "errno of the tampered chunk")
    os.close(fd)
    error = view.end(rc=4)
    check("record 40" in error, error)


def wrong_key(s):
    s.tb("keygen", "--out", "other.key")
    s.fails("mac_mismatch", 4, "mount", "--in", "model.tbenc", "--key-file", "other.key", "view")
    # A manifest of the first implementation has no mac: the key shows to be wrong at the first chunk.
    document = (s.folder / "model.manifest.json").read_text()
    bare = {k: v for k, v in json.loads(document).items() if k not in ("mac", "nonce_prefix", "signatures")}
    s.file("bare.manifest.json", json.dumps(bare))
    flags = ["--in", "model.tbenc", "--manifest", "bare.manifest.json", "--key-file", "other.key"]
    s.fails("manifest_unauthenticated", 3, "mount", *flags, "view")
    view = Mounted(s, *flags, "--allow-unauthenticated-manifest")
    try:
        next(view.path.iterdir()).read_bytes()
        check(False, "a wrong key reads")
    except OSError as error:
        equal(error.errno, 5, "errno under a wrong key")
    check("not authenticated" in view.end(rc=4), "no warning")
    sealed = bytearray((s.folder / "model.tbenc").read_bytes())
    sealed[-1] ^= 1
    s.file("bad2.tbenc", bytes(sealed))
    s.fails("ciphertext_digest_mismatch", 4, "mount", "--in", "bad2.tbenc", *flags[2:], "--allow-unauthenticated-manifest", "view")


def places(s):
    flags = ["mount", "--in", "model.tbenc", "--key-file", "model.tbenc.key"]
    s.file("full/of/something", "x")
    s.fails("path_unsafe", 3, *flags, "full")
    s.fails("path_unsafe", 3, *flags, "model.tbenc")
    os.symlink("view", s.folder / "link")
    s.fails("path_unsafe", 3, *flags, "link")
    s.fails("usage", 2, "mount", "--in", "-", "--manifest", "model.manifest.json", "--key-file", "model.tbenc.key", "view")
    s.fails("file_not_found", 5, "mount", "--in", "no-such", "--key-file", "model.tbenc.key", "view")


class RangeStore:
    """A store of our own that answers byte ranges of the scenario's folder; a query must be the right one."""

    def __init__(self, folder):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                path, _, query = self.path.partition("?")
                name = folder / path.lstrip("/")
                if not name.is_file() or query not in ("", "sig=s3cret"):
                    self.send_error(404)
                    return
                content = name.read_bytes()
                span = self.headers.get("Range")
                body = content
                if span:
                    first, last = (int(n) for n in span.removeprefix("bytes=").split("-"))
                    body = content[first:last + 1]
                self.send_response(206 if span else 200)
                if span:
                    self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", '"one"')
                self.end_headers()
                self.wfile.write(body)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def behind_a_url(s):
    store = RangeStore(s.folder)
    view = Mounted(s, "--in", store.url + "/model.tbenc", "--key-file", "model.tbenc.key")
    path = next(view.path.iterdir())
    equal(path.read_bytes() == (s.folder / path.name).read_bytes(), True, "the model behind a URL")
    view.end()
    refused = s.fails("usage", 2, "mount", "--in", store.url + "/model.tbenc?sig=s3cret", "--key-file", "model.tbenc.key", "view")
    check("s3cret" not in json.dumps(refused.json()), "a signature in an error")
    url_file = s.file("url", store.url + "/model.tbenc?sig=s3cret\n")
    os.chmod(url_file, 0o644)
    flags = ["--in-url-file", "url", "--key-file", "model.tbenc.key"]
    s.fails("file_mode_unsafe", 3, "mount", *flags, "--manifest", "model.manifest.json", "view")
    os.chmod(url_file, 0o600)
    s.fails("usage", 2, "mount", *flags, "view")
    view = Mounted(s, *flags, "--manifest", "model.manifest.json")
    equal(path.read_bytes() == (s.folder / path.name).read_bytes(), True, "the model behind a signed URL")
    view.end()
    s.fails("blob_not_found", 5, "mount", "--in", store.url + "/none.tbenc", "--key-file", "model.tbenc.key", "view")
    s.fails("mac_missing", 3, "mount", "--in", store.url + "/model.tbenc", "--manifest", "bare.manifest.json",
            "--allow-unauthenticated-manifest", "--key-file", "model.tbenc.key", "view")
    sealed = bytearray((s.folder / "model.tbenc").read_bytes())
    sealed[32 + 5000] ^= 1
    s.file("bad3.tbenc", bytes(sealed))
    view = Mounted(s, "--in", store.url + "/bad3.tbenc", "--manifest", "model.manifest.json", "--key-file", "model.tbenc.key")
    try:
        next(view.path.iterdir()).read_bytes()
        check(False, "a tampered blob reads")
    except OSError as error:
        equal(error.errno, 5, "errno of a tampered blob")
    view.end(rc=4)
    store.server.shutdown()


def killed(s):
    flags = ["--in", "model.tbenc", "--key-file", "model.tbenc.key"]
    for _ in range(2):
        view = Mounted(s, *flags)
        next(view.path.iterdir()).read_bytes()
        view.process.kill()
        view.process.wait()
        check(mounted(view.path), "the kernel keeps the dead mount")
    view = Mounted(s, *flags)
    path = next(view.path.iterdir())
    equal(path.read_bytes() == (s.folder / path.name).read_bytes(), True, "after kill -9")
    view.end()


def story(s):
    try:
        one_file(s)
        directory(s)
        tampered(s)
        wrong_key(s)
        places(s)
        behind_a_url(s)
        killed(s)
    finally:
        for view in Mounted.running:
            if view.process.poll() is None:
                view.process.terminate()
                view.process.wait(timeout=60)


play(story)
