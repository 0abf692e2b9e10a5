#!/usr/bin/env python3
"""Looks for pieces of a plaintext file in every file that was written on a disk since a moment.

    find_plaintext.py PLAINTEXT --since STAMP_FILE          every disk of the machine
    find_plaintext.py PLAINTEXT --in PATH [--in PATH …]     only these files or directories, also in memory
    … --key KEY_FILE                                        looks for this file key, too

Takes 64 pieces of 32 bytes, spread over the file and each with enough different bytes to be no accident. Prints a line
for each file that holds one, then how much was searched. Exit status 0: none found; 1: found; 2: nothing to search.
"""
import argparse
import mmap
import os
import subprocess
import sys

PIECES, PIECE_BYTES = 64, 32
MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
# No files of ours can lie there: views of the kernel, other machines, read-only images.
SKIPPED = MEMORY | {"proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "securityfs", "debugfs", "tracefs", "bpf", "pstore",
                    "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "autofs", "nsfs", "squashfs", "iso9660", "efivarfs",
                    "rpc_pipefs", "nfs", "nfs4", "cifs", "9p"}


def pieces_of(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        step = max(PIECE_BYTES, len(view) // (PIECES + 1))
        taken = {bytes(view[at:at + PIECE_BYTES]) for at in range(step, len(view) - PIECE_BYTES, step)}
    good = [piece for piece in taken if len(set(piece)) >= PIECE_BYTES // 4]
    if len(good) < PIECES // 4:
        sys.exit("find_plaintext: error: the file is too uniform to look for")
    return good


def forms_of(key_file):
    """The key as it could stand in a file: its bytes, and their hex in either case."""
    with open(key_file, encoding="ascii") as file:
        text = file.readline().strip()
    return [bytes.fromhex(text), text.lower().encode(), text.upper().encode()]


def disks():
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        rows = [line.split() for line in mounts]
    return [row[1].replace("\\040", " ") for row in rows if row[2] not in SKIPPED and not row[2].startswith("fuse.")]


def written_since(stamp):
    listed = subprocess.run(["find", *disks(), "-xdev", "-type", "f", "-newer", stamp, "-readable", "-print0"],
                            capture_output=True, check=False)
    return {os.fsdecode(name) for name in listed.stdout.split(b"\0") if name}


def below(path):
    if os.path.isfile(path):
        return {path}
    return {os.path.join(top, name) for top, _, names in os.walk(path) for name in names}


def holds(path, pieces):
    """(bytes searched, whether one of the pieces is there); a file that went away or shrank holds nothing."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size == 0:
                return 0, False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return size, any(view.find(piece) >= 0 for piece in pieces)
    except (OSError, ValueError):
        return 0, False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plaintext")
    parser.add_argument("--since", help="a file: what was written after it is searched")
    parser.add_argument("--in", dest="places", action="append", default=[])
    parser.add_argument("--key")
    given = parser.parse_args()
    pieces = pieces_of(given.plaintext) + (forms_of(given.key) if given.key else [])
    paths = set().union(*(below(place) for place in given.places))
    if given.since:
        paths |= written_since(given.since)
    searched, found = 0, []
    for path in sorted(paths):
        size, hit = holds(path, pieces)
        searched += size
        if hit:
            found.append(path)
    for path in found:
        print(f"found in {path}")
    print(f"{len(paths)} files, {searched / 1e6:.1f} MB searched, {len(found)} with plaintext")
    if not paths:
        return 2
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
