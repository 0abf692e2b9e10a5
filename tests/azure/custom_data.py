"""The machine's first settings as a deployment of a package would send them: lines of the template, joined, with deployment.json in
its place. The template's own expressions are evaluated in src/azure/app/plan_test.cc."""
import base64
import json
import os
import pathlib
import subprocess
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
DIGEST = "@sha256:" + "a" * 64
CHOSEN = {
    "assetId": "llama-8b",
    "attestation": "tpm",
    "contractId": "acme-1",
    "controlPlaneUrl": "https://cp.example.com",
    "controlPlaneKey": "A" * 43,
    "identityClientId": "11111111-2222-3333-4444-555555555555",
    "runtimeImage": "registry.example.com/acme/runtime" + DIGEST,
    "sentinelImage": "registry.example.com/acme/sentinel" + DIGEST,
    "vmSize": "Standard_NC40ads_H100_v5",
}


def template():
    with tempfile.TemporaryDirectory() as folder:
        package = pathlib.Path(folder) / "app.zip"
        subprocess.run([os.environ["TB_CLI"], "package", "--quiet", "--asset-id", "llama-8b", "--edc-endpoint", "https://cp.example.com",
                        "--image", CHOSEN["runtimeImage"], "--output-zip", package], check=True, capture_output=True,
                       env={"PATH": os.environ["PATH"], "HOME": folder})
        subprocess.run(["/usr/bin/python3", "-m", "zipfile", "-e", package, folder], check=True)
        return json.loads((pathlib.Path(folder) / "mainTemplate.json").read_text())


def joined(lines):
    return "\n".join(line[1:] if line.startswith("[[") else line for line in lines)


def custom_data(chosen=None):
    encoded = base64.b64encode(json.dumps(chosen or CHOSEN).encode()).decode()
    return joined(template()["variables"]["cloudConfig"]).replace("@DEPLOYMENT@", encoded)
