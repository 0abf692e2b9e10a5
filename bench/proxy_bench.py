#!/usr/bin/env python3
"""Our proxy against nginx in one run: the proxy on one core, load and runtime together in one thread on another.

Ways are interleaved within each round, so that whatever else the machine does hits all of them. Figures are medians of
the rounds; ratios are medians of the rounds' own ratios. CPU time is that of the proxy's threads, kernel work included.
"""
import argparse
import contextlib
import hashlib
import json
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PROXY_CORE, LOAD_CORE = "0", "1"
KIB, GIB = 1024, 1024**3

NGINX = """
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log error;
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s;
  tcp_nodelay on;
  keepalive_requests 100000000;
  client_max_body_size 0;
  client_body_buffer_size 128k;
  upstream runtime {{ server 127.0.0.1:{runtime}; keepalive 2048; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://runtime;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_buffering {buffering};
      proxy_request_buffering {request_buffering};
      proxy_read_timeout 3600s;
    }}
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def threads_of(pid):
    return [p for p in pathlib.Path(f"/proc/{pid}/task").iterdir()]


def cpu_seconds(pids):
    return sum(int((t / "schedstat").read_text().split()[0]) for pid in pids for t in threads_of(pid)) * 1e-9


def memory_kib(pids, what="Pss"):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(what + ":"):
                total += int(line.split()[1])
    return total


class Way:
    """A proxy under test."""

    def __init__(self, name, command, port, runtime, key="none", workers=False):
        self.name, self.port, self.runtime, self.key = name, port, runtime, key
        self.process = subprocess.Popen(["taskset", "-c", PROXY_CORE, *command], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit(f"proxy_bench: {name} does not listen")
            time.sleep(0.05)
        time.sleep(0.2)
        self.pids = [self.process.pid]
        if workers:
            listed = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, check=True, text=True)
            self.pids = [int(p) for p in listed.stdout.split()]

    def load(self, args, mode, *numbers):
        before = cpu_seconds(self.pids)
        got = load(args, self.runtime, self.port, mode, self.key, *numbers)
        got["proxy_cpu"] = cpu_seconds(self.pids) - before
        got["rate"] = got["count"] / got["seconds"]
        got["cpu_us"] = got["proxy_cpu"] / max(got["count"], 1) * 1e6
        return got

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def load_command(args, runtime, port, mode, key, *numbers):
    return ["taskset", "-c", LOAD_CORE, args.load, str(runtime), str(port), mode, key, *(str(n) for n in numbers)]


def load(args, runtime, port, mode, key, *numbers):
    done = subprocess.run(load_command(args, runtime, port, mode, key, *numbers), capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit(f"proxy_bench: {done.stderr}")
    got = json.loads(done.stdout)
    if got["bad"]:
        sys.exit(f"proxy_bench: {got['bad']} bad answers: {done.stderr}")
    return got


def start(args, directory, name, buffering="on"):
    runtime, port = free_port(), free_port()
    place = pathlib.Path(directory) / name.replace(" ", "-")
    place.mkdir()
    if name.startswith("nginx"):
        for part in ("body", "proxy"):
            (place / part).mkdir()
        requests = "off" if "unbuffered" in name else "on"
        conf = place / "nginx.conf"
        conf.write_text(NGINX.format(dir=place, runtime=runtime, port=port, buffering=buffering,
                                     request_buffering=requests))
        return Way(name, ["nginx", "-c", str(conf), "-p", str(place), "-e", str(place / "nginx.log")], port, runtime,
                   workers=True)
    parts = name.split()[1:]
    way = Way(name, [args.gate, str(port), str(runtime), str(place), *parts], port, runtime)
    if "keys" in parts:
        way.key = (place / "key").read_text()
    return way


def median_of(rows, key):
    return statistics.median(row[key] for row in rows)


def ratio(rows, base, key):
    return statistics.median(a[key] / b[key] for a, b in zip(rows, base))


def in_turn(ways, number):
    """Every other round the other way round: what comes first must not always be the same."""
    return ways if number % 2 == 0 else ways[::-1]


def requests(args, directory, size, answer, ways):
    """Closed loop at 64 connections, then the same rate for all: 60 % of what nginx reached."""
    running = [start(args, directory, name) for name in ways]
    closed = {w.name: [] for w in running}
    paced = {w.name: [] for w in running}
    for number in range(args.rounds):
        for way in in_turn(running, number):
            closed[way.name].append(way.load(args, "requests", 64, args.seconds, size, answer, 0))
        rate = 0.6 * closed[ways[0]][-1]["rate"]
        for way in in_turn(running, number):
            paced[way.name].append(way.load(args, "requests", 64, args.seconds, size, answer, rate))
    for way in running:
        way.end()
    hashing = sha256_us(size) + sha256_us(answer)
    print(f"\nPOST of {size} bytes, answer of {answer}, 64 connections ({args.rounds} rounds of {args.seconds} s); "
          f"SHA-256 of both {hashing:.1f} us")
    print(f"  {'':34} {'rps':>8} {'ratio':>6} {'p50 us':>8} {'p99 us':>8} {'ratio':>6} | at 60 %: "
          f"{'cpu us':>7} {'ratio':>6} {'p50 us':>7} {'p99 us':>8} {'ratio':>6}")
    base_closed, base_paced = closed[ways[0]], paced[ways[0]]
    for name in ways:
        c, p = closed[name], paced[name]
        print(f"  {name:34} {median_of(c, 'rate'):8.0f} {ratio(c, base_closed, 'rate'):6.2f} {median_of(c, 'p50_us'):8.0f} "
              f"{median_of(c, 'p99_us'):8.0f} {ratio(c, base_closed, 'p99_us'):6.2f} |          "
              f"{median_of(p, 'cpu_us'):8.1f} {ratio(p, base_paced, 'cpu_us'):6.2f} {median_of(p, 'p50_us'):7.0f} "
              f"{median_of(p, 'p99_us'):8.0f} {ratio(p, base_paced, 'p99_us'):6.2f}")
    nginx_us = median_of(base_paced, "cpu_us")
    for name in ways:
        if "audit" in name:
            allowed = nginx_us + hashing
            print(f"  {name}: {allowed / median_of(paced[name], 'cpu_us') * 100:.0f} % of what nginx's CPU time and the "
                  f"hashing allow together ({allowed:.1f} us)")


def sha256_us(size):
    block, times = b"x" * size, []
    for _ in range(50):
        began = time.perf_counter()
        hashlib.sha256(block).digest()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


def events(args, directory, ways):
    """Latency of events through each proxy, less that of the same load without one."""
    running = [start(args, directory, name, buffering="off") for name in ways]
    rows = {name: [] for name in ["direct", *ways]}
    for number in range(args.rounds):
        port = free_port()
        rows["direct"].append(load(args, port, port, "streams", "none", 64, args.seconds, 4000, 0))
        for way in in_turn(running, number):
            rows[way.name].append(way.load(args, "streams", 64, args.seconds, 4000, 0))
    for way in running:
        way.end()
    print("\nserver-sent events, 64 streams, 4000 events a second in all: latency, and what the proxy adds")
    direct = rows["direct"]
    for name, row in rows.items():
        more = "" if name == "direct" else (
            f"   adds {median_of(row, 'p50_us') - median_of(direct, 'p50_us'):6.1f} and "
            f"{median_of(row, 'p99_us') - median_of(direct, 'p99_us'):6.1f}   cpu {median_of(row, 'cpu_us'):5.1f} us an event")
        print(f"  {name:34} p50 {median_of(row, 'p50_us'):7.1f} us   p99 {median_of(row, 'p99_us'):7.1f} us{more}")


def memory(args, directory, ways):
    print("\nmemory (proportional set size): idle, and what each of 1000 streams takes")
    for name in ways:
        way = start(args, directory, name, buffering="off")
        idle = memory_kib(way.pids)
        process = subprocess.Popen(load_command(args, way.runtime, way.port, "streams", way.key, 1000, 3, 2000, 4),
                                   stdout=subprocess.PIPE, text=True)
        most = 0
        while process.poll() is None:
            most = max(most, memory_kib(way.pids))
            time.sleep(0.2)
        if process.returncode != 0:
            sys.exit("proxy_bench: the streams failed")
        print(f"  {name:34} idle {idle / 1024:6.1f} MiB   a stream {(most - idle) / 1000:6.2f} KiB")
        way.end()


def bulk(args, directory, ways, size):
    print(f"\none body of {size / GIB:g} GiB")
    hashing = sha256_us(1 << 20) * size / (1 << 20) * 1e-6
    for mode in ("up", "down"):
        running = [start(args, f"{directory}/{mode}", name, buffering="off") for name in ways]
        rows, most = {w.name: [] for w in running}, {}
        for _ in range(args.rounds):
            for way in running:
                before = memory_kib(way.pids)
                process = subprocess.Popen(load_command(args, way.runtime, way.port, mode, way.key, size),
                                           stdout=subprocess.PIPE, text=True)
                cpu = cpu_seconds(way.pids)
                while process.poll() is None:
                    most[way.name] = max(most.get(way.name, 0), memory_kib(way.pids) - before)
                    time.sleep(0.05)
                got = json.loads(process.stdout.read())
                got["proxy_cpu"] = cpu_seconds(way.pids) - cpu
                got["rate"] = size / got["seconds"] / 1e9
                rows[way.name].append(got)
        for way in running:
            way.end()
        for name in ways:
            row, base = rows[name], rows[ways[0]]
            allowed = median_of(base, "proxy_cpu") + (hashing if "audit" in name else 0)
            print(f"  {mode:4} {name:34} {median_of(row, 'rate'):5.2f} GB/s   cpu {median_of(row, 'proxy_cpu'):5.2f} s   "
                  f"{allowed / median_of(row, 'proxy_cpu') * 100:4.0f} % of what nginx's cost"
                  f"{' and the hash' if 'audit' in name else ''} allow   memory +{most[name]} KiB")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--load", required=True)
    parser.add_argument("--gate", required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--only", default="small,large,events,memory,bulk")
    args = parser.parse_args()
    bare, full = "ours", "ours audit metrics keys metering leaks"
    parts = args.only.split(",")
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        for part in parts:
            for sub in (part, f"{part}/up", f"{part}/down"):
                (pathlib.Path(directory) / sub).mkdir()
            place = f"{directory}/{part}"
            if part == "small":
                requests(args, place, KIB, KIB, ["nginx", bare, "ours metrics keys", "ours audit", "ours audit metering keys", full])
            if part == "large":
                requests(args, place, 64 * KIB, KIB, ["nginx", bare, full])
            if part == "events":
                events(args, place, ["nginx", bare, full])
            if part == "memory":
                memory(args, place, ["nginx", bare, full])
            if part == "bulk":
                bulk(args, place, ["nginx unbuffered", bare, full], args.mib << 20)


if __name__ == "__main__":
    main()
