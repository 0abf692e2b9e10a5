"""Elsewhere than on a terminal: a line every ten seconds, none with --quiet; stdout stays clean JSON."""
import concurrent.futures
import subprocess
import time

from scenario import check, equal, play


def slowly(s, *more):
    """Decrypts to a pipe that is read for eleven seconds."""
    process = s.start("decrypt", "b.tbenc", "--key-file", "b.tbenc.key", "--out", "-", *more, stdout=subprocess.PIPE,
                      stderr=subprocess.PIPE)
    total, end = 0, time.monotonic() + 11
    while piece := process.stdout.read1(1 << 20):
        total += len(piece)
        if time.monotonic() < end:
            time.sleep(0.25)
    error = process.stderr.read().decode()
    equal(process.wait(), 0, "exit status")
    equal(total, 120 << 20, "bytes")
    return error


def story(s):
    s.sparse("big", 120 << 20)
    done = s.tb("encrypt", "big", "--asset-id", "b", "--out", "b.tbenc", "--json")
    equal(done.json()["plaintext_bytes"], 120 << 20, "plaintext_bytes")
    check("%" not in done.err, f"a short run showed progress: {done.err!r}")
    equal(s.tb("verify", "b.tbenc", "--key-file", "b.tbenc.key", "--quiet").err, "", "what --quiet says")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        loud, quiet = pool.submit(slowly, s), pool.submit(slowly, s, "--quiet")
        lines = [line for line in loud.result().splitlines() if " % " in line]
        equal(quiet.result(), "", "what --quiet shows")
    check(1 <= len(lines) <= 4, f"{len(lines)} lines: {lines}")
    check(lines[0].startswith("trustbridge: decrypt  ") and lines[0].endswith(" left") and "/s" in lines[0], lines[0])


play(story)
