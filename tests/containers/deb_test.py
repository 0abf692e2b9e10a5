#!/usr/bin/env python3
"""The Debian packages on a small Debian machine with systemd: built twice to the same bytes, installed, started, used, upgraded, removed
and purged. A provider's model is served by trustbridge-sentinel@ under its real unit: confined, watched, suspended.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import machine

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TB_BIN", ROOT / "build/release/bin")).parent
CONTROL_PLANE, SENTINEL = "trustbridge-control-plane.service", "trustbridge-sentinel@acme-1.service"
ENGINE = """
import http.server, os, sys
model = open(sys.argv[1], "rb").read()
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        body = b"%d bytes read by user %d" % (len(model), os.getuid())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
"""
# What may differ after a purge: the package system's own records, logs, and users, which Debian keeps.
OWN_RECORDS = ("/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/apt/", "/var/cache/debconf/", "/var/log/", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow",
               "/var/lib/systemd/", "/var/cache/ldconfig/", "/etc/ld.so.cache", "/var/tmp/systemd-private")


def step(text):
    print(f"-- {text} ({time.monotonic() - BEGAN:.0f} s)", flush=True)


def check(truth, why):
    if not truth:
        raise AssertionError(why)


def equal(found, expected, what):
    check(found == expected, f"{what}: {found!r}, expected {expected!r}")


def packages(place):
    """Packed twice: the same bytes, and nothing that lintian calls an error."""
    made = []
    for name in ("packages", "packages-again"):
        environment = {**os.environ, "TB_BUILD": str(BUILD), "TB_PACKAGES": str(place / name)}
        subprocess.run([ROOT / "scripts/packages.sh"], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300)
        made.append({path.name: path.read_bytes() for path in sorted((place / name).glob("*.deb"))})
    equal([name.split("_")[0] for name in made[0]],
          ["libtrustbridge-dev", "trustbridge-control-plane", "trustbridge-sentinel", "trustbridge"], "the packages")
    check(made[0] == made[1], "packed twice, the bytes differ")
    files = sorted((place / "packages").glob("*.deb"))
    if shutil.which("lintian") is None:
        machine.skip("lintian is not installed")
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", *files], capture_output=True, text=True, check=False, timeout=300)
    equal(done.returncode, 0, f"lintian: {done.stdout}{done.stderr}")
    return files


def newer(package, place):
    """The same package as the next revision."""
    tree = place / "newer" / package.name
    tree.parent.mkdir(exist_ok=True)
    subprocess.run(["dpkg-deb", "-R", package, tree], check=True)
    control = tree / "DEBIAN/control"
    version = subprocess.run(["dpkg-deb", "-f", package, "Version"], capture_output=True, text=True, check=True).stdout.strip()
    control.write_text(control.read_text().replace(f"Version: {version}", f"Version: {version}+next"))
    out = place / f"newer-{package.name}"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, out], check=True, stdout=subprocess.DEVNULL)
    return out


def dependencies(package):
    """The names in Depends; dpkg then refuses to configure a package that needs more or newer ones."""
    text = subprocess.run(["dpkg-deb", "-f", package, "Depends"], capture_output=True, text=True, check=True).stdout
    return {entry.split()[0] for entry in text.split(",")}


def show(m, unit, name):
    return m.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()


def wait_for(m, what, truth, seconds=60):
    end = time.monotonic() + seconds
    while not truth():
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain: {what}\n{m.run('journalctl', '--no-pager', '-n', '60', rc=None).stdout}")
        time.sleep(0.1)


def start(m, unit):
    done = m.run("systemctl", "start", unit, rc=None, timeout=150)
    check(done.returncode == 0, f"{unit}: {done.stderr}{m.run('journalctl', '--no-pager', '-n', '60', rc=None).stdout}")


def all_files(m):
    names = m.sh("find / -xdev \\( -path /tmp -o -path /run -o -path /proc -o -path /sys -o -path /dev \\) -prune -o -print").splitlines()
    return {name for name in names if not (name + "/").startswith(OWN_RECORDS) and not name.startswith(OWN_RECORDS)}


def nothing_starts_by_itself(m):
    for unit in (CONTROL_PLANE, SENTINEL):
        equal(m.run("systemctl", "is-active", unit, rc=None).stdout.strip(), "inactive", unit)
        equal(m.run("systemctl", "is-enabled", unit, rc=None).stdout.strip(), "disabled", unit)
    equal(m.run("stat", "-c", "%U:%G %a", "/etc/trustbridge/control-plane.toml").stdout.strip(), "root:trustbridge 640", "settings")
    equal(m.run("stat", "-c", "%U:%G %a", "/etc/trustbridge/sentinel").stdout.strip(), "root:root 700", "settings of sentinels")
    for page in ("trustbridge.1", "trustbridge-contract.1"):
        m.run("test", "-s", f"/usr/share/man/man1/{page}.gz")
    m.run("trustbridge", "--version")


def control_plane(m):
    start(m, CONTROL_PLANE)
    equal(m.run("curl", "-fsS", "http://127.0.0.1:8080/readyz").stdout != "", True, "readyz")
    equal(show(m, CONTROL_PLANE, "StatusText"), "listening on http://127.0.0.1:8080", "what systemctl status says")
    pid = show(m, CONTROL_PLANE, "MainPID")
    status = m.run("cat", f"/proc/{pid}/status").stdout
    uid = m.run("id", "-u", "trustbridge").stdout.strip()
    check(f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status, "it runs as its user")
    for line in ("CapBnd:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        check(line in status, f"{line} in {status}")
    equal(m.run("stat", "-c", "%U %a", "/var/lib/trustbridge").stdout.strip(), "trustbridge 700", "its state")
    m.run("systemctl", "reload", CONTROL_PLANE)
    equal(show(m, CONTROL_PLANE, "MainPID"), pid, "a reload is no restart")
    m.sh("mkdir -p /srv/provider; cd /srv/provider; umask 077; runuser -u trustbridge -- trustbridge-control-plane --config /etc/trustbridge/control-plane.toml token create"
         " --role provider --tenant acme-ai > provider.token")


def watchdog(m):
    """A process that hangs is seen, ended and started again."""
    m.sh("mkdir -p /run/systemd/system/trustbridge-control-plane.service.d; printf '[Service]\\nWatchdogSec=2\\nRestartSec=0\\n' "
         "> /run/systemd/system/trustbridge-control-plane.service.d/test.conf; systemctl daemon-reload; systemctl restart trustbridge-control-plane")
    pid = show(m, CONTROL_PLANE, "MainPID")
    time.sleep(5)  # more than twice what the watchdog waits
    equal((show(m, CONTROL_PLANE, "MainPID"), show(m, CONTROL_PLANE, "NRestarts")), (pid, "0"), "one that works is left alone")
    m.sh(f"kill -STOP {pid}")
    wait_for(m, "the watchdog's restart", lambda: show(m, CONTROL_PLANE, "NRestarts") == "1" and show(m, CONTROL_PLANE, "ActiveState") == "active")
    m.sh("rm -r /run/systemd/system/trustbridge-control-plane.service.d; systemctl daemon-reload; systemctl restart trustbridge-control-plane")


PROVIDER = "cd /srv/provider; export TB_EDC_ENDPOINT=http://127.0.0.1:8080 TB_TOKEN_FILE=provider.token TB_CONTROL_PLANE_KEY=cp.pub; "


def provider(m):
    m.sh(PROVIDER + """
