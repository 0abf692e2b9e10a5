#!/usr/bin/env python3
"""Says from which of this machine's addresses a TCP port answers: probe_port.py PORT

For each address a listener of our own shows first that it can be reached at all. Prints `ADDRESS open|closed` lines.
127.0.0.1 stands first; 127.0.0.2 stands for a listener on every address. Exit status 2 if no address could be tried.
"""
import json
import socket
import subprocess
import sys

TIMEOUT_S = 2


def addresses():
    yield "127.0.0.1"
    yield "127.0.0.2"
    listed = subprocess.run(["ip", "-json", "address"], capture_output=True, check=False).stdout or b"[]"
    for link in json.loads(listed):
        for entry in link.get("addr_info", []):
            if entry.get("scope") == "global" and entry.get("local"):
                yield entry["local"]


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def answers(address, port):
    with socket.socket(family(address), socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        return client.connect_ex((address, port)) == 0


def reachable(address):
    try:
        with socket.socket(family(address), socket.SOCK_STREAM) as listener:
            listener.bind((address, 0))
            listener.listen(1)
            return answers(address, listener.getsockname()[1])
    except OSError:
        return False


def main():
    port = int(sys.argv[1])
    tried = 0
    for address in dict.fromkeys(addresses()):
        if reachable(address):
            tried += 1
            print(address, "open" if answers(address, port) else "closed")
    return 0 if tried >= 2 else 2


if __name__ == "__main__":
    sys.exit(main())
