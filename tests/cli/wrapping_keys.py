"""A wrapping key is replaced while the control plane serves: `register` seals to the newest, and nobody pins anew."""
import json

from control_plane_process import ControlPlane
from scenario import check, equal, play


def story(s):
    plane = ControlPlane(s)
    try:
        (s.folder / "token").write_text(plane.run("token", "create", "--role", "provider", "--tenant", "acme"))
        (s.folder / "cp.pub").write_text(plane.run("identity"))
        for secret in ("token", "cp.pub"):
            (s.folder / secret).chmod(0o600)
        url = plane.start()
        at = ["--edc-endpoint", url, "--token-file", "token", "--control-plane-key", "cp.pub"]

        def register(name):
            s.asset(name, out=name + ".tbenc")
            return ["register", "--manifest", name + ".manifest.json", "--key-file", name + ".tbenc.key", "--blob-url",
                    "https://blobs.example/" + name, *at]

        def keys():
            return [tuple(line.split("  ")[i].strip() for i in (0, -1)) for line in plane.run("keys", "list").splitlines()]

        identity = plane.run("identity")
        [(first, state)] = keys()
        equal(state, "newest", "the only key")
        s.tb(*register("a"))
        plane.run("keys", "retire-wrapping", "--", first, rc=7)
        plane.run("keys", "retire-wrapping", "--", "-" + first[1:], rc=5)  # one in 64 begins so
        second = plane.run("keys", "rotate-wrapping").strip()
        equal(keys(), [(second, "newest"), (first, "accepted")], "after the rotation")
        items = json.loads(plane.run("keys", "list", "--json"))["items"]
        equal([(item["kid"], item["state"], "created_at" in item) for item in items],
              [(second, "newest", True), (first, "accepted", False)], "the same as JSON")
        s.tb(*register("b"))
        plane.run("keys", "retire-wrapping", "--", first)
        plane.run("keys", "retire-wrapping", "--", first, rc=5)
        equal(keys(), [(second, "newest")], "after the retirement")
        s.tb(*register("c"))
        equal(plane.run("identity"), identity, "the identity key stays")
        check("records" in plane.run("events", "verify"), "the event log verifies")
    finally:
        plane.stop()


play(story)
