"""contract simulate against the real control plane: what other terms would have refused, and that nothing changes.

The sentinel here is the scenario itself, as the first implementation speaks: a contract of `key_release: plain` makes room
for it, so that no key of its own and no proof are needed.
"""
import json
import urllib.error
import urllib.request

from control_plane_process import ControlPlane
from scenario import check, equal, play


def authorize(url, token, hw_id):
    """(status, answer) of a first authorize."""
    body = {"contract_id": "c-1", "asset_id": "m", "hw_id": hw_id, "client_version": "0.1.0"}
    request = urllib.request.Request(f"{url}/api/v1/license/authorize", data=json.dumps(body).encode(), method="POST")
    request.add_header("Authorization", "Bearer " + token)
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def story(s):
    with ControlPlane(s) as plane:
        journey(s, plane)


def journey(s, plane):
    at = ["--edc-endpoint", plane.url, "--token-file", plane.token_file("provider", "--tenant", "acme-ai")]
    s.asset("m", out="m.tbenc")
    s.tb("upload", "--encrypted-file", "m.tbenc", "--store", "cp:", *at)
    s.tb("register", "--manifest", "m.manifest.json", "--key-file", "m.tbenc.key", "--store", "cp:", *at)
    s.tb("contract", "create", "--contract-id", "c-1", "--consumer", "acme", "--asset-id", "m", "--not-after", "30d", "--max-seats", 2,
         "--key-release", "plain", "--activation-token-file", "c-1.token", *at)
    token = (s.folder / "c-1.token").read_text().splitlines()[0]
    equal([authorize(plane.url, token, hw)[0] for hw in ("aa", "bb", "cc")], [200, 200, 403], "authorize")

    simulate = ["contract", "simulate", "c-1", *at]
    before = [s.tb("contract", "show", "c-1", *at, "--json").json(), s.tb("events", *at, "--json").out]
    fewer = s.tb(*simulate, "--max-seats", 1, "--since", "7d", "--json").json()
    equal((fewer["replayed"], fewer["newly_refused"]["by_reason"], fewer["newly_allowed"]["requests"]), (3, {"seat_limit": 1}, 0), "fewer")
    equal([(e["hw_id"], e["from"], e["to"]) for e in fewer["examples"]], [("bb", "granted", "seat_limit")], "examples")
    table = s.tb(*simulate, "--max-seats", 3)
    check("would be allowed" in table.out and "seat_limit -> granted  cc" in table.out, table.out)
    equal(table.err, "", "warnings")
    listed = s.tb(*simulate, "--hardware", "aa", "--json").json()
    equal((listed["newly_refused"]["by_reason"], listed["refused_otherwise"]["by_reason"]),
          ({"hardware_mismatch": 1}, {"hardware_mismatch": 1}), "listed hardware")
    ended = ["--not-before", "2020-01-01T00:00:00Z", "--not-after", "2020-01-02T00:00:00Z"]
    equal(s.tb(*simulate, *ended, "--at-now", "--json").json()["newly_refused"]["requests"], 2, "ended by now")
    equal(s.tb(*simulate, "--max-seats", 1, "--until", "1d", "--json").json()["events"], 0, "requests until a day ago")
    after = [s.tb("contract", "show", "c-1", *at, "--json").json(), s.tb("events", *at, "--json").out]
    equal(after, before, "contract and events after the simulations")

    s.fails("usage", 2, *simulate)
    s.fails("usage", 2, *simulate, "--max-seats", 1, "--since", "lately")
    s.fails("contract_invalid", 2, *simulate, "--max-seats", 0)
    s.fails("contract_not_found", 5, "contract", "simulate", "none", "--max-seats", 1, *at)


play(story)
