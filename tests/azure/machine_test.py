"""What a machine makes of its custom data: files and units as cloud-init would write them, settings from deployment.json, and
refusals of values that are none. Nothing here needs rights or a cloud; tests/containers/cloud_init_test.sh runs the real cloud-init."""
import base64
import hashlib
import importlib.machinery
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml

from custom_data import CHOSEN, SOURCE, custom_data, joined, template

MACHINE = SOURCE / "deploy/azure/vm"
PROGRAMS = "usr/local/lib/trustbridge"


def check(truth, what):
    if not truth:
        raise AssertionError(what)


def written(folder):
    """The files of the custom data, under `folder`."""
    config = yaml.safe_load(custom_data())
    for file in config["write_files"]:
        path = folder / file["path"].lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = file["content"]
        path.write_bytes(base64.b64decode(content) if file.get("encoding") == "b64" else content.encode())
        path.chmod(int(file["permissions"], 8))
    return config


def files_are_whole(folder):
    config = written(folder)
    tree = sorted(p.relative_to(MACHINE) for p in MACHINE.rglob("*") if p.is_file())
    check(len(tree) >= 15, f"only {len(tree)} files in {MACHINE}")
    for name in tree:
        check((folder / name).read_bytes() == (MACHINE / name).read_bytes(), f"{name} is not what it was")
        check(os.access(folder / name, os.X_OK) == str(name).startswith(PROGRAMS), f"mode of {name}")
    check(set(config) == {"ssh_pwauth", "disable_root", "write_files", "runcmd"}, f"modules: {sorted(config)}")
    check(config["ssh_pwauth"] is False and config["disable_root"] is True, "passwords by SSH")
    units = {p.name for p in (MACHINE / "etc/systemd/system").iterdir()}
    enabled = next(c for c in config["runcmd"] if c[:2] == ["systemctl", "enable"])
    check(set(enabled[2:]) == units, f"enabled units: {enabled}")
    for name in units:
        check("[Install]" in (MACHINE / "etc/systemd/system" / name).read_text(), f"{name} cannot be enabled")


def scripts_are_sound():
    scripts = [p for p in (MACHINE / PROGRAMS).iterdir() if p.read_text().startswith("#!/bin/bash")]
    scripts.append(SOURCE / "deploy/azure/app/install-secrets")
    check(len(scripts) >= 6, "scripts")
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)
        subprocess.run(["shellcheck", script], check=True)


def units_name_what_is_there():
    text = "".join(p.read_text() for p in (MACHINE / "etc/systemd/system").iterdir())
    for program in re.findall(r"=/(usr/local/lib/trustbridge/\S+)", text):
        check((MACHINE / program).exists(), f"{program} is not there")
    runs = re.findall(r"podman run (?:[^\n]*\\\n)*[^\n]*", text)
    check(len(runs) == 2, "two containers")
    for run in runs:
        for option in ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--pull=never", "--ulimit=core=0:0"):
            check(option in run, f"{option} is missing in {run}")
        check("--privileged" not in run and "seccomp" not in run, run)
        check("--user=10001:10001" in run or "--user=10002:10002" in run, run)
    runtime = next(r for r in runs if "--name=trustbridge-runtime" in r)
    check("/run/trustbridge:ro" in runtime and "--publish" not in runtime and "secrets" not in runtime, "the runtime sees too much")


class Machine:
    """A root directory with deployment.json, on which `configure` runs as any user."""

    def __init__(self, chosen):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tb-machine-"))
        for name in ("etc/trustbridge/secrets", "run/trustbridge-config", "var/lib/trustbridge-sentinel", "var/lib/trustbridge-tls",
                     "sys/class/dmi/id"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "sys/class/dmi/id/product_uuid").write_text("AAAA-BBBB\n")
        shutil.copy(MACHINE / "etc/trustbridge/versions", self.folder / "etc/trustbridge/versions")
        (self.folder / "etc/trustbridge/deployment.json").write_text(json.dumps(chosen))

    def configure(self):
        return subprocess.run([MACHINE / PROGRAMS / "configure"], capture_output=True, check=False, env={"TB_ROOT": str(self.folder), "PATH": "/usr/bin:/bin"})

    def settings(self, name):
        text = (self.folder / "run/trustbridge-config" / name).read_text()
        return dict(line.split("=", 1) for line in text.splitlines())

    def mode(self, name):
        return oct((self.folder / name).stat().st_mode & 0o777)


