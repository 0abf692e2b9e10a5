"""audit verify, prove and tail on a file: a log that another implementation wrote and signed, and every way to spoil it."""
import base64
import signal
import subprocess
import time

import merkle
from scenario import check, equal, play


def records(count):
    return [{"ts": f"2026-11-26T00:00:{i % 60:02}.000Z", "method": "POST", "path": "/v1/chat/completions", "status": 200, "n": i}
            for i in range(count)]


def write(s, lines, name="audit.jsonl"):
    return s.file(name, b"".join(line + b"\n" for line in lines))


def proofs(s, lines, signer):
    for seq in (0, 5, 255, 256, 299):
        s.tb("audit", "prove", "audit.jsonl", "--record", seq, "--key", "audit.pub", "--out", f"{seq}.tlog-proof")
        text = (s.folder / f"{seq}.tlog-proof").read_text()
        record, index, hashes, checkpoint = merkle.parse_proof(text)
        origin, size, root = merkle.verify_note(checkpoint, signer.origin("audit"), signer.public)
        equal((record, index, size), (lines[seq], seq, "300"), "what the proof is of")
        check(merkle.verify_inclusion(record, seq, 300, hashes, base64.b64decode(root)), f"proof of {seq} does not hold")
        done = s.tb("audit", "verify", "--proof", f"{seq}.tlog-proof", "--key", "audit.pub", "--json").json()
        equal((done["record"].encode(), done["index"]), (lines[seq], seq), "the proven record")
        s.file("bad.tlog-proof", text.replace(f"index {seq}\n", f"index {(seq + 1) % 300}\n"))
        s.fails("proof_mismatch", 4, "audit", "verify", "--proof", "bad.tlog-proof", "--key", "audit.pub")
        other = base64.b64encode(record.replace(b"200", b"403")).decode()
        s.file("bad.tlog-proof", text.replace(base64.b64encode(record).decode(), other))
        s.fails("proof_mismatch", 4, "audit", "verify", "--proof", "bad.tlog-proof", "--key", "audit.pub")
    s.fails("note_unverified", 4, "audit", "verify", "--proof", "5.tlog-proof", "--key", "stranger.pub")
    s.fails("usage", 2, "audit", "verify", "--proof", "5.tlog-proof")
    s.fails("usage", 2, "audit", "prove", "audit.jsonl", "--record", 300, "--key", "audit.pub")
    s.file("bad.tlog-proof", "no proof\n")
    s.fails("proof_malformed", 4, "audit", "verify", "--proof", "bad.tlog-proof", "--key", "audit.pub")
    s.fails("output_exists", 7, "audit", "prove", "audit.jsonl", "--record", 5, "--key", "audit.pub", "--out", "5.tlog-proof")
    equal(s.tb("audit", "prove", "audit.jsonl", "--record", 5, "--key", "audit.pub").out, (s.folder / "5.tlog-proof").read_text(), "stdout")


def spoiled(s, lines, signer):
    """Each change is told with its line; who rewrites the chain to match is told by the checkpoint."""
    at = ["audit", "verify", "spoiled.jsonl", "--checkpoint", "audit.jsonl.checkpoint", "--key", "audit.pub"]

    def told(changed, line):
        write(s, changed, "spoiled.jsonl")
        message = s.fails("chain_broken", 4, *at).json()["error"]["message"]
        check(message.startswith(f"spoiled.jsonl line {line}: "), message)

    told(lines[:9] + [lines[9].replace(b"200", b"403")] + lines[10:], 11)
    told(lines[:9] + lines[10:], 10)
    told(lines[:9] + [lines[10], lines[9]] + lines[11:], 10)
    told(lines[:9] + [lines[9]] + lines[9:], 11)
    told(lines[:9] + [b"not json"] + lines[10:], 10)
    told(lines[:9] + [b""] + lines[9:], 10)
    s.file("spoiled.jsonl", b"\n".join(lines))
    check("line 300: record 299 is cut short" in s.fails("chain_broken", 4, *at).out, "a cut line")
    rewritten = records(300)
    rewritten[9]["status"] = 403
    write(s, merkle.chain(rewritten), "spoiled.jsonl")
    s.fails("log_forked", 4, *at)
    write(s, lines[:299], "spoiled.jsonl")
    check("299" in s.fails("log_forked", 4, *at).out, "a log cut at its end")
    write(s, lines[:299], "unsigned.jsonl")
    check("no checkpoint" in s.tb("audit", "verify", "unsigned.jsonl").err, "a cut end without a checkpoint")
    s.file("short.checkpoint", signer.checkpoint(merkle.chain(rewritten)[:100]))
    s.fails("log_forked", 4, "audit", "verify", "audit.jsonl", "--checkpoint", "short.checkpoint", "--key", "audit.pub")
    s.fails("note_unverified", 4, "audit", "verify", "audit.jsonl", "--key", "stranger.pub")
    note = (s.folder / "audit.jsonl.checkpoint").read_text()
    s.file("bad.checkpoint", note.replace("\n300\n", "\n299\n"))
    s.fails("note_unverified", 4, "audit", "verify", "audit.jsonl", "--checkpoint", "bad.checkpoint", "--key", "audit.pub")
    s.file("bad.checkpoint", note.replace("\n300\n", "\n0300\n"))
    s.fails("checkpoint_malformed", 4, "audit", "verify", "audit.jsonl", "--checkpoint", "bad.checkpoint")
    s.file("bad.checkpoint", "")
    s.fails("note_malformed", 4, "audit", "verify", "audit.jsonl", "--checkpoint", "bad.checkpoint")


