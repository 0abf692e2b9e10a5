"""RFC 6962 trees and C2SP notes, written from the specifications and from nothing of ours: what our logs are held against."""
import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def leaf(line):
    return hashlib.sha256(b"\0" + line).digest()


def root(leaves):
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()


def frontier(leaves):
    """Roots of the complete subtrees, largest first."""
    out = []
    while leaves:
        width = 1 << (len(leaves).bit_length() - 1)
        out.append(root(leaves[:width]))
        leaves = leaves[width:]
    return out


def chain(records):
    """The lines of a log: each with its number and the leaf hash of the line before."""
    lines, prev = [], bytes(32)
    for seq, record in enumerate(records):
        lines.append(json.dumps({**record, "seq": seq, "prev": prev.hex()}, separators=(",", ":")).encode())
        prev = leaf(lines[-1])
    return lines


class Signer:
    def __init__(self):
        self.private = Ed25519PrivateKey.generate()
        self.public = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def text(self):
        return base64.urlsafe_b64encode(self.public).rstrip(b"=").decode() + "\n"

    def origin(self, log):
        return "trustbridge/" + base64.urlsafe_b64encode(hashlib.sha256(self.public).digest()).rstrip(b"=").decode() + "/" + log

    def line(self, name, kind, signature):
        key_id = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + self.public).digest()[:4]
        return f"\u2014 {name} " + base64.b64encode(key_id + signature).decode() + "\n"

    def checkpoint(self, lines, origin=None):
        origin = origin or self.origin("audit")
        text = f"{origin}\n{len(lines)}\n{base64.b64encode(root([leaf(line) for line in lines])).decode()}\n"
        return text + "\n" + self.line(origin, 1, self.private.sign(text.encode()))

    def cut(self, lines):
        """What stands beside a part that begins after `lines`: docs/audit.md."""
        hashes = [leaf(lines[-1])] + frontier([leaf(line) for line in lines])
        prev, *rest = (base64.b64encode(each).decode() for each in hashes)
        return "\n".join(["trustbridge-cut v1", "prev " + prev, *rest]) + "\n\n" + self.checkpoint(lines)

    def cosign(self, note, seconds):
        text = note.split("\n\n")[0] + "\n"
        signature = self.private.sign(f"cosignature/v1\ntime {seconds}\n{text}".encode())
        return self.line(self.origin("witness"), 4, seconds.to_bytes(8, "big") + signature)


def verify_note(note, origin, public):
    """The lines of a note's text, once its signature by `public` under the name `origin` has verified."""
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    key_id = hashlib.sha256(origin.encode() + b"\n\1" + public).digest()[:4]
    for line in signatures.splitlines():
        dash, name, blob = line.split(" ")
        raw = base64.b64decode(blob)
        if (dash, name, raw[:4]) == ("\u2014", origin, key_id):
            Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
            return text.splitlines()
    raise ValueError("no signature by the key")


def verify_inclusion(record, index, size, hashes, expected):
    """By recursion over the split of RFC 6962 2.1.1, from the root down."""
    def climb(at, count, rest):
        if count == 1:
            return leaf(record), rest
        split = 1
        while split * 2 < count:
            split *= 2
        if at < split:
            below, rest = climb(at, split, rest)
            return hashlib.sha256(b"\1" + below + rest[0]).digest(), rest[1:]
        below, rest = climb(at - split, count - split, rest)
        return hashlib.sha256(b"\1" + rest[0] + below).digest(), rest[1:]
    found, rest = climb(index, size, hashes)
    return found == expected and not rest


def parse_proof(text):
    head, checkpoint = text.split("\n\n", 1)
    lines = head.split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1" or not lines[1].startswith("extra ") or not lines[2].startswith("index "):
        raise ValueError("no tlog-proof")
    return base64.b64decode(lines[1][6:]), int(lines[2][6:]), [base64.b64decode(line) for line in lines[3:]], checkpoint