def settings_come_from_choices():
    machine = Machine(CHOSEN)
    secrets = machine.folder / "etc/trustbridge/secrets"
    (secrets / "api-key.json").write_text('{"id":"key-deployed"}\n')
    done = machine.configure()
    check(done.returncode == 0, done.stderr.decode())
    sentinel = machine.settings("sentinel.env")
    check(sentinel["TB_CONTRACT_ID"] == "acme-1" and sentinel["TB_ATTESTATION"] == "tpm", sentinel)
    check(sentinel["TB_HEALTH_ADDR"] == "127.0.0.1:8001" and "TB_BILLING_ENABLED" not in sentinel, sentinel)
    known = set(re.findall(r"TB_[A-Z_]+", (SOURCE / "docs/config.md").read_text()))
    check(set(sentinel) <= known, f"the sentinel does not know {set(sentinel) - known}")
    check(machine.settings("images.env")["RUNTIME_IMAGE"] == CHOSEN["runtimeImage"], "the image")
    check(machine.settings("images.env")["SENTINEL_ENTRYPOINT"] == "", "two images")
    check(machine.settings("images.env")["SENTINEL_DEVICES"] == "--device=/dev/tpmrm0", "the TPM")
    for name in ("run/trustbridge-config/sentinel.env", "var/lib/trustbridge-tls/tls.key", "var/lib/trustbridge-sentinel/api-keys"):
        check(machine.mode(name) == "0o600", f"mode of {name}: {machine.mode(name)}")
    made = (machine.folder / "var/lib/trustbridge-tls/tls.crt").read_text()
    check("BEGIN CERTIFICATE" in made, "a certificate")
    keys = machine.folder / "var/lib/trustbridge-sentinel/api-keys"
    keys.write_text("changed by the consumer\n")
    check(machine.configure().returncode == 0, "a second boot")
    check(keys.read_text() == "changed by the consumer\n", "a table of keys that was there")
    check((machine.folder / "var/lib/trustbridge-tls/tls.crt").read_text() == made, "the certificate of the first boot")
    (secrets / "tls.crt").write_text("theirs\n")
    (secrets / "tls.key").write_text("their key\n")
    check(machine.configure().returncode == 0, "a boot with a certificate")
    check((machine.folder / "var/lib/trustbridge-tls/tls.crt").read_text() == "theirs\n", "the consumer's certificate")
    shutil.rmtree(machine.folder)


def billing_and_one_image():
    billing = {"billingDimensions": "requests,tokens", "billingPlanId": "metered",
               "billingResourceId": "/subscriptions/s/resourceGroups/g(1)/providers/Microsoft.Solutions/applications/a"}
    machine = Machine({**CHOSEN, **billing, "sentinelImage": CHOSEN["runtimeImage"], "attestation": "none"})
    done = machine.configure()
    check(done.returncode == 0, done.stderr.decode())
    sentinel = machine.settings("sentinel.env")
    check(sentinel["TB_BILLING_ENABLED"] == "true" and sentinel["TB_BILLING_DIMENSION"] == "requests,tokens", sentinel)
    check(sentinel["TB_BILLING_CREDENTIAL"] == "managed-identity:" + CHOSEN["identityClientId"], sentinel)
    # The sentinel itself takes them: what it has to find here lies under the machine's folder.
    public = str(machine.folder / "run/trustbridge-config/public")
    environment = {name: value.replace("/etc/trustbridge/public", public) for name, value in sentinel.items()}
    told = subprocess.run([os.environ["TB_SENTINEL"], "--print-config"], capture_output=True, check=False, env=environment)
    check(told.returncode == 0, told.stderr.decode())
    told = subprocess.run([os.environ["TB_SENTINEL"], "--print-config"], capture_output=True, check=False, env={**environment, "TB_DELIVERY": "disk"})
    check(told.returncode == 2, "the sentinel takes anything")
    images = machine.settings("images.env")
    check(images["SENTINEL_ENTRYPOINT"] == "--entrypoint=trustbridge-sentinel" and images["SENTINEL_DEVICES"] == "", images)
    shutil.rmtree(machine.folder)


