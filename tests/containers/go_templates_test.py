#!/usr/bin/python3
"""The charts by the engine that Helm is made of: Go's text/template and Sprig, from Debian, with the functions that Helm adds
(tests/kubernetes/go_render). What it gives must be what deploy/kubernetes/render.py gives, document for document, for the whole
table of chart_test.py and for hostile texts; and the small cases of template_test.py must mean the same to both. In both of the
ways in which versions of Helm read numbers.
"""
import json
import os
import subprocess
import sys
import tempfile

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPO, "tests", "kubernetes"))
import chart_test  # noqa: E402
import render  # noqa: E402
import template_test  # noqa: E402
import yaml_text  # noqa: E402


def build(place):
    program = place + "/go_render"
    subprocess.run(["go", "build", "-o", program, REPO + "/tests/kubernetes/go_render/main.go"], check=True, timeout=240,
                   env=os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": place + "/cache"})
    return program


def ask(program, numbers, tasks):
    lines = "".join(json.dumps({"templates": templates, "root": root}) + "\n" for templates, root in tasks)
    done = subprocess.run([program, numbers], input=lines, text=True, capture_output=True, check=True, timeout=240)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(tasks), "an answer is missing"
    return answers


def charts():
    """(what it is, templates, data, documents, notes) of everything that chart_test.py renders from here on."""
    seen = []
    plain = render.render

    def noted(folder, name, namespace, values):
        documents, notes = plain(folder, name, namespace, values)
        seen.append((f"{os.path.basename(folder)} #{len(seen)}", *render.prepare(folder, name, namespace, values), documents, notes))
        return documents, notes
    render.render = noted
    for _ in chart_test.combinations():
        pass
    for text in chart_test.HOSTILE:
        chart_test.model(runtime={"args": [text], "env": {"A": text}}, sentinel={"settings": {"TB_JWT_AUDIENCE": text}}, podAnnotations={"note": text})
    render.render = plain
    return seen


def small_cases():
    """(template, values, our output) of every case that template_test.py renders with success."""
    seen = []
    plain = template_test.go

    def noted(source, **values):
        out = plain(source, **values)
        seen.append((source, values, out))
        return out
    template_test.go = noted
    result = template_test.unittest.TextTestRunner(stream=open(os.devnull, "w", encoding="utf-8")).run(
        template_test.unittest.defaultTestLoader.loadTestsFromTestCase(template_test.Semantics))
    template_test.go = plain
    assert result.wasSuccessful() and len(seen) > 30, result
    return seen


def same(ours, theirs):
    """By text, or, where YAML is written differently, by what it means."""
    if ours == theirs:
        return True
    try:
        return yaml_text.load(ours) == yaml_text.load(theirs)
    except render.yaml.YAMLError:
        return False


def main():
    with tempfile.TemporaryDirectory(prefix="tb-go-") as place:
        program = build(place)
        rendered, cases = charts(), small_cases()
        faults = []
        for numbers in ("number", "float"):
            for (what, _, _, documents, notes), answer in zip(rendered, ask(program, numbers, [one[1:3] for one in rendered]), strict=True):
                if "error" in answer:
                    faults.append(f"{what}, {numbers}: {answer['error']}")
                    continue
                told = answer.pop("NOTES.txt")
                theirs = [one for name in sorted(answer) for one in yaml_text.load_all(answer[name])]
                if theirs != documents or told != notes:
                    faults.append(f"{what}, {numbers}: not the same")
            answers = ask(program, numbers, [({"t.yaml": source}, {"Values": values, "Release": {"Name": "r"}}) for source, values, _ in cases])
            faults += [f"{numbers}: {source}: ours {ours!r}, Go's {answer}" for (source, _, ours), answer in zip(cases, answers, strict=True)
                       if "error" in answer or not same(ours, answer["t.yaml"])]
        for fault in faults[:20]:
            print(fault, file=sys.stderr)
        if faults or len(rendered) < 60:
            sys.exit(f"go_templates: {len(faults)} differ of {len(rendered)} renderings and {len(cases)} cases")
        print(f"go_templates: {len(rendered)} renderings and {len(cases)} cases, each in two ways, as Go's engine has them")


if __name__ == "__main__":
    main()
