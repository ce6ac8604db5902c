"""contrib/prometheus against what moescope serves: every metric and label that the rules and the dashboard name is there, every
metric is shown, and promtool accepts the configuration, the rules, their tests and the metrics themselves."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest
import urllib.request

SOURCE = os.environ["MOESCOPE_SOURCE_DIR"]
MOESCOPE = os.environ["MOESCOPE_BIN"]
CONTRIB = os.path.join(SOURCE, "contrib", "prometheus")
SAMPLE = re.compile(r"^(moescope_\w+)\{(.*)\} (\S+)$")
OF_PROMETHEUS = {"job", "instance"}


def read(name):
    with open(os.path.join(CONTRIB, name), encoding="utf-8") as file:
        return file.read()


def metrics_with_layers(address):
    """What is there once the server has read the trace."""
    for _ in range(100):
        with urllib.request.urlopen(address, timeout=30) as answer:
            text = answer.read().decode()
        if "moescope_layer_entropy{" in text:
            return text
        time.sleep(0.1)
    return text


def served_metrics(folder):
    """/metrics of a small run, as moescope serves it."""
    trace = os.path.join(folder, "a run.moetrace")
    model = os.path.join(SOURCE, "models", "demo.gguf")
    subprocess.run(
        [MOESCOPE, "run", "-m", model, "-p", "2+3=", "-n", "4", "-o", trace, "--quiet"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    with subprocess.Popen(
        [MOESCOPE, "serve", trace], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            for line in server.stdout:
                if found := re.search(r"http://127\.0\.0\.1:\d+/", line):
                    return metrics_with_layers(found[0] + "metrics")
        finally:
            server.terminate()
    raise RuntimeError("moescope serve said no address")


def dashboard_queries():
    """Title and expression of each target of each panel, and of each variable, as Grafana sends them."""
    dashboard = json.loads(read("dashboard.json"))
    values = {"$job": "moescope", "$instance": "127.0.0.1:9091", "$run": ".*", "$__rate_interval": "1m"}

    def filled(text):
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    panels = [(p["title"], filled(t["expr"])) for p in dashboard["panels"] for t in p["targets"]]
    return panels, [filled(v["definition"]) for v in dashboard["templating"]["list"] if v["type"] == "query"]


class Contrib(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="moescope-test.")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.metrics = served_metrics(cls.folder)
        cls.labels = {}
        for line in cls.metrics.splitlines():
            if sample := SAMPLE.match(line):
                names = set(re.findall(r'(\w+)="', sample[2]))
                cls.labels.setdefault(sample[1], names)
        cls.panels, cls.variables = dashboard_queries()

    def expressions(self):
        rules = re.findall(r"expr: (?:>-\n((?: {10}.*\n)+)|(.*))", read("alerts.yml"))
        self.assertEqual(len(rules), read("alerts.yml").count("- alert:"))
        return [a or b for a, b in rules] + [expr for _, expr in self.panels] + self.variables

    def test_every_name_is_one_that_moescope_serves(self):
        self.assertGreaterEqual(len(self.labels), 6)
        for expression in self.expressions():
            for name in re.findall(r"moescope_\w+", expression):
                self.assertIn(name, self.labels, expression)

    def test_every_label_is_one_that_the_metric_has(self):
        for expression in self.expressions():
            names = re.findall(r"moescope_\w+", expression)
            for name, selectors in re.findall(r"(moescope_\w+)\{([^}]*)\}", expression):
                for label in re.findall(r"(\w+)=~?\"", selectors):
                    self.assertIn(label, self.labels[name] | OF_PROMETHEUS, expression)
            for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
                for label in group.split(", "):
                    for name in names:
                        self.assertIn(label, self.labels[name] | OF_PROMETHEUS, expression)
            if found := re.match(r"label_values\((moescope_\w+).*, (\w+)\)$", expression):
                self.assertIn(found[2], self.labels[found[1]] | OF_PROMETHEUS)

    def test_legends_and_texts_name_labels_that_are_there(self):
        dashboard = json.loads(read("dashboard.json"))
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                    for name in re.findall(r"moescope_\w+", target["expr"]):
                        self.assertIn(label, self.labels[name], panel["title"])
        per_layer = self.labels["moescope_layer_entropy"] | OF_PROMETHEUS
        for label in re.findall(r"\$labels\.(\w+)", read("alerts.yml")):
            self.assertIn(label, per_layer)

    def test_the_dashboard_shows_every_metric(self):
        shown = {name for _, expr in self.panels for name in re.findall(r"moescope_\w+", expr)}
        self.assertEqual(shown, set(self.labels))

    def test_the_page_about_the_server_names_every_metric(self):
        with open(os.path.join(SOURCE, "docs", "report.md"), encoding="utf-8") as file:
            named = set(re.findall(r"`(moescope_\w+)[`{]", file.read()))
        self.assertEqual(named, set(self.labels))

    def test_panels_have_a_place_and_a_number_of_their_own(self):
        taken = set()
        panels = json.loads(read("dashboard.json"))["panels"]
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))

    def test_every_alert_is_tested_both_ways(self):
        tests = read("alerts_test.yml")
        for alert in re.findall(r"- alert: (\w+)", read("alerts.yml")):
            told = re.findall(rf"alertname: {alert}\n( *exp_alerts)?", tests)
            self.assertTrue(any(told), f"{alert} never fires in alerts_test.yml")

    @unittest.skipUnless(shutil.which("promtool"), "needs promtool (Debian: prometheus)")
    def test_promtool(self):
        def promtool(*arguments, **more):
            done = subprocess.run(
                ["promtool", *arguments], cwd=CONTRIB, capture_output=True, text=True, timeout=60, **more
            )
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

        promtool("check", "config", "prometheus.yml")
        promtool("check", "rules", "alerts.yml")
        promtool("test", "rules", "alerts_test.yml")
        promtool("check", "metrics", input=self.metrics)
        rules = os.path.join(self.folder, "dashboard.yml")
        with open(rules, "w", encoding="utf-8") as file:  # JSON is YAML
            named = [{"record": f"panel{i}", "expr": expr} for i, (_, expr) in enumerate(self.panels)]
            json.dump({"groups": [{"name": "dashboard", "rules": named}]}, file)
        promtool("check", "rules", rules)


if __name__ == "__main__":
    unittest.main(verbosity=2)
