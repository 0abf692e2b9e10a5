"""deploy.sh and validate.sh with a stand-in for `az` that keeps its arguments: what is asked of Azure, what never stands in an
argument, and that hostile values and refused packages end before anything is sent."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

from custom_data import DIGEST, SOURCE

SAS = "https://acct.blob.core.windows.net/packages/app.zip?sig=SIGNATURESIGNATURE"
PRINCIPAL = "11111111-2222-3333-4444-555555555555"
AZ = f"""#!/usr/bin/python3
import json, os, sys
with open(os.environ["AZ_CALLS"], "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1:3] == os.environ.get("AZ_FAILS", "").split():
    sys.exit(3)
if "generate-sas" in sys.argv:
    print({SAS!r})
for word in sys.argv:
    if word.startswith("@"):
        with open(os.environ["AZ_CALLS"] + ".read", "a") as read:
            read.write(open(word[1:]).read())
"""


def check(truth, what):
    if not truth:
        raise AssertionError(what)


class Desk:
    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "bin/az").write_text(AZ)
        (folder / "bin/az").chmod(0o755)
        self.environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", "HOME": str(folder), "AZ_CALLS": str(folder / "calls"),
                            "TRUSTBRIDGE": os.environ["TB_CLI"], "TMPDIR": str(folder)}
        subprocess.run([os.environ["TB_CLI"], "package", "--quiet", "--asset-id", "llama-8b", "--edc-endpoint", "https://cp.example.com",
                        "--image", "registry.example.com/acme/runtime" + DIGEST, "--output-zip", folder / "app.zip"], check=True,
                       capture_output=True, env=self.environment)
        self.answers = folder / "answers.json"
        self.answers.write_text('{"parameters": {"apiKey": {"value": "SECRETSECRET"}}}')
        self.answers.chmod(0o600)

    def run(self, script, *arguments, rc=0, **environment):
        for name in ("calls", "calls.read"):
            (self.folder / name).unlink(missing_ok=True)
        done = subprocess.run([SOURCE / "deploy/azure" / script, *map(str, arguments)], cwd=self.folder, capture_output=True,
                              env={**self.environment, **environment}, check=False, timeout=100)
        check(done.returncode == rc, f"{script} {arguments}: exit {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
        path = self.folder / "calls"
        calls = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        for call in calls:
            check("SIGNATURE" not in str(call) and "SECRET" not in str(call), f"a secret is an argument: {call}")
        check("SIGNATURE" not in (done.stdout + done.stderr).decode(), "a secret is printed")
        return calls

    def left(self):
        return sorted(p.name for p in self.folder.glob("tmp.*"))


def asks(desk):
    definition = ["definition", "--package", "app.zip", "--group", "rg-1", "--location", "westeurope", "--name", "llama", "--principal", PRINCIPAL,
                  "--storage-account", "acct1"]
    calls = desk.run("deploy.sh", *definition)
    check([c[:3] for c in calls] == [["storage", "blob", "upload"], ["storage", "blob", "generate-sas"], ["managedapp", "definition", "create"]], calls)
    made = calls[2]
    check(made[made.index("--lock-level") + 1] == "ReadOnly", made)
    check(made[made.index("--authorizations") + 1] == PRINCIPAL + ":acdd72a7-3385-48ef-bd42-f606fba81ae7", made)
    check(SAS in (desk.folder / "calls.read").read_text(), "the URL comes by a file")
    check("--overwrite" in calls[0] and calls[0][calls[0].index("--overwrite") + 1] == "false", calls[0])
    check(desk.left() == [], f"left behind: {desk.left()}")
    calls = desk.run("deploy.sh", "machine", "--package", "app.zip", "--group", "rg-1", "--parameters", "answers.json")
    check([c[:3] for c in calls] == [["deployment", "group", "create"]], calls)
    check("SECRETSECRET" in (desk.folder / "calls.read").read_text(), "the answers come by a file")
    calls = desk.run("validate.sh", "--package", "app.zip", "--group", "rg-1", "--parameters", "answers.json")
    check([c[2] for c in calls] == ["validate", "what-if"], calls)
    check(desk.run("validate.sh", "--package", "app.zip") == [], "without a group Azure is not asked")
    calls = desk.run("deploy.sh", *definition, rc=3, AZ_FAILS="storage blob")
    check(len(calls) == 1 and desk.left() == [], "it ends with az")


def refuses(desk):
    good = {"--package": "app.zip", "--group": "rg-1", "--location": "westeurope", "--name": "llama", "--principal": PRINCIPAL, "--storage-account": "acct1"}
    tried = 0
    for flag in good:
        for value in ("", "$(touch pwned)", "`touch pwned`", "a;touch pwned", "--yes", "@answers.json", "a b", "a\nb", "nowhere.zip\0"[:11] + "x" * 300):
            arguments = [word for pair in {**good, flag: value}.items() for word in pair]
            check(desk.run("deploy.sh", "definition", *arguments, rc=2) == [], f"{flag}={value!r} reached az")
            tried += 1
    check(tried > 40, "hostile values")
    check(desk.run("deploy.sh", "definition", "--group", rc=2) == [] and desk.run("deploy.sh", "destroy", "--package", "app.zip", "--group", "g", rc=2) == [], "usage")
    desk.answers.chmod(0o644)
    check(desk.run("deploy.sh", "machine", "--package", "app.zip", "--group", "rg-1", "--parameters", "answers.json", rc=2) == [], "a file that others read")
    desk.answers.chmod(0o600)
    with zipfile.ZipFile(desk.folder / "bad.zip", "w") as package:
        package.writestr("mainTemplate.json", "{}")
    check(desk.run("deploy.sh", "machine", "--package", "bad.zip", "--group", "rg-1", "--parameters", "answers.json", rc=4) == [], "a package that does not pass")
    check(not (desk.folder / "pwned").exists(), "a value was run")


def main():
    subprocess.run(["shellcheck", *sorted((SOURCE / "deploy/azure").glob("*.sh"))], check=True)
    with tempfile.TemporaryDirectory(prefix="tb-az-") as folder:
        desk = Desk(pathlib.Path(folder))
        asks(desk)
        refuses(desk)
    print("held")


if __name__ == "__main__":
    sys.exit(main())
