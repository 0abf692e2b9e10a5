#!/usr/bin/env python3
"""Looks for pieces of a plaintext file in every file that was written on a disk since a moment.

    find_plaintext.py PLAINTEXT --since STAMP_FILE          every disk of the machine
    find_plaintext.py PLAINTEXT --in PATH [--in PATH …]     only these files, devices or directories, also in memory
    … --pattern                                             PLAINTEXT is itself the one piece to look for
    … --key KEY_FILE                                        looks for this file key, too
    … --machine                                             with --since: also where other programs write what they find
                                                            in memory: core dumps, the journal, swap, and files that
                                                            were deleted and are still held open

Takes 64 pieces of 32 bytes, spread over the file and each with enough different bytes to be no accident. Prints a line
for each file that holds one, and with --machine one for each such place or for its absence; then how much was searched.
Exit status 0: none found; 1: found; 2: nothing to search.
"""
import argparse
import glob
import mmap
import os
import stat
import subprocess
import sys

PIECES, PIECE_BYTES, MAX_PATTERN_BYTES = 64, 32, 4096
MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
# No files of ours can lie there: views of the kernel, other machines, read-only images.
SKIPPED = MEMORY | {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "securityfs", "debugfs", "tracefs", "bpf", "pstore",
                    "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "autofs", "nsfs", "squashfs", "iso9660", "efivarfs",
                    "rpc_pipefs", "nfs", "nfs4", "cifs", "9p"}
COLLECTED = ["/var/lib/systemd/coredump", "/var/crash", "/var/log/journal", "/run/log/journal"]
PACKED = (".zst", ".lz4", ".xz", ".gz")


def pieces_of(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        step = max(PIECE_BYTES, len(view) // (PIECES + 1))
        taken = {bytes(view[at:at + PIECE_BYTES]) for at in range(step, len(view) - PIECE_BYTES, step)}
    good = [piece for piece in taken if len(set(piece)) >= PIECE_BYTES // 4]
    if len(good) < PIECES // 4:
        sys.exit("find_plaintext: error: the file is too uniform to look for")
    return good


def pattern_of(path):
    with open(path, "rb") as file:
        pattern = file.read(MAX_PATTERN_BYTES + 1)
    if not PIECE_BYTES <= len(pattern) <= MAX_PATTERN_BYTES or len(set(pattern)) < PIECE_BYTES // 4:
        sys.exit("find_plaintext: error: the pattern is too short, too long or too uniform to look for")
    return pattern


def forms_of(key_file):
    """The key as it could stand in a file: its bytes, and their hex in either case."""
    with open(key_file, encoding="ascii") as file:
        text = file.readline().strip()
    return [bytes.fromhex(text), text.lower().encode(), text.upper().encode()]


def disks():
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        rows = [line.split() for line in mounts]
    return [row[1].replace("\\040", " ") for row in rows if row[2] not in SKIPPED and not row[2].startswith("fuse.")]


def written_since(stamp, places):
    """By the time of the last change of the inode: unlike that of its content, no program can set it."""
    listed = subprocess.run(["find", *places, "-xdev", "-type", "f", "-cnewer", stamp, "-readable", "-print0"],
                            capture_output=True, check=False)
    return {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}


def below(path):
    if not os.path.isdir(path):
        return {path}
    return {os.path.join(top, name) for top, _, names in os.walk(path) for name in names}


def core_place():
    """(what is to be said of it, directory or ""): where the kernel puts core dumps."""
    with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as file:
        pattern = file.read().strip()
    if pattern.startswith("|"):
        return f"core dumps go to a program, {pattern[1:].split()[0]}", ""
    if pattern.startswith("/"):
        return f"core dumps go to {os.path.dirname(pattern)}", os.path.dirname(pattern)
    return "core dumps go where the program was started, so to the disks", ""


def deleted_on_disks():
    """Files without a name that somebody holds open or mapped; of other users' processes only root sees them."""
    devices = {os.stat(place).st_dev for place in disks() if os.path.exists(place)}
    found = {}
    for link in glob.glob("/proc/[0-9]*/fd/*") + glob.glob("/proc/[0-9]*/map_files/*"):
        try:
            status = os.stat(link)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 0 and status.st_dev in devices:
            found.setdefault((status.st_dev, status.st_ino), link)
    return set(found.values())


def machine(stamp):
    """{place: its files} of what other programs keep, each said in a line."""
    said, directory = core_place()
    print(said)
    out = set()
    for place in dict.fromkeys([directory, *COLLECTED]):
        if place:
            there = written_since(stamp, [place]) if os.path.isdir(place) else None
            print(f"{place}: " + ("not there" if there is None else f"{len(there)} files since"))
            out |= there or set()
    deleted = deleted_on_disks()
    print(f"deleted files held open: {len(deleted)}" + ("" if os.geteuid() == 0 else ", of our own processes only"))
    with open("/proc/swaps", encoding="utf-8") as file:
        swaps = {line.split()[0] for line in file.readlines()[1:]}
    readable = {swap for swap in swaps if os.access(swap, os.R_OK)}
    print("swap: " + (", ".join(sorted(swaps)) if swaps else "none on this machine") +
          ("" if swaps == readable else ": NOT PROVEN, only root may search it"))
    return out | deleted | readable


def each_once(paths):
    """A disk may be mounted in several places."""
    once = {}
    for path in sorted(paths):
        try:
            status = os.stat(path)
        except OSError:
            continue
        once.setdefault((status.st_dev, status.st_ino), path)
    return list(once.values())


def holds(path, pieces):
    """(bytes searched, whether one of the pieces is there); a file that went away or shrank holds nothing."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                return 0, False
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as view:
                return size, any(view.find(piece) >= 0 for piece in pieces)
    except (OSError, ValueError):
        return 0, False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plaintext")
    parser.add_argument("--since", help="a file: what was written after it is searched")
    parser.add_argument("--in", dest="places", action="append", default=[])
    parser.add_argument("--pattern", action="store_true")
    parser.add_argument("--key")
    parser.add_argument("--machine", action="store_true")
    given = parser.parse_args()
    if given.machine and not given.since:
        parser.error("--machine needs --since")
    pieces = [pattern_of(given.plaintext)] if given.pattern else pieces_of(given.plaintext)
    pieces += forms_of(given.key) if given.key else []
    paths = set().union(*(below(place) for place in given.places))
    if given.since:
        paths |= written_since(given.since, disks())
    if given.machine:
        paths |= machine(given.since)
    searched, found, paths = 0, [], each_once(paths)
    for path in paths:
        size, hit = holds(path, pieces)
        searched += size
        if hit:
            found.append(path)
        elif given.machine and "trustbridge" in os.path.basename(path) and path.endswith(PACKED) and "core" in path:
            found.append(path + ", a packed core dump of ours, which cannot be searched")
    for path in found:
        print(f"found in {path}")
    print(f"{len(paths)} files, {searched / 1e6:.1f} MB searched, {len(found)} with plaintext")
    if not paths:
        return 2
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
