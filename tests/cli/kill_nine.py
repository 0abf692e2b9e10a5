"""kill -9 in the middle leaves nothing under a final name, and the next run works."""
import signal
import subprocess
import time

from scenario import check, equal, play


def kill_in_the_middle(s, *arguments):
    process = s.start(*arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if s.unfinished_bytes() > 1 << 20:
            break
        if any(q.is_file() and q.stat().st_size > 1 << 20 for p in s.folder.glob("*.partial") if p.is_dir() for q in p.rglob("*")):
            break
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    equal(process.wait(), -signal.SIGKILL, "the run ended before it was killed: exit status")
    if s.keeps_nameless_files():
        equal([p for p in s.folder.rglob("*.partial") if p.is_file()], [], "files left by the kill")
    for partial in list(s.folder.glob(".*.partial")):
        subprocess.run(["rm", "-rf", str(partial)], check=True)


def story(s):
    s.killed = True
    s.sparse("m/weights.safetensors", 700 << 20)
    encrypt = ["encrypt", "m", "--asset-id", "b", "--out", "b.tbenc"]
    kill_in_the_middle(s, *encrypt)
    s.absent("b.tbenc", "b.tbenc.key", "b.manifest.json")
    s.tb(*encrypt)
    decrypt = ["decrypt", "b.tbenc", "--key-file", "b.tbenc.key", "--out", "back"]
    kill_in_the_middle(s, *decrypt)
    s.absent("back")
    raw = ["decrypt", "b.tbenc", "--key-file", "b.tbenc.key", "--out", "back.tar", "--raw"]
    kill_in_the_middle(s, *raw)
    s.absent("back.tar")
    s.tb(*decrypt)
    equal((s.folder / "back/weights.safetensors").stat().st_size, 700 << 20, "size of the plaintext")
    # A key that was given had been claimed before it was killed: it stays claimed.
    s.tb("keygen", "--out", "given.key")
    kill_in_the_middle(s, "encrypt", "m", "--asset-id", "c", "--out", "c.tbenc", "--key-file", "given.key")
    check("# asset c" in (s.folder / "given.key").read_text(), "the claim")
    s.fails("key_already_used", 7, "encrypt", "m", "--asset-id", "c", "--out", "c.tbenc", "--key-file", "given.key")


play(story)
