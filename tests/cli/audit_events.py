"""audit verify and prove against a real control plane, whose history is then exchanged for another; usage as it is reported."""
import base64
import hashlib
import json
import shutil
import time
import urllib.request

import merkle
from control_plane_process import ControlPlane
from scenario import check, equal, play


def post(url, path, token, value):
    request = urllib.request.Request(url + path, data=json.dumps(value).encode(), method="POST")
    request.add_header("Authorization", "Bearer " + token)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def report(s, url, at):
    """What a sentinel reports comes out of `usage`."""
    s.asset("m", out="m.tbenc")
    s.tb("register", "--manifest", "m.manifest.json", "--key-file", "m.tbenc.key", "--blob-url", "https://blobs.example/m", *at)
    s.tb("contract", "create", "--contract-id", "c", "--consumer", "acme", "--asset-id", "m", "--not-after", "30d", "--key-release",
         "plain", "--activation-token-file", "c.token", *at)
    token = (s.folder / "c.token").read_text().splitlines()[0]
    lease = post(url, "/api/v1/license/authorize", token,
                 {"contract_id": "c", "asset_id": "m", "hw_id": "hw", "client_version": "1"})["lease_id"]
    origin = b"o"
    record_id = hashlib.sha256(b"trustbridge/usage/v1" + len(origin).to_bytes(4, "big") + origin + (3).to_bytes(8, "big") +
                               (9).to_bytes(8, "big")).hexdigest()
    at_time = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    told = post(url, "/api/v1/usage", token, {"contract_id": "c", "lease_id": lease, "records": [
        {"id": record_id, "origin": "o", "first_seq": 3, "last_seq": 9, "from": at_time, "to": at_time, "usage": {"tokens": 77}}]})
    equal((told["counted"], told["gaps"][0]["missing_records"]), (1, 3), "what was counted")
    shown = s.tb("usage", "--contract", "c", "--by", "total", *at, "--json").json()
    equal([(i["dimension"], i["quantity"]) for i in shown["items"]], [("tokens", 77)], "usage")
    csv = s.tb("usage", "--csv", *at)
    check(csv.out.startswith("tenant,contract_id,") and csv.out.endswith(",77\r\n"), csv.out)
    check("3 records of o were never reported" in csv.err, csv.err)
    check("77" in s.tb("usage", *at).out, "the table")
    s.fails("usage", 2, "usage", "--by", "week", *at)
    s.fails("usage", 2, "usage", "--csv", *at)


def story(s):
    plane = ControlPlane(s)
    try:
        journey(s, plane)
    finally:
        plane.stop()


def journey(s, plane):
    for name, role in (("auditor", ["auditor"]), ("provider", ["provider", "--tenant", "acme-ai"])):
        s.file(f"{name}.token", plane.run("token", "create", "--role", *role)).chmod(0o600)
    s.file("cp.pub", plane.run("identity"))
    url = plane.start()

    def at(name):
        return ["--edc-endpoint", url, "--token-file", f"{name}.token"]

    def audit(name):
        return ["audit", "verify", "--control-plane", "--control-plane-key", "cp.pub", "--state", f"{name}.state", *at(name)]

    report(s, url, at("provider"))
    first = s.tb(*audit("auditor"), "--json").json()
    equal((first["whole"], "continues" in first), (True, False), "the first audit")
    plane.stop()
    shutil.copytree(s.folder / "cp", s.folder / "old")
    url = plane.start()
    for _ in range(4):
        s.tb("contract", "suspend", "c", *at("provider"))
        s.tb("contract", "resume", "c", *at("provider"))
    second = s.tb(*audit("auditor"), "--export", "events.jsonl", "--json").json()
    equal((second["whole"], second["continues"]), (True, first["checkpoint"]), "the second audit")
    own = s.tb(*audit("provider"), "--json").json()
    equal((own["whole"], own["events"] > 0), (False, True), "a tenant's own events")
    s.fails("role_denied", 3, *audit("provider"), "--export", "theirs.jsonl")

    # The exported log, by what knows nothing of ours.
    public = base64.urlsafe_b64decode((s.folder / "cp.pub").read_text().strip() + "=")
    lines = (s.folder / "events.jsonl").read_bytes().splitlines()
    origin, size, root = merkle.verify_note((s.folder / "events.jsonl.checkpoint").read_text(), second["checkpoint"]["origin"], public)
    equal((int(size), base64.b64decode(root)), (len(lines), merkle.root([merkle.leaf(line) for line in lines])), "checkpoint")
    equal(origin.split("/")[1], base64.urlsafe_b64encode(hashlib.sha256(public).digest()).decode().rstrip("="), "the origin's key")
    equal(s.tb("audit", "verify", "events.jsonl", "--key", "cp.pub", "--json").json()["records"], len(lines), "as a file")
    s.tb("audit", "prove", "--control-plane", "--record", 3, "--out", "3.tlog-proof", "--control-plane-key", "cp.pub", *at("auditor"))
    proven = s.tb("audit", "verify", "--proof", "3.tlog-proof", "--key", "cp.pub", "--json").json()
    equal(proven["record"].encode(), lines[3], "the proven event")
    s.fails("not_found", 5, "audit", "prove", "--control-plane", "--record", 0, "--control-plane-key", "cp.pub", *at("provider"))
    check(f"{len(lines)} records" in plane.run("events", "verify", "--checkpoint", str(s.folder / "events.jsonl.checkpoint")), "verify")

    # Another key is not the pinned one.
    s.tb("keygen", "--signing", "--out", "stranger")
    s.fails("note_unverified", 4, *[a if a != "cp.pub" else "stranger.pub" for a in audit("auditor")])
    s.fails("usage", 2, *audit("auditor")[:3], *at("auditor"))

    # The old database comes back: fewer events. Then it grows past the old size with others.
    plane.stop()
    shutil.rmtree(s.folder / "cp")
    shutil.copytree(s.folder / "old", s.folder / "cp")
    plane.run("events", "verify", "--checkpoint", str(s.folder / "events.jsonl.checkpoint"), rc=4)
    url = plane.start()
    s.fails("log_forked", 4, *audit("auditor"))
    for _ in range(10):
        s.tb("contract", "suspend", "c", *at("provider"))
        s.tb("contract", "resume", "c", *at("provider"))
    s.fails("log_forked", 4, *audit("auditor"))
    s.fails("log_forked", 4, *audit("provider"))


play(story)