runuser -u trustbridge -- trustbridge-control-plane --config /etc/trustbridge/control-plane.toml identity > cp.pub
head -c 3000000 /dev/urandom > model.gguf
trustbridge encrypt --in model.gguf --asset-id llama-8b --out llama-8b.tbenc --quiet
trustbridge upload --store cp: --encrypted-file llama-8b.tbenc --quiet
trustbridge register --store cp: --manifest llama-8b.manifest.json --key-file llama-8b.tbenc.key --quiet
trustbridge contract create --contract-id acme-1 --asset-id llama-8b --consumer acme --not-after 30d --lease-seconds 60 --activation-token-file acme-1.token --quiet
""")


def sentinel(m):
    """From an unconfigured instance that says so to one that serves, confined, and wipes when it is suspended."""
    done = m.run("systemctl", "start", SENTINEL, rc=None)
    check(done.returncode != 0 and "Assertion failed" in done.stderr, f"an unconfigured instance does not start, and says why: {done.stderr}")
    m.sh("install -m 0600 /srv/provider/acme-1.token /etc/trustbridge/sentinel/acme-1.token")
    m.sh("umask 077; echo 'contract_id = \"acme-1\"' > /etc/trustbridge/sentinel/acme-1.toml")
    equal(m.run("systemctl", "start", SENTINEL, rc=None).returncode != 0, True, "a faulty configuration")
    wait_for(m, "no further attempt", lambda: show(m, SENTINEL, "ExecMainStatus") == "2" and show(m, SENTINEL, "ActiveState") == "failed")
    settings = {"contract_id": "acme-1", "asset_id": "llama-8b", "edc_endpoint": "http://127.0.0.1:8080", "public_addr": "127.0.0.1:8000",
                "health_addr": "127.0.0.1:8001", "runtime_uid": "trustbridge-runtime", "runtime_url": "http://127.0.0.1:0",
                "runtime_command": ["/usr/bin/python3", "-c", ENGINE, "{model_path}", "{runtime_port}"]}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    m.run("bash", "-c", 'umask 077; printf %s "$1" > /etc/trustbridge/sentinel/acme-1.toml', "-", text)
    start(m, SENTINEL)
    equal(show(m, SENTINEL, "StatusText"), "serving llama-8b", "what systemctl status says")
    status = json.loads(m.run("curl", "-fsS", "http://127.0.0.1:8001/status").stdout)
    isolation = status["isolation"]
    equal((isolation["mode"], isolation.get("missing", [])), ("full", []), f"the confinement under the unit: {isolation}")
    print("   delivery:", status.get("delivery"), flush=True)
    key = m.sh("TB_STATE_DIR=/var/lib/trustbridge-sentinel/acme-1 trustbridge-sentinel keys add tester").strip()
    uid = m.run("id", "-u", "trustbridge-runtime").stdout.strip()
    ask = ("curl", "-sS", "-H", f"Authorization: Bearer {key}", "http://127.0.0.1:8000/v1/models")
    wait_for(m, "the model through the gate", lambda: m.run(*ask).stdout == f"3000000 bytes read by user {uid}")
    equal(json.loads(m.run(*ask[:2], ask[-1]).stdout)["error"]["code"], "invalid_api_key", "without the key")
    pid = show(m, SENTINEL, "MainPID")
    equal(int(show(m, SENTINEL, "WatchdogTimestampMonotonic")) > 0, True, "the watchdog is fed")
    limits = m.run("cat", f"/proc/{pid}/limits").stdout.splitlines()
    equal([line.split()[4:6] for line in limits if line.startswith("Max core file size")], [["0", "0"]], "no core files")
    m.sh(PROVIDER + "trustbridge contract suspend acme-1 --quiet")
    wait_for(m, "the suspension", lambda: show(m, SENTINEL, "StatusText").startswith("suspended (contract_suspended)"))
    equal(show(m, SENTINEL, "ActiveState"), "active", "a suspended sentinel waits")
    equal(m.sh("find /dev/shm -name '*.gguf' | wc -l").strip(), "0", "plaintext is gone")
    m.sh(PROVIDER + "trustbridge contract resume acme-1 --quiet")
    m.run("systemctl", "restart", SENTINEL)
    equal(show(m, SENTINEL, "StatusText"), "serving llama-8b", "resumed")


def upgrade(m, files):
    m.sh("sed -i 's/^#public_url.*/public_url = \"http:\\/\\/127.0.0.1:8080\"/' /etc/trustbridge/control-plane.toml")
    before = {unit: show(m, unit, "MainPID") for unit in (CONTROL_PLANE, SENTINEL)}
    m.run("dpkg", "-i", *files, timeout=200)
    check("+next" in m.run("dpkg-query", "-W", "-f", "${Version}", "trustbridge-control-plane").stdout, "upgraded")
    check(show(m, CONTROL_PLANE, "MainPID") not in ("0", before[CONTROL_PLANE]), "the control plane runs the new program")
    equal(show(m, SENTINEL, "MainPID"), before[SENTINEL], "a sentinel serves on")
    m.run("grep", "-q", "^public_url", "/etc/trustbridge/control-plane.toml")
    check("acme-1" in m.sh(PROVIDER + "trustbridge contract list"), "state is kept")


def removal(m, before):
    m.run("systemctl", "enable", CONTROL_PLANE, SENTINEL)
    m.run("dpkg", "--remove", "trustbridge", "trustbridge-control-plane", "trustbridge-sentinel", timeout=200)
    for unit in (CONTROL_PLANE, SENTINEL):
        check(m.run("systemctl", "is-active", unit, rc=None).stdout.strip() != "active", f"{unit} after its removal")
    for kept in ("/etc/trustbridge/control-plane.toml", "/etc/trustbridge/sentinel/acme-1.toml", "/var/lib/trustbridge/keys/kek",
                 "/var/lib/trustbridge-sentinel/acme-1/audit"):
        m.run("test", "-e", kept)
    m.run("dpkg", "--purge", "trustbridge", "trustbridge-control-plane", "trustbridge-sentinel", timeout=200)
    m.sh("rm -rf /srv/provider")
    equal(sorted(all_files(m) - before), [], "files that a purge leaves")
    equal(sorted(name for name in before - all_files(m)), [], "files that a purge takes from others")


def main():
    place = pathlib.Path(tempfile.mkdtemp(prefix="tb-deb-"))
    try:
        step("packages")
        files = packages(place)
        programs = [path for path in files if not path.name.startswith("libtrustbridge-dev")]
        with machine.Machine(place) as m:
            (m.root / "packages").mkdir()
            for path in (*programs, *(newer(path, place) for path in programs)):
                shutil.copy(path, m.root / "packages")
            step("dependencies")
            m.chroot("apt-get", "-q", "update")
            m.chroot("apt-get", "-y", "--no-install-recommends", "install", *sorted(set().union(*map(dependencies, programs))))
            step("boot")
            m.boot()
            before = all_files(m)
            step("install")
            m.run("dpkg", "-i", *(f"/packages/{path.name}" for path in programs), timeout=200)
            nothing_starts_by_itself(m)
            step("control plane")
            control_plane(m)
            watchdog(m)
            step("provider and sentinel")
            provider(m)
            sentinel(m)
            step("upgrade")
            upgrade(m, [f"/packages/newer-{path.name}" for path in programs])
            step("remove, purge")
            removal(m, before)
            step("done")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    BEGAN = time.monotonic()
    main()
