"""The dashboard and the alerts: every expression can be read, and asks for metrics and labels that the source has."""

import json
import re
from collections.abc import Iterator

import promql_parser as promql
import yaml

from binaries import found, source

Complaints = Iterator[str]

# Where metrics are named.
SOURCES = [
    "agent-runner/src/metrics.rs",
    "gateway-http/src/metrics.rs",
    "session-store/src/metrics.rs",
    "shared/src/admin/recorder.rs",
    "shared/src/process/reload.rs",
    "shared/src/telemetry/export.rs",
    "shared/src/transport/balance.rs",
    "shared/src/transport/server.rs",
]

# Those of the crate metrics-process.
OF_PROCESSES = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
}

# The labels that Prometheus gives every series of a pod.
OF_TARGETS = {"namespace", "pod", "job", "instance"}


def metrics() -> dict[str, set[str]]:
    """The labels of every metric; a histogram has three names."""
    labels: dict[str, set[str]] = {name: set() for name in OF_PROCESSES}
    for path in SOURCES:
        text = source(path)
        names = dict(found(r'const (\w+): &str = "(clawdbot_\w+)"', text))
        kinds = {name: kind for kind, name in re.findall(r"describe_(\w+)!\(\s*(\w+)", text)}
        for constant, metric in names.items():
            used = re.findall(rf"(?:counter|gauge|histogram)!\(\s*{constant}((?:[^()]|\([^()]*\))*)\)", text)
            own = {label for arguments in used for label in re.findall(r'"(\w+)" =>', arguments)}
            endings = ["_bucket", "_sum", "_count"] if kinds.get(constant) == "histogram" else [""]
            for ending in endings:
                labels[metric + ending] = own | ({"le"} if ending == "_bucket" else set())
    return labels


METRICS = metrics()


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression, and where it stands."""
    dashboard = json.loads(source("deploy/grafana/clawdbot.json"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m").replace('"$namespace"', '".*"')
            yield f"dashboard, {panel['title']}", expression
    for alert in alerts():
        yield alert["alert"], alert["expr"]


def alerts() -> list[dict]:
    return [rule for group in yaml.safe_load(source("deploy/alerts.yaml"))["groups"] for rule in group["rules"]]


def complaints() -> Complaints:
    for place, expression in expressions():
        yield from (f"{place}: {what}" for what in of_expression(expression))
    readme = source("deploy/README.md")
    for alert in alerts():
        name = alert["alert"]
        if f"#### {name}\n" not in readme or not alert["annotations"]["runbook"].endswith(f"#{name.lower()}"):
            yield f"{name}: the run book does not say what it means"
        if not {"severity"} <= alert["labels"].keys() or not alert["annotations"]["summary"]:
            yield f"{name}: has no severity or no summary"
    for metric in {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in METRICS}:
        if metric.startswith("clawdbot_") and f"`{metric}" not in readme:
            yield f"{metric}: deploy/README.md does not say what it is"


def of_expression(expression: str) -> Complaints:
    try:
        parsed = promql.parse(expression)
    except ValueError as error:
        yield f"{error}: {expression}"
        return
    selected: set[str] = set()
    wanted: set[str] = set()

    def visit(node: promql.Expr) -> bool:
        if isinstance(node, promql.VectorSelector):
            selected.add(node.name)
            wanted.update(matcher.name for matcher in node.matchers.matchers)
        if isinstance(node, promql.AggregateExpr) and node.modifier:
            wanted.update(node.modifier.labels)
        if isinstance(node, promql.BinaryExpr) and node.modifier and node.modifier.matching:
            wanted.update(node.modifier.matching.labels)
        return True

    promql.walk(parsed, visit)
    if not selected:
        yield f"asks for nothing: {expression}"
    for name in sorted(selected - METRICS.keys()):
        yield f"there is no metric {name}"
    known = set.union(OF_TARGETS, *(METRICS.get(name, set()) for name in selected))
    for label in sorted(wanted - known):
        yield f"{sorted(selected)} have no label {label}"


# Expressions that must be found at fault.
BROKEN = {
    "sum(rate(clawdbot_http_request_total[5m])": "unclosed left parenthesis",
    "sum(rate(clawdbot_http_request_total[5m]))": "there is no metric clawdbot_http_request_total",
    "sum by (path) (rate(clawdbot_http_requests_total[5m]))": "have no label path",
    'rate(clawdbot_http_requests_total{code="500"}[5m])': "have no label code",
    "rate(clawdbot_lease_wait_seconds[5m])": "there is no metric clawdbot_lease_wait_seconds",
    "1": "asks for nothing",
}


def self_test() -> Complaints:
    """Every fault is found."""
    for expression, expected in BROKEN.items():
        said = list(of_expression(expression))
        if not any(expected in what for what in said):
            yield f"`{expression}` should be refused with `{expected}`, and was told {said}"


def check() -> list[str]:
    return [*complaints(), *self_test()]