def hostile_values_are_refused(folder):
    program = importlib.machinery.SourceFileLoader("configure", str(MACHINE / PROGRAMS / "configure")).load_module()
    path = folder / "deployment.json"
    hostile = ["", "a b", "a\nTB_ALLOW_ANONYMOUS=true", "acme-1\n", "$(reboot)", "`reboot`", "--privileged", "a;b", "../x", "\u0661", 5, None, ["x"], {}]
    tried = 0
    for name in CHOSEN:
        for value in hostile:
            if value == "" and name in ("controlPlaneKey", "identityClientId"):
                continue
            if value == "--privileged" and name in ("assetId", "contractId"):  # ids may begin with a hyphen: they are values only
                continue
            path.write_text(json.dumps({**CHOSEN, name: value}))
            try:
                program.read_deployment(path)
            except SystemExit as refused:
                check(f"{name}: missing or malformed" in refused.code, refused.code)
            else:
                raise AssertionError(f"{name}={value!r} was taken")
            tried += 1
    for chosen in ({**CHOSEN, "more": "x"}, {**CHOSEN, "contractId": "a\nTB_ALLOW_ANONYMOUS=true"}, {}):
        machine = Machine(chosen)
        check(machine.configure().returncode == 1, "a deployment of other members")
        check(not list((machine.folder / "run/trustbridge-config").glob("*.env")), "settings were written")
        shutil.rmtree(machine.folder)
    check(tried > 100, "hostile values")


def disks_are_striped_or_left_alone(folder):
    """prepare-disks with stand-ins for everything that touches a disk: which commands it gives. Real disks: cloud_init_test.sh."""
    place = folder / "disks"
    stubs = place / "stubs"
    stubs.mkdir(parents=True)
    log = place / "log"
    replies = {"wipefs": '[ "${FOREIGN:-}" != "${3##*/}" ] || echo 0,x', "blkid": "exit 2", "mountpoint": '[ "$2" = "${MOUNTED:-}" ]', "df": "echo somewhere",
               "mdadm": '[ "$1" != --assemble ]'}
    for name in ("wipefs", "blkid", "mountpoint", "df", "mdadm", "mkfs.ext4", "mount", "mkdir", "chown", "chmod"):
        quiet = name in ("wipefs", "blkid", "mountpoint", "df", "mkdir", "chown", "chmod")
        note = "" if quiet else f'echo "{name} $*" >>"{log}"\n'
        (stubs / name).write_text(f"#!/bin/sh\n{note}{replies.get(name, 'exit 0')}\n")
        (stubs / name).chmod(0o755)

    def commands(models, **environment):
        shutil.rmtree(place / "sys", ignore_errors=True)
        log.write_text("")
        for i, model in enumerate(models):
            device = place / f"sys/block/nvme{i}n1/device"
            device.mkdir(parents=True)
            (device / "model").write_text(model + " " * 8 + "\n")
        done = subprocess.run(["bash", MACHINE / PROGRAMS / "prepare-disks"], capture_output=True, check=False,
                              env={"PATH": f"{stubs}:/usr/bin:/bin", "SYS_ROOT": f"{place}/sys", "DEV_ROOT": "/d", **environment})
        check(done.returncode == 0, done.stderr.decode())
        return log.read_text().splitlines()

    direct, remote = "Microsoft NVMe Direct Disk v2", "MSFT NVMe Accelerator v1.0"
    options = "-o nosuid,nodev,noexec,noatime"
    check(commands([remote]) == [], "a disk over the network is not local")
    check(commands([remote, direct]) == ["mkfs.ext4 -q -L tb-cache -m 0 /d/nvme1n1", f"mount {options} /d/nvme1n1 /var/cache/trustbridge"], log.read_text())
    check(commands([direct], FOREIGN="nvme0n1") == [], "a disk of another's was used")
    check(commands([remote], MOUNTED="/mnt") == ["mount --bind /mnt/trustbridge /var/cache/trustbridge"], log.read_text())
    two = commands([direct, direct])
    check(two == ["mdadm --assemble --quiet /dev/md/trustbridge /d/nvme0n1 /d/nvme1n1",
                  "mdadm --create --quiet --run --level=0 --homehost=any --raid-devices=2 /dev/md/trustbridge /d/nvme0n1 /d/nvme1n1",
                  "mkfs.ext4 -q -L tb-cache -m 0 /dev/md/trustbridge", f"mount {options} /dev/md/trustbridge /var/cache/trustbridge"], two)
    check(len(commands([direct, direct], FOREIGN="nvme1n1")) == 1, "a stripe over a disk of another's")


