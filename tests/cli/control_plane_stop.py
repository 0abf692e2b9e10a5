"""The control plane as a service manager sees it: ready, told to stop, still serving, drained, ended with 0. And the console beside it:
what it does is seen by the running service, and nothing is lost.
"""
import json
import signal
import socket
import urllib.error
import urllib.request

from control_plane_process import ControlPlane
from scenario import check, equal, play


def status_of(url, token=None):
    request = urllib.request.Request(url)
    if token:
        request.add_header("Authorization", "Bearer " + token)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as refusal:
        return refusal.code


def service_manager(s):
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(s.folder / "notify"))
    manager.settimeout(60)
    return manager


def begin_upload(url, token, half, total):
    """A request of which only the first half has come."""
    host, port = url.removeprefix("http://").split(":")
    peer = socket.create_connection((host, int(port)), timeout=60)
    peer.sendall(f"PUT /api/v1/assets/m/blobs/manifest HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
                 f"Content-Length: {total}\r\n\r\n".encode() + half)
    return peer


def graceful(s):
    manager = service_manager(s)
    plane = ControlPlane(s, NOTIFY_SOCKET=str(s.folder / "notify"), TB_CP_STOP_DELAY_SECONDS="300")
    token = plane.run("token", "create", "--role", "provider", "--tenant", "acme-ai").strip()
    try:
        url = plane.start()
        equal(manager.recv(500), f"READY=1\nSTATUS=listening on {url}".encode(), "what the service manager is told first")
        equal([status_of(url + path) for path in ("/healthz", "/readyz")], [200, 200], "health")
        plane.process.terminate()
        equal(manager.recv(500), b"STOPPING=1\nSTATUS=stopping", "what it is told then")
        equal([status_of(url + path) for path in ("/healthz", "/readyz")], [200, 503], "health after SIGTERM")
        equal(status_of(url + "/api/v1/contracts", token), 200, "others are served on")
        peer = begin_upload(url, token, b"half of ", 16)
        # It is under way for certain once a later request of the same service has been answered.
        equal(status_of(url + "/healthz"), 200, "healthz")
        plane.process.terminate()
        # A listener that is gone is how it shows that it takes no more.
        for _ in range(600):
            try:
                status_of(url + "/healthz")
            except (urllib.error.URLError, ConnectionError):
                break
        peer.sendall(b"a small ")
        answer = peer.recv(65536)
        check(answer.startswith(b"HTTP/1.1 201 "), f"the request under way: {answer!r}")
        check(b"connection: close" in answer.lower(), f"it says that it ends: {answer!r}")
        equal(plane.process.wait(timeout=60), 0, "exit status")
        plane.process = None
    finally:
        plane.stop()


def watched(s):
    """With a watchdog: it is fed, a reload is told of as one, and it is fed while a stop is delayed, too."""
    (s.folder / "notify").unlink()
    manager = service_manager(s)
    plane = ControlPlane(s, NOTIFY_SOCKET=str(s.folder / "notify"), WATCHDOG_USEC="400000", TB_CP_STOP_DELAY_SECONDS="300")

    def next_but_food():
        while (said := manager.recv(500)) == b"WATCHDOG=1":
            pass
        return said

    try:
        url = plane.start()
        check(manager.recv(500).startswith(b"READY=1\n"), "ready")
        equal([manager.recv(500) for _ in range(3)], [b"WATCHDOG=1"] * 3, "it is fed")
        plane.process.send_signal(signal.SIGHUP)
        check(next_but_food().startswith(b"RELOADING=1\nMONOTONIC_USEC="), "a reload begins")
        equal(next_but_food(), b"READY=1", "and ends")
        equal(status_of(url + "/readyz"), 200, "it serves on")
        plane.process.terminate()
        equal(next_but_food(), b"STOPPING=1\nSTATUS=stopping", "the stop")
        equal([manager.recv(500) for _ in range(3)], [b"WATCHDOG=1"] * 3, "it is fed while it stops")
        plane.process.send_signal(signal.SIGHUP)  # does not cut the delay short
        equal(manager.recv(500), b"WATCHDOG=1", "still there")
        plane.process.terminate()
        equal(plane.process.wait(timeout=60), 0, "exit status")
        plane.process = None
    finally:
        plane.stop()


def console(s):
    """Tokens made and ended beside the service, again and again: each is seen at once, and all is there after a crash."""
    plane = ControlPlane(s)
    with plane:
        for i in range(4):
            token = plane.run("token", "create", "--role", "auditor", "--expires-in", "1h").strip()
            equal(status_of(plane.url + "/api/v1/contracts", token), 200, f"token {i}")
            newest = json.loads(plane.run("token", "list", "--json"))["items"][-1]
            check(newest["expires_at"] > newest["created_at"], f"{newest}")
        ids = [item["token_id"] for item in json.loads(plane.run("token", "list", "--json"))["items"]]
        for token_id in ids:
            plane.run("token", "revoke", token_id)
        equal(status_of(plane.url + "/api/v1/contracts", token), 401, "a token that was ended")
        check((s.folder / "cp" / "control-plane.db-wal").exists(), "the log of the database went away under the service")
        provider = ["--edc-endpoint", plane.url, "--token-file", plane.token_file("provider", "--tenant", "acme-ai")]
        s.asset("n", out="n.tbenc")
        s.tb("upload", "--encrypted-file", "n.tbenc", "--store", "cp:", *provider)
        s.tb("register", "--manifest", "n.manifest.json", "--key-file", "n.tbenc.key", "--store", "cp:", *provider)
        plane.run("token", "list")
        plane.process.kill()
        plane.process.wait(timeout=60)
        plane.process = None
        plane.start()
        provider[1] = plane.url
        equal([a["asset_id"] for a in s.tb("asset", "list", *provider, "--json").json()["items"]], ["n"], "assets after a crash")
        check("manifest_sha256" in s.tb("asset", "show", "n", *provider).out, "asset show")
        s.tb("asset", "delete", "n", *provider)
        s.fails("asset_not_found", 5, "asset", "show", "n", *provider)
        plane.run("events", "verify")
        operator = ["--edc-endpoint", plane.url, "--token-file", plane.token_file("operator")]
        s.fails("usage", 2, "asset", "show", "n", *operator)
        equal(s.tb("asset", "list", "--tenant", "acme-ai", *operator, "--json").json()["items"], [], "an operator's view")
        types = [json.loads(line)["type"] for line in s.tb("events", *operator, "--json").out.splitlines()]
        check("asset_deleted" in types and types.count("token_revoked") == len(ids), f"{types}")
        equal(s.tb("events", "--type", "asset_deleted", *operator).out.count("\n"), 1, "events of one type")


def story(s):
    graceful(s)
    watched(s)
    console(s)


play(story)
