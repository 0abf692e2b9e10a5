"""Usage errors exit 2 with a hint, near misses get a suggestion, and every command has an example in its help."""
import re

from scenario import check, equal, play


def commands(s, *path):
    text = s.tb(*path, "--help").out
    yield path, text
    if "Commands:" in text:
        for line in text.split("Commands:")[1].split("\n\n")[0].splitlines():
            if found := re.match(r"  ([a-z-]+)\b", line):
                yield from commands(s, *path, found[1])


def story(s):
    check(re.fullmatch(r"trustbridge \d+\.\d+\.\d+\n", s.tb("--version").out), "the version")
    seen = dict(commands(s))
    for verb in ("keygen", "encrypt", "decrypt", "verify", "inspect", "upload", "register", "doctor", "completion"):
        check((verb,) in seen, f"no command {verb}")
    for verb in ("create", "show", "list", "update", "suspend", "resume", "revoke", "leases", "evict"):
        check(("contract", verb) in seen, f"no command contract {verb}")
    for path, text in seen.items():
        example = re.search(r"Example:\n  (trustbridge .*)\n", text)
        check(example and example[1].startswith(" ".join(["trustbridge", *path])), f"no example in {path}: {text[-200:]}")
    check("did you mean trustbridge encrypt?" in s.tb("encrpt", rc=2).err, "no suggestion")
    check("did you mean trustbridge contract show?" in s.tb("contract", "shwo", rc=2).err, "no suggestion")
    check("a command is required" in s.tb(rc=2).err, "nothing given")
    check("see trustbridge decrypt --help" in s.tb("decrypt", "x", rc=2).err, "no hint")
    for arguments in (["decrypt"], ["encrypt", "x"], ["encrypt", "x", "--asset-id"], ["encrypt", "x", "--asset-id", "a", "--jobs", "0"],
                      ["encrypt", "x", "--asset-id", "a", "--chunk-bytes", "-1"], ["encrypt", "x", "--asset-id", "a", "--nonsense"],
                      ["encrypt", "x", "--in", "x", "--asset-id", "a"], ["encrypt", "--asset-id", "a"],
                      ["encrypt", "x", "--asset-id", "a", "--out", "-"], ["upload", "--encrypted-file", "x", "--store", "s3:x"],
                      ["keygen"], ["completion", "tcsh"], ["contract"], ["contract", "update"]):
        done = s.tb(*arguments, rc=2)
        equal(done.out, "", f"stdout of {arguments}")
        check("hint: " in done.err, f"no hint for {arguments}: {done.err}")
    for arguments, fault in ((["encrypt", "x", "--asset-id", "a", "--model-version", "-1"], "--model-version: -1 is less than 0"),
                             (["verify", "x", "--jobs", "0"], "--jobs: Value 0 not in range 1 to 1024"),
                             (["usage", "--by", "year"], "--by: year not in {hour,day,total}")):
        check(fault in s.tb(*arguments, rc=2).err, f"{fault}: {s.tb(*arguments, rc=2).err}")
    equal(s.fails("usage", 2, "decrypt").json()["error"]["code"], "malformed", "code")
    s.file("f", "x")
    for chunk_bytes in (1023, (64 << 20) + 1):
        s.fails("chunk_bytes_invalid", 4, "encrypt", "f", "--asset-id", "a", "--chunk-bytes", chunk_bytes)
    equal(s.names(), ["f"], "files")


play(story)
