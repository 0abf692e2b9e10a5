#!/usr/bin/python3
"""Renders a chart of this folder to plain manifests, as `helm template` would, without Helm.

    render.py charts/trustbridge-model --name llama --namespace models --values my.yaml [--set-file …]
    render.py --examples            # manifests/ and kserve/ anew from examples/*.yaml; --check says whether they are up to date

Values are merged as Helm merges them and held against the chart's values.schema.json. Needs python3-yaml and
python3-jsonschema. What of Helm's templates it knows stands in gotemplate.py.
"""
import argparse
import json
import os
import re
import sys

import jsonschema
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import gotemplate  # noqa: E402
import kserve_manifests  # noqa: E402
import yaml_text  # noqa: E402

RELEASE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?\Z")
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


class ChartError(Exception):
    """Values or a chart that cannot be rendered, in words for whoever wrote them."""


def merged(base, over):
    """As Helm: maps are merged, everything else is replaced, null takes a key away."""
    out = dict(base)
    for key, value in over.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = value
    return out


def _pattern(_validator, pattern, instance, _schema):
    """Python's $ would let a newline at the end pass; Go's does not."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError(f"{instance[:60]!r} does not match {pattern}")


Validator = jsonschema.validators.extend(jsonschema.Draft7Validator, {"pattern": _pattern})


def check_values(schema, values):
    """Throws ChartError with all that is wrong."""
    faults = sorted(Validator(schema).iter_errors(values), key=lambda fault: list(map(str, fault.absolute_path)))
    if faults:
        told = []
        for fault in faults:
            best = jsonschema.exceptions.best_match([fault])
            told.append(f"{'.'.join(map(str, best.absolute_path)) or '(root)'}: {best.message[:300]}")
        raise ChartError("values do not fit values.schema.json:\n  " + "\n  ".join(told))


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def load_chart(folder):
    """(Chart.yaml, values.yaml, schema, templates, files) of a chart's folder."""
    templates = {}
    for name in sorted(os.listdir(folder + "/templates")):
        if name.endswith((".yaml", ".tpl", ".txt")):
            templates[name] = read(f"{folder}/templates/{name}")
    return (yaml_text.load(read(folder + "/Chart.yaml")), yaml_text.load(read(folder + "/values.yaml")),
            json.loads(read(folder + "/values.schema.json")), templates)


def prepare(folder, name, namespace, values):
    """(templates, data that they see) for the values given, which are merged over the chart's own, and checked."""
    if not RELEASE_NAME.match(name):
        raise ChartError(f"the release's name must be lower-case letters, digits and -, 52 at most: {name[:60]!r}")
    if not NAMESPACE.match(namespace):
        raise ChartError(f"the namespace's name must be lower-case letters, digits and -, 63 at most: {namespace[:70]!r}")
    chart, own, schema, templates = load_chart(folder)
    values = merged(own, values)
    check_values(schema, values)
    root = {"Values": values,
            "Chart": {"Name": chart["name"], "Version": chart["version"], "AppVersion": chart["appVersion"]},
            "Release": {"Name": name, "Namespace": namespace, "Service": "Helm"}}
    return templates, root


def render(folder, name, namespace, values):
    """(documents, notes) for the values given."""
    templates, root = prepare(folder, name, namespace, values)
    documents, notes = [], ""
    try:
        engine = gotemplate.Engine(templates)
        for template in templates:
            if template.startswith("_"):
                continue
            text = engine.render(template, root)
            if template == "NOTES.txt":
                notes = text
                continue
            try:
                documents += yaml_text.load_all(text)
            except yaml.YAMLError as fault:
                raise ChartError(f"{template} gives no YAML: {fault}") from None
    except gotemplate.TemplateError as fault:
        raise ChartError(str(fault)) from None
    return documents, notes


def as_manifest(documents):
    return "---\n".join(yaml_text.dump(one) for one in documents)


def examples():
    """(name of the example, chart, values) of examples/CHART--NAME.yaml."""
    for file in sorted(os.listdir(HERE + "/examples")):
        chart, _, name = file.removesuffix(".yaml").partition("--")
        yield name, f"{HERE}/charts/{chart}", yaml_text.load(read(f"{HERE}/examples/{file}")) or {}


def example_manifest(name, chart, values):
    head = f"# Rendered by deploy/kubernetes/render.py --examples from examples/{os.path.basename(chart)}--{name}.yaml: change that, not this.\n"
    return head + as_manifest(render(chart, name, "trustbridge", values)[0])


def generated():
    """Path below this folder to its text, of all that is made from examples/."""
    out = {f"manifests/{name}.yaml": example_manifest(name, chart, values) for name, chart, values in examples()}
    chart, values = HERE + "/charts/trustbridge-model", yaml_text.load(read(HERE + "/examples/trustbridge-model--llama.yaml"))
    # A Deployment of KServe's keeps no volume for its pods, and its port is plain HTTP.
    values = merged(values, {"state": {"persistent": False}, "tls": {"secretName": ""}})
    documents = render(chart, "llama", "trustbridge", values)[0]
    head = "# Made by deploy/kubernetes/render.py --examples from the model chart (kserve_manifests.py): change that, not this.\n"
    for name, made in kserve_manifests.all_of(documents, "llama", values["model"]["sizeMiB"]).items():
        out[f"kserve/{name}.yaml"] = head + as_manifest(made)
    return out


def run_examples(check):
    stale = []
    for name, text in generated().items():
        path = f"{HERE}/{name}"
        if check:
            if not os.path.exists(path) or read(path) != text:
                stale.append(name)
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    if stale:
        raise ChartError("out of date, run render.py --examples: " + ", ".join(stale))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chart", nargs="?", help="folder of a chart")
    parser.add_argument("--name", default="release", help="the release's name")
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--values", action="append", default=[], help="YAML file; later ones win")
    parser.add_argument("--examples", action="store_true", help="write manifests/ and kserve/ anew from examples/")
    parser.add_argument("--check", action="store_true", help="with --examples: only say whether they are up to date")
    parser.add_argument("--notes", action="store_true", help="print what NOTES.txt says instead")
    options = parser.parse_args()
    try:
        if options.examples:
            return run_examples(options.check)
        if not options.chart:
            parser.error("a chart's folder is needed")
        values = {}
        for path in options.values:
            values = merged(values, yaml_text.load(read(path)) or {})
        documents, notes = render(options.chart.rstrip("/"), options.name, options.namespace, values)
        sys.stdout.write(notes if options.notes else as_manifest(documents))
    except (ChartError, OSError, yaml.YAMLError) as fault:
        print(f"render.py: error: {fault}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
