"""docs/kubernetes.md: its commands that need no cluster are run, its values are rendered, and every value of the charts is known to
their schemas and told in values.yaml.
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

import chart_test
import policies
import render
import yaml_text
from chart_test import CONTROL_PLANE, MODEL, REPO

PAGE = REPO + "/docs/kubernetes.md"


def blocks(kind):
    """(words after the kind, text) of every fenced block of that kind."""
    return re.findall(rf"^```{kind}([^\n]*)\n(.*?)^```", render.read(PAGE), re.M | re.S)


def leaves(value, path=()):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path


def known(schema, path):
    """True if the schema names every part of `path`, or lets any name stand there."""
    node = schema
    for part in path:
        while "$ref" in node:
            node = schema["definitions"][node["$ref"].rsplit("/", 1)[1]]
        if part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            return node.get("additionalProperties", True) is not False or "allOf" in node
    return True


class Page(unittest.TestCase):
    def test_its_commands_run(self):
        found = blocks("sh")
        self.assertTrue(all(words == " run" or re.fullmatch(r" not-run: \w.*", words) for words, _ in found), found)
        script = "\n".join(text for words, text in found if words == " run")
        self.assertIn("render.py", script)
        with tempfile.TemporaryDirectory() as work:
            os.symlink(REPO + "/deploy", work + "/deploy")
            done = subprocess.run(["/bin/bash", "-c", "set -euo pipefail\n" + script], cwd=work, text=True, capture_output=True, check=False, timeout=120,
                                  env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout, "llama-manifest.yaml:5\ncontrol-plane-manifest.yaml:4\n")

    def test_its_values_make_a_sound_pod(self):
        [values] = [yaml_text.load(text) for _, text in blocks("yaml")]
        self.assertEqual(policies.violations(render.render(MODEL, "llama", "models", values)[0]), [])

    def test_every_value_is_in_the_schema_and_every_name_of_the_schema_has_a_value(self):
        for chart in (MODEL, CONTROL_PLANE):
            _, values, schema, _ = render.load_chart(chart)
            for path in leaves(values):
                self.assertTrue(known(schema, path), path)
            self.assertEqual(set(values), set(schema["properties"]) - {"global"})
            for name, inner in schema["properties"].items():
                if "properties" in inner:
                    self.assertEqual(set(values[name]), set(inner["properties"]), name)

    def test_what_the_page_names_is_a_value(self):
        values = render.load_chart(MODEL)[1]
        page = render.read(PAGE)
        names = [name for group in set(values) - {"global"} for name in re.findall(rf"`({group}\.[A-Za-z.]+)`", page)]
        self.assertGreater(len(names), 15)
        for name in names:
            node = values
            for part in name.split("."):
                if name.startswith(("database", "blobs", "volume")):
                    node = render.load_chart(CONTROL_PLANE)[1]
                    break
                self.assertIn(part, node, name)
                node = node[part]


if __name__ == "__main__":
    assert chart_test.DEPLOY
    sys.exit(unittest.main(verbosity=1))
