"""Every golden and broken file of tests/vectors through the real binary: the same verdict, and nothing of a refused one."""
import base64
import hashlib
import subprocess

from scenario import SOURCE, check, equal, play


def parse(path):
    head, _, rest = path.read_bytes().partition(b"\n\n")
    lines = head.decode().splitlines()
    fields = dict(line.split(": ", 1) for line in lines[1:])
    manifest = None
    if "manifest-bytes" in fields:
        size = int(fields["manifest-bytes"])
        manifest, rest = rest[:size], rest[size + 1:]
    return fields, manifest, base64.b64decode(rest) if rest.strip() else None


EXITS = {"malformed": 4, "truncated": 4, "tampered": 4, "denied": 3}
NOT_ASKED_BY_THE_CLI = ("metadata", "manifest-sha256", "manifest-repeat")


def arguments_of(s, fields, manifest):
    arguments = ["--key-file", "k"]
    if manifest is None:
        return [*arguments, "--no-manifest"]
    s.file("v.json", manifest)
    arguments += ["--manifest", "v.json"]
    if "asset-id" in fields:
        arguments += ["--asset-id", fields["asset-id"]]
    if "provider-key" in fields:
        raw = bytes.fromhex(fields["provider-key"])
        s.file("p.pub", base64.urlsafe_b64encode(raw).rstrip(b"=") + b"\n")
        arguments += ["--provider-key", "p.pub"]
    return arguments


def story(s):
    accepted = refused = 0
    for path in sorted((SOURCE / "tests/vectors/tbenc-v1").glob("*.vec")):
        fields, manifest, cipher = parse(path)
        if cipher is None or any(f.startswith("known-") or f in NOT_ASKED_BY_THE_CLI for f in fields):
            continue
        s.file("k", fields["key"] + "\n").chmod(0o600)
        s.file("v.tbenc", cipher)
        arguments = arguments_of(s, fields, manifest)
        unauthenticated = ["--allow-unauthenticated-manifest"] if "allow-unauthenticated" in fields else []
        decrypt = ["decrypt", "v.tbenc", "--out", "out", *arguments, *unauthenticated]
        if fields["expect"] == "ok":
            s.tb(*decrypt, "--raw")
            equal(hashlib.sha256((s.folder / "out").read_bytes()).hexdigest(), fields["plaintext-sha256"], path.name)
            (s.folder / "out").unlink()
            s.tb("verify", "v.tbenc", *arguments)
            accepted += 1
            continue
        exits = {EXITS[code] for code in fields["expect"].split("|")}
        verb = ["verify", "v.tbenc", *arguments] if fields["refused-at"] == "content" else decrypt
        done = s.start(*verb, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = done.communicate(timeout=60)
        check(done.returncode in exits, f"{path.name}: exit {done.returncode}, expected {exits}: {out} {err}")
        s.absent("out")
        refused += 1
    check(accepted >= 10 and refused >= 50, f"{accepted} accepted, {refused} refused: where are the vectors?")


play(story)
