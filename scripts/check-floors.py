#!/usr/bin/env python3
"""Holds every #include of src/ against the floors: a folder includes itself and strictly lower floors only.

Holds some libraries to the places that may see them, too. Prints each breach as file:line and exits 1.
"""
import pathlib
import re
import sys

FLOORS = [
    {"base"},
    {"tbenc", "async", "obs", "api", "jose", "tlog", "sql"},
    {"asset", "http", "store"},
    {"blob", "attest", "meter", "oci", "oms"},
    {"azure", "hydrate", "deliver", "tpm"},
    {"cli", "controlplane", "sentinel"},
]
FLOOR = {folder: number for number, folders in enumerate(FLOORS) for folder in folders}

# What a line says, where in src/ that is allowed, and the reason.
PLACES = [
    (r"#include <boost/|\bboost::(asio|beast)\b|\bnet::io_context\b", r"async/|http/", "Asio and Beast"),
    (r"#include <curl/|\bcurl_easy_\w+\(", r"http/", "libcurl"),
    (r"#include <rapidjson/|\brapidjson::", r"base/json", "RapidJSON"),
    (r"#include <archive|\barchive_(read|write|entry)_\w+\(", r"asset/|azure/app/archive", "libarchive"),
    (r"#include <sqlite3\.h>|\bsqlite3_\w+\(", r"sql/sqlite", "SQLite"),
    (r"#include <libpq-fe\.h>|\bPQ[a-z]\w+\(", r"sql/postgres", "libpq"),
    (r"#include <fuse|\bfuse_(session|reply|req|lowlevel)_\w+\(", r"deliver/fuse_session", "libfuse"),
    (r"#include <pugixml|\bpugi::", r"azure/", "pugixml"),
    (r"#include <jose/", r"jose/", "libjose"),
    (r"#include <tss2/|\b(Esys|Tss2)_\w+\(", r"tpm/", "tpm2-tss"),
    (r"#include <nghttp2/|\bnghttp2_(session|submit|option)_\w+\(", r"sentinel/proxy/h2_(connection|client_test)", "nghttp2"),
    (r"#include <zlib\.h>|\b(deflate|inflate)\w*\(", r"oci/layer", "zlib"),
    (r"#include <intel-ipsec-mb|\bIMB_\w+", r"base/(crypto_gcm_vector|hmac_lanes)", "ipsec-mb"),
    (r"\bEVP_\w+\(", r"base/crypto_\w+\.cc|jose/|http/tls|attest/(crypto_\w+\.cc|snp_certificate)|oms/crypto_keys", "EVP_ calls"),
    (r"\bgetenv\(", r"\w+/(settings|config)\w*\.cc|cli/console\.cc|http/transfer\.cc|base/test_scale\.h", "getenv"),
]
# The format library that others embed: no sockets, clocks, logs; threads in the one file that uses all cores.
PURE = r"#include (<(thread|future|condition_variable|chrono|iostream|sys/socket\.h|spdlog/.*)>|\"base/clock\.h\")"


def breaches(path, name):
    folder = name.split("/")[0]
    test = name.endswith("_test.cc")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        code = line.split("//")[0]
        where = f"src/{name}:{number}"
        if included := re.match(r'\s*#\s*include\s+"([^"]+)"', line):
            other = included[1].split("/")[0]
            if "/" not in included[1] or other not in FLOOR:
                yield f'{where}: include it as "folder/file.h": {included[1]}'
            elif other != folder and FLOOR[other] >= FLOOR[folder]:
                yield f"{where}: {folder} (floor {FLOOR[folder]}) may not include {other} (floor {FLOOR[other]})"
        if test:
            continue
        for pattern, allowed, what in PLACES:
            if re.search(pattern, code) and not re.match(allowed, name):
                yield f"{where}: {what} may stand in {allowed} only"
        if folder in ("tbenc", "asset") and name != "tbenc/parallel.cc" and re.search(PURE, code):
            yield f"{where}: the format library knows no threads, clocks, sockets or logs: {code.strip()}"


def main():
    source = pathlib.Path(__file__).resolve().parent.parent / "src"
    files = sorted(p for p in source.rglob("*") if p.suffix in (".h", ".cc"))
    unknown = sorted({p.relative_to(source).parts[0] for p in files} - set(FLOOR))
    found = [f"src/{folder}: not in the floor table" for folder in unknown]
    for path in files:
        name = path.relative_to(source).as_posix()
        if name.split("/")[0] in FLOOR:
            found += breaches(path, name)
    for line in found:
        print(line, file=sys.stderr)
    print(f"check-floors: {len(files)} files, {len(found)} breaches")
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main())
