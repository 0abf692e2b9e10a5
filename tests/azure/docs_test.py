"""The commands of docs/azure.md for the provider, run as they stand there; a digest that is cut short is written out."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from custom_data import SOURCE


def main():
    page = (SOURCE / "docs" / "azure.md").read_text()
    provider = page.split("## The provider")[1].split("## The consumer")[0]
    blocks = re.findall(r"^```sh run\n(.*?)^```$", provider, re.MULTILINE | re.DOTALL)
    commands = [c.strip() for block in blocks for c in re.sub(r"\\\n", " ", block).splitlines() if c.strip()]
    if len(commands) != 2 or not all(c.startswith("trustbridge package ") for c in commands):
        raise AssertionError(f"commands: {commands}")
    with tempfile.TemporaryDirectory(prefix="tb-azure-docs-") as folder:
        tools = pathlib.Path(folder) / "bin"
        tools.mkdir()
        (tools / "trustbridge").symlink_to(os.environ["TB_CLI"])
        run = {"cwd": folder, "check": True, "env": {"PATH": f"{tools}:/usr/bin:/bin", "HOME": folder}}
        subprocess.run(["trustbridge", "keygen", "--signing", "--out", "cp"], **run)
        for command in commands:
            subprocess.run(["bash", "-euc", command.replace("@sha256:…", "@sha256:" + "a" * 64)], **run)
        if not (pathlib.Path(folder) / "llama-8b.zip").exists():
            raise AssertionError("no package was made")
        for script in re.findall(r"deploy/azure/(\w+\.sh)", page):
            if not os.access(SOURCE / "deploy/azure" / script, os.X_OK):
                raise AssertionError(f"{script} is not there")
        for test in re.findall(r"`((?:src|tests)/\S+)`", page):
            if not (SOURCE / test).exists():
                raise AssertionError(f"{test} is not there")
    print("held")


if __name__ == "__main__":
    sys.exit(main())