def watched(s, lines):
    out = s.tb("audit", "tail", "audit.jsonl", "-n", 2).out.splitlines()
    equal(len(out), 2, "lines of tail")
    check(out[1].startswith("2026-11-26T00:00:59.000Z method=POST") and "seq=299" in out[1] and "prev" not in out[1], out[1])
    equal(s.tb("audit", "tail", "audit.jsonl", "-n", 3, "--json").out.encode(), b"".join(x + b"\n" for x in lines[-3:]), "raw tail")
    s.file("log", lines[0] + b"\n\x1b[31mnot a record\n")
    check("\x1b" not in s.tb("audit", "tail", "log").out, "a log speaks to the terminal")
    process = s.start("audit", "tail", "-f", "log", "--json", stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.readline()
    with open(s.folder / "log", "ab") as log:
        log.write(lines[1] + b"\n")
    equal(process.stdout.readline(), lines[1] + b"\n", "what was appended")
    process.send_signal(signal.SIGINT)
    equal(process.wait(timeout=60), 0, "exit after an interrupt")


def in_parts(s, lines, signer, witness):
    """A log in three files; then the first is deleted, then the second."""
    folder = s.folder / "parts"
    write(s, lines[:100], "parts/audit-0000000000000000.jsonl")
    write(s, lines[100:107], "parts/audit-0000000000000100.jsonl")
    write(s, lines[107:], "parts/audit.jsonl")
    for first in (100, 107):
        s.file(f"parts/audit-{first:016}.cut", signer.cut(lines[:first]))
    s.file("parts/audit.jsonl.checkpoint", signer.checkpoint(lines))
    early = signer.checkpoint(lines[:150])
    s.file("parts/audit.jsonl.checkpoint-countersigned", early + witness.cosign(early, 1795651200))
    at = ["audit", "verify", "parts/audit.jsonl", "--key", "audit.pub", "--witness-key", "witness.pub"]

    def holds(first):
        done = s.tb(*at, "--json").json()
        equal((done["first"], done["records"], done["cosigned_records"]), (first, 300, 150), "what is left")
        check("ok: 150 of 300 records are countersigned" in s.tb(*at).out, "how far it is countersigned")
        for seq in {first, 150, 299}:
            s.tb("audit", "prove", "parts/audit.jsonl", "--record", seq, "--key", "audit.pub", "--out", "part.tlog-proof")
            record, index, hashes, checkpoint = merkle.parse_proof((s.folder / "part.tlog-proof").read_text())
            _, size, root = merkle.verify_note(checkpoint, signer.origin("audit"), signer.public)
            equal((record, index, size), (lines[seq], seq, "300"), "what the proof is of")
            check(merkle.verify_inclusion(record, seq, 300, hashes, base64.b64decode(root)), f"proof of {seq} after {first}")
            (s.folder / "part.tlog-proof").unlink()

    holds(0)
    (folder / "audit-0000000000000000.jsonl").unlink()
    holds(100)
    s.fails("usage", 2, "audit", "prove", "parts/audit.jsonl", "--record", 99, "--key", "audit.pub")
    (folder / "audit-0000000000000100.jsonl").unlink()
    holds(107)
    equal(s.tb("audit", "tail", "parts/audit.jsonl", "-n", 1, "--json").out.encode(), lines[-1] + b"\n", "tail")

    cut = folder / "audit-0000000000000107.cut"
    kept = cut.read_text()
    s.fails("note_unverified", 4, *at[:3], "--key", "stranger.pub")
    cut.write_text(merkle.Signer().cut(lines[:107]))
    s.fails("note_unverified", 4, *at)
    cut.write_text(kept.replace("prev ", "prev A", 1))
    s.fails("checkpoint_malformed", 4, *at)
    others = lines[:50] + merkle.chain(records(57))
    cut.write_text(signer.cut(others))
    s.fails("chain_broken", 4, *at)
    cut.write_text(kept)
    write(s, lines[107:150] + lines[151:], "parts/audit.jsonl")
    s.fails("chain_broken", 4, *at)
    write(s, lines[107:], "parts/audit.jsonl")
    (folder / "audit.jsonl.checkpoint").unlink()
    (folder / "audit.jsonl.checkpoint-countersigned").unlink()
    s.fails("log_forked", 4, "audit", "verify", "parts/audit.jsonl", "--key", "audit.pub")
    cut.unlink()
    s.fails("chain_broken", 4, "audit", "verify", "parts/audit.jsonl")


def followed(s, lines):
    """Who watches goes on in the next part."""
    write(s, lines[:2], "watched/audit.jsonl")
    process = s.start("audit", "tail", "-f", "watched/audit.jsonl", "--json", stdout=subprocess.PIPE)
    equal(process.stdout.readline() + process.stdout.readline(), lines[0] + b"\n" + lines[1] + b"\n", "what was there")
    with open(s.folder / "watched/audit.jsonl", "ab") as log:
        log.write(lines[2] + b"\n")
    (s.folder / "watched/audit.jsonl").rename(s.folder / "watched/audit-0000000000000000.jsonl")
    write(s, lines[3:5], "watched/audit.jsonl")
    equal([process.stdout.readline() for _ in range(3)], [line + b"\n" for line in lines[2:5]], "over the border")
    process.send_signal(signal.SIGINT)
    equal(process.wait(timeout=60), 0, "exit after an interrupt")


def story(s):
    signer, witness = merkle.Signer(), merkle.Signer()
    lines = merkle.chain(records(300))
    write(s, lines)
    s.file("audit.pub", signer.text())
    s.file("witness.pub", witness.text())
    s.tb("keygen", "--signing", "--out", "stranger")
    note = signer.checkpoint(lines)
    s.file("audit.jsonl.checkpoint", note + witness.cosign(note, 1795651200))
    s.file("audit.jsonl.checkpoint-older", signer.checkpoint(lines[:100]))
    verified = s.tb("audit", "verify", "audit.jsonl", "--key", "audit.pub", "--json").json()
    equal((verified["records"], verified["root"]), (300, merkle.root([merkle.leaf(x) for x in lines]).hex()), "root")
    equal([(c["size"], c["signed_by_key"]) for c in verified["checkpoints"]], [(300, True), (100, True)], "checkpoints")
    equal(verified["head"], merkle.leaf(lines[-1]).hex(), "head")
    check("signatures were not checked" in s.tb("audit", "verify", "audit.jsonl").err, "no warning without a key")
    both = ["--checkpoint", "audit.jsonl.checkpoint", "--key", "audit.pub", "--witness-key"]
    equal(s.tb("audit", "verify", "audit.jsonl", *both, "witness.pub", "--json").json()["checkpoints"][0]["cosigned_at"],
          "2026-11-26T00:00:00Z", "time of the cosignature")
    s.fails("note_unverified", 4, "audit", "verify", "audit.jsonl", *both, "audit.pub")
    partly = s.tb("audit", "verify", "audit.jsonl", "--key", "audit.pub", "--witness-key", "witness.pub", "--json").json()
    equal(partly["cosigned_records"], 300, "how far the log is countersigned")
    s.fails("note_unverified", 4, "audit", "verify", "audit.jsonl", "--checkpoint", "audit.jsonl.checkpoint-older", "--key",
            "audit.pub", "--witness-key", "witness.pub")
    s.file("lies.checkpoint", (note + witness.cosign(note, 1)).replace("\n300\n", "\n299\n"))
    s.fails("note_unverified", 4, "audit", "verify", "audit.jsonl", "--checkpoint", "lies.checkpoint", "--witness-key", "witness.pub")
    write(s, [], "empty.jsonl")
    equal(s.tb("audit", "verify", "empty.jsonl", "--json").json()["records"], 0, "an empty log")
    s.fails("file_not_found", 5, "audit", "verify", "nothing.jsonl")
    s.fails("usage", 2, "audit", "verify")
    proofs(s, lines, signer)
    spoiled(s, lines, signer)
    watched(s, lines)
    in_parts(s, lines, signer, witness)
    followed(s, lines)


play(story)
