"""The dashboard and the alert rules under deploy/ against the metrics that a real sentinel prints, and against promtool:
every expression parses, every metric exists with the labels that are asked for, every alert has a case that fires it.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "integration" / "sentinel"))
import peers  # noqa: E402

DASHBOARD = REPO / "deploy" / "grafana" / "trustbridge-sentinel.json"
ALERTS = REPO / "deploy" / "prometheus" / "trustbridge-alerts.yaml"
CASES = REPO / "tests" / "deploy" / "alerts.yaml"
OURS = re.compile(r"\b(?:trustbridge_sentinel|gen_ai)_\w+")
SELECTOR = re.compile(r"\b((?:trustbridge_sentinel|gen_ai)_\w+)(?:\{([^}]*)\})?")
FROM_SCRAPE = {"instance", "job", "le"}  # labels that Prometheus adds, or that belong to every histogram


def dashboard_expressions():
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [(panel["title"], target["expr"]) for panel in document["panels"] for target in panel.get("targets", ())]


def alert_expressions():
    """The rules keep each expression on one line."""
    text = ALERTS.read_text(encoding="utf-8")
    out = re.findall(r"- alert: (\w+)\n\s+expr: (\S.*)\n", text)
    assert len(out) == text.count("- alert:"), "each rule is an alert with its expression on one line"
    return out


def promtool(*arguments, cwd=None):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, cwd=cwd)
    return done.returncode, done.stdout + done.stderr


class Monitoring(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A sentinel that has served, refused and failed."""
        control_plane = peers.ControlPlane(peers.Asset(b"weights" * 1000))
        cls.addClassCleanup(control_plane.close)
        runtime = peers.Runtime()
        cls.addClassCleanup(runtime.close)
        sentinel = peers.Sentinel(control_plane, f"http://127.0.0.1:{runtime.port}")
        cls.addClassCleanup(sentinel.close)
        sentinel.wait_state("Ready")
        key = sentinel.api_key()
        for test, bearer in (("echo", key), ("reset_in_head", key), ("echo", "wrong")):
            with sentinel.connect() as connection:
                connection.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {bearer}\r\n"
                                   f"X-Test: {test}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
                peers.answer_on(connection)
        cls.printed = {}  # name -> labels of any of its series
        for line in sentinel.health("/metrics")[1].splitlines():
            if found := re.match(r"(\w+)(?:\{(.*)\})? \S+$", line):
                labels = re.findall(r'(\w+)="', found[2] or "")
                cls.printed.setdefault(found[1], set()).update(labels)

    def check(self, title, expression):
        found = SELECTOR.findall(expression)
        self.assertTrue(found, f"{title}: no metric of ours in {expression}")
        for name, selector in found:
            if name in {"gen_ai_operation_name", "gen_ai_token_type", "gen_ai_request_model", "gen_ai_provider_name"}:
                continue  # a label
            self.assertIn(name, self.printed, f"{title}: the sentinel prints no {name}")
            for label in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)', selector):
                self.assertIn(label, self.printed[name] | FROM_SCRAPE, f"{title}: {name} has no label {label}")

    def test_the_dashboard_shows_what_is_there(self):
        expressions = dashboard_expressions()
        self.assertGreater(len(expressions), 15)
        for title, expression in expressions:
            self.check(title, expression)
            for label in re.findall(r"\bby \(([^)]*)\)", expression):
                for name in (part.strip() for part in label.split(",")):
                    metrics = [m for m, _ in SELECTOR.findall(expression) if m in self.printed]
                    self.assertTrue(any(name in self.printed[m] | FROM_SCRAPE for m in metrics), f"{title}: by {name}")

    def test_the_dashboards_ids_and_places_are_its_own(self):
        panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            taken |= cells

    def test_the_dashboards_expressions_parse(self):
        rules = [{"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m").replace("$instance", ".*")}
                 for number, (_, expression) in enumerate(dashboard_expressions())]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)  # JSON is YAML
            file.flush()
            status, said = promtool("check", "rules", file.name)
        self.assertEqual(status, 0, said)
        self.assertIn(f"{len(rules)} rules found", said)

    def test_the_alerts_ask_for_what_is_there(self):
        for title, expression in alert_expressions():
            self.check(title, expression)

    def test_the_alerts_parse_and_do_what_their_cases_say(self):
        with tempfile.TemporaryDirectory() as work:
            shutil.copy(ALERTS, work)
            shutil.copy(CASES, work)
            status, said = promtool("check", "rules", ALERTS.name, cwd=work)
            self.assertEqual(status, 0, said)
            status, said = promtool("test", "rules", CASES.name, cwd=work)
            self.assertEqual(status, 0, said)

    def test_every_alert_is_fired_by_a_case(self):
        cases = CASES.read_text(encoding="utf-8")
        for title, _ in alert_expressions():
            self.assertRegex(cases, rf'alertname="{title}"', f"{title} fires in no case")
            self.assertRegex(cases, rf"alertname: {title}\b", f"{title} is not held to be quiet")

    def test_a_rule_that_is_wrong_fails_its_cases(self):
        """The cases can fail: with any threshold moved out of reach, promtool says so."""
        with tempfile.TemporaryDirectory() as work:
            shutil.copy(CASES, work)
            text = ALERTS.read_text(encoding="utf-8")
            for title, expression in alert_expressions():
                broken = text.replace(f"expr: {expression}\n", f"expr: ({expression}) > 1e9\n")
                (pathlib.Path(work) / ALERTS.name).write_text(broken, encoding="utf-8")
                self.assertNotEqual(promtool("test", "rules", CASES.name, cwd=work)[0], 0, title)


if __name__ == "__main__":
    if not shutil.which("promtool"):
        print("promtool is missing: run scripts/deps.sh --what test", file=sys.stderr)
        sys.exit(1)
    peers.BINARY = os.environ["TB_SENTINEL"]
    unittest.main(verbosity=2)