def secrets_land_in_files(folder):
    """install-secrets itself, with stand-ins for what needs root."""
    script = joined(template()["variables"]["installSecrets"])
    secret = {"ACTIVATION_TOKEN": "tok'en$(id)\nline two", "API_KEY": "k" * 40, "TLS_CERTIFICATE": "", "TLS_KEY": "", "REGISTRY_AUTH": '{"auths":{}}'}
    for name, value in secret.items():
        script = script.replace(f"@{name}@", base64.b64encode(value.encode()).decode())
    check("@" not in re.sub(r"#.*", "", script), "a mark was left")
    stubs = folder / "stubs"
    stubs.mkdir()
    for name in ("chown", "cloud-init", "systemctl"):
        (stubs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"{folder}/calls"\n')
        (stubs / name).chmod(0o755)
    place = folder / "secrets"
    path = folder / "install-secrets"
    path.write_text(script.replace("/etc/trustbridge/secrets", str(place)))
    done = subprocess.run(["bash", path], capture_output=True, check=False, env={"PATH": f"{stubs}:/usr/bin:/bin"})
    check(done.returncode == 0, done.stderr.decode())
    check((place / "activation-token").read_text() == secret["ACTIVATION_TOKEN"], "the token")
    check((place / "registry-auth.json").read_text() == '{"auths":{}}', "the registry's file")
    check(sorted(p.name for p in place.iterdir()) == ["activation-token", "api-key.json", "registry-auth.json"], "files")
    key = json.loads((place / "api-key.json").read_text())
    check(key["sha256"] == hashlib.sha256(b"k" * 40).hexdigest(), "the hash of the API key")
    for file in place.iterdir():
        check(file.stat().st_mode & 0o077 == 0, f"others can read {file.name}")
    check(not path.exists(), "the script with the secrets is still there")
    calls = (folder / "calls").read_text()
    check("kkkk" not in calls and "tok'en" not in calls, "a secret is an argument")


def main():
    with tempfile.TemporaryDirectory(prefix="tb-azure-") as folder:
        root = pathlib.Path(folder)
        (root / "machine").mkdir()
        files_are_whole(root / "machine")
        secrets_land_in_files(root)
        hostile_values_are_refused(root)
        disks_are_striped_or_left_alone(root)
    scripts_are_sound()
    units_name_what_is_there()
    settings_come_from_choices()
    billing_and_one_image()
    print("held")


if __name__ == "__main__":
    sys.exit(main())
