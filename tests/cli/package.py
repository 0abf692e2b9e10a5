"""package: a managed application that is the same bytes twice, refuses what is hostile before it writes, and --check on
packages of ours, of others, and on what is none."""
import base64
import hashlib
import json
import subprocess
import zipfile

from scenario import check, equal, play

DIGEST = "@sha256:" + "a" * 64
IMAGE = "registry.example.com/acme/runtime" + DIGEST
BASE = ["package", "--asset-id", "llama-8b", "--edc-endpoint", "https://cp.example.com", "--image", IMAGE]


def members(s, name):
    with zipfile.ZipFile(s.folder / name) as package:
        equal(package.testzip(), None, "the zip's checksums")
        return {i.filename: json.loads(package.read(i)) for i in package.infolist()}


def makes(s):
    s.tb(*BASE, "--output-zip", "one.zip")
    made = s.tb(*BASE, "--output", "two.zip", "--json").json()
    first, second = ((s.folder / name).read_bytes() for name in ("one.zip", "two.zip"))
    equal(first, second, "two packages of one plan")
    equal((made["sha256"], made["bytes"]), (hashlib.sha256(second).hexdigest(), len(second)), "what is said of it")
    equal(sorted(made["files"]), ["createUiDefinition.json", "mainTemplate.json", "viewDefinition.json"], "files")
    s.fails("output_exists", 7, *BASE, "--output", "two.zip")
    s.tb(*BASE, "--output", "two.zip", "--force", "--contract-id", "acme-1", "--size", "NCC40ads_H100_v5,NC40ads_H100_v5",
         "--region", "westeurope", "--client-ranges", "203.0.113.0/24,10.0.0.0/8", "--billing", "tokens", "--billing-plan", "metered")
    files = members(s, "two.zip")
    parameters = files["mainTemplate.json"]["parameters"]
    equal(parameters["vmSize"]["allowedValues"], ["Standard_NCC40ads_H100_v5", "Standard_NC40ads_H100_v5"], "sizes")
    equal(parameters["vmSize"]["defaultValue"], "Standard_NCC40ads_H100_v5", "the size that is offered")
    form = files["createUiDefinition.json"]["parameters"]
    equal(form["basics"][0]["defaultValue"], "acme-1", "the contract that is offered")
    equal(form["config"]["basics"]["location"]["allowedValues"], ["westeurope"], "regions")
    ranges = next(e for e in form["steps"][1]["elements"] if e["name"] == "clientRanges")
    equal(ranges["defaultValue"], "203.0.113.0/24, 10.0.0.0/8", "ranges")
    equal(files["mainTemplate.json"]["variables"]["deployment"]["billingPlanId"], "metered", "billing")
    s.tb("keygen", "--signing", "--out", "cp.key")
    s.tb(*BASE, "--output", "pinned.zip", "--control-plane-key", "cp.key.pub")
    pinned = members(s, "pinned.zip")["mainTemplate.json"]["variables"]["deployment"]["controlPlaneKey"]
    equal(len(base64.urlsafe_b64decode(pinned + "=")), 32, "the pinned key")


def refuses(s):
    at = ["--output", "bad.zip"]
    # Ids may begin with a hyphen; they travel as values only.
    hostile = ["a b", "a\nb", "$(id)", "`id`", "';id;'", "[concat('a')]", "../x", "a" * 200]
    for value in hostile:
        s.fails("usage", 2, "package", f"--asset-id={value}", *BASE[3:], *at)
        s.fails("usage", 2, *BASE[:-1], f"{value}{DIGEST}", *at)
        s.fails("usage", 2, *BASE, f"--contract-id={value}", *at)
        s.fails("usage", 2, *BASE, f"--region={value}", *at)
        s.fails("usage", 2, *BASE, f"--client-ranges={value}", *at)
        s.fails("usage", 2, *BASE, f"--size={value}", *at)
        s.fails("usage", 2, *BASE, "--billing", "tokens", f"--billing-plan={value}", *at)
    s.fails("usage", 2, *BASE[:-1], f"--privileged/x{DIGEST}", *at)
    s.fails("usage", 2, "package", "--asset-id", "a", "--image", IMAGE, *at)
    s.fails("usage", 2, *BASE[:-1], "registry.example.com/acme/runtime:latest", *at)
    s.fails("usage", 2, "package", "--asset-id", "a", "--edc-endpoint", "https://u:topsecret@cp.example.com", "--image", IMAGE, *at)
    s.fails("file_not_found", 5, *BASE, "--control-plane-key", "nowhere.pub", *at)
    s.fails("file_not_found", 5, *BASE, "--output", "nowhere/bad.zip")
    s.absent("bad.zip")


def verdict(s, path, rc):
    done = subprocess.run([s.binary, "package", "--check", path, "--json"], capture_output=True, check=False, cwd=s.folder,
                          env=s.environment, timeout=100)
    equal(done.returncode, rc, f"exit status of --check {path}")
    seen = json.loads(done.stdout)
    # Whether a version is old is a matter of the day, and no error.
    seen["findings"] = [f for f in seen["findings"] if f["rule"] != "apiVersions-Should-Be-Recent"]
    return seen


def looks(s):
    equal(verdict(s, "one.zip", 0)["findings"], [], "what is found in ours")
    (s.folder / "one.zip").rename(s.folder / "trustbridge-app.zip")
    check("0 errors" in s.tb("package", "--check").out, "the default package")
    with zipfile.ZipFile(s.folder / "trustbridge-app.zip") as package:
        package.extractall(s.folder / "open")
    path = s.folder / "open/mainTemplate.json"
    template = json.loads(path.read_text())
    template["resources"][1]["location"] = "west\x1beurope"
    template["outputs"]["key"] = {"type": "string", "value": "[parameters('apiKey')]"}
    path.write_text(json.dumps(template, indent=2))
    seen = verdict(s, "open", 4)
    equal({f["rule"] for f in seen["findings"]}, {"Resources-Should-Have-Location", "Outputs-Must-Not-Contain-Secrets"}, "rules")
    for finding in seen["findings"]:
        line = path.read_text().splitlines()[finding["line"] - 1]
        check('"location"' in line or '"value"' in line, f"the line of {finding}: {line}")
    told = s.tb("package", "--check", "open", rc=4)
    check("mainTemplate.json:" in told.out and "2 errors" in told.out and "\x1b" not in told.out, told.out)
    nested = s.folder / "nested.zip"
    with zipfile.ZipFile(nested, "w", zipfile.ZIP_DEFLATED) as package:
        for name in ("mainTemplate.json", "createUiDefinition.json"):
            package.write(s.folder / "open" / name, f"folder/{name}")
    equal({f["rule"] for f in verdict(s, "nested.zip", 4)["findings"]}, {"Package-Has-Required-Files"}, "a package in a folder")
    s.fails("package_malformed", 4, "package", "--check", s.file("none.zip", b"no zip at all"))
    s.fails("file_not_found", 5, "package", "--check", "nowhere.zip")
    bomb = s.folder / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("mainTemplate.json", b"\0" * (64 << 20))
    s.fails("package_malformed", 4, "package", "--check", "bomb.zip")


def story(s):
    makes(s)
    refuses(s)
    looks(s)


if __name__ == "__main__":
    play(story)
