"""Manifests that are broken on purpose, to see that the rules find it."""

import copy
import json
from collections.abc import Callable

from manifests import Manifests


class Broken:
    """A copy of good manifests, to be changed."""

    def __init__(self, manifests: Manifests):
        self.documents = copy.deepcopy(manifests.documents)

    def object(self, kind: str, suffix: str) -> dict:
        return next(
            document
            for document in self.documents
            if document["kind"] == kind and document["metadata"]["name"].endswith(suffix)
        )

    def scaled(self, binary: str) -> dict:
        """A Deployment that has an autoscaler."""
        return self.object(
            "Deployment", self.object("HorizontalPodAutoscaler", binary)["spec"]["scaleTargetRef"]["name"]
        )

    def pod(self, binary: str) -> dict:
        return self.object("Deployment", binary)["spec"]["template"]["spec"]

    def container(self, binary: str) -> dict:
        return self.pod(binary)["containers"][0]

    def variable(self, binary: str, name: str) -> dict:
        return next(variable for variable in self.container(binary)["env"] if variable["name"] == name)

    def policy(self, binary: str) -> dict:
        return self.object("NetworkPolicy", binary)["spec"]

    def configure(self, binary: str, **sections: object) -> None:
        data = self.object("ConfigMap", binary)["data"]
        data["clawdbot.json"] = json.dumps({**json.loads(data["clawdbot.json"]), **sections})

    def remove(self, kind: str, suffix: str) -> None:
        self.documents.remove(self.object(kind, suffix))


def without(entries: list[dict], name: str) -> list[dict]:
    return [entry for entry in entries if entry["name"] != name]


def set_variable(binary: str, name: str, value: str) -> Callable[[Broken], None]:
    def change(broken: Broken) -> None:
        broken.variable(binary, name)["value"] = value

    return change


def add_variable(binary: str, name: str, value: str) -> Callable[[Broken], None]:
    return lambda broken: broken.container(binary)["env"].append({"name": name, "value": value})


def update(place: Callable[[Broken], dict], **fields: object) -> Callable[[Broken], None]:
    return lambda broken: place(broken).update(fields)


ANY = {"from": []}
COMPONENT = "app.kubernetes.io/component"

# The rule that must complain, and what it must complain of.
MUTATIONS: list[tuple[str, str, Callable[[Broken], None]]] = [
    (
        "selectors",
        "a Deployment whose selector takes no pod",
        update(
            lambda b: b.object("Deployment", "agent-runner")["spec"]["selector"]["matchLabels"], **{COMPONENT: "runner"}
        ),
    ),
    (
        "selectors",
        "a Deployment whose selector takes the pods of all",
        lambda b: b.object("Deployment", "agent-runner")["spec"]["selector"]["matchLabels"].pop(COMPONENT),
    ),
    (
        "selectors",
        "a Service without pods",
        update(lambda b: b.object("Service", "session-store")["spec"]["selector"], **{COMPONENT: "store"}),
    ),
    (
        "selectors",
        "a Service of all components",
        lambda b: b.object("Service", "agent-runner")["spec"]["selector"].pop(COMPONENT),
    ),
    (
        "selectors",
        "a budget of another component",
        update(
            lambda b: b.object("PodDisruptionBudget", "gateway-http")["spec"]["selector"]["matchLabels"],
            **{COMPONENT: "agent-runner"},
        ),
    ),
    (
        "selectors",
        "a spread of another component",
        lambda b: b.pod("agent-runner")["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update(
            {COMPONENT: "gateway-http"}
        ),
    ),
    (
        "selectors",
        "a monitor of nothing",
        update(lambda b: b.object("ServiceMonitor", "")["spec"]["selector"]["matchLabels"], **{COMPONENT: "metrics"}),
    ),
    (
        "ports",
        "a target port that is not named so",
        update(lambda b: b.object("Service", "-gateway")["spec"]["ports"][0], targetPort="web"),
    ),
    (
        "ports",
        "a monitored port that is not there",
        update(lambda b: b.object("ServiceMonitor", "")["spec"]["endpoints"][0], port="metrics"),
    ),
    (
        "ports",
        "a monitored path that nobody serves",
        update(lambda b: b.object("ServiceMonitor", "")["spec"]["endpoints"][0], path="/prometheus"),
    ),
    (
        "ports",
        "an Ingress to a service that is not there",
        update(
            lambda b: b.object("Ingress", "")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"],
            name="gateway",
        ),
    ),
    (
        "ports",
        "an HTTPRoute to a port that is not there",
        update(lambda b: b.object("HTTPRoute", "")["spec"]["rules"][0]["backendRefs"][0], port=18789),
    ),
    (
        "listening",
        "a container port that the binary does not open",
        update(lambda b: b.container("agent-runner")["ports"][0], containerPort=18799),
    ),
    (
        "listening",
        "a runner that listens on loopback",
        set_variable("agent-runner", "CLAWDBOT_AGENT_RUNNER_LISTEN", "127.0.0.1:18790"),
    ),
    (
        "listening",
        "a gateway that listens on loopback",
        set_variable("gateway-http", "CLAWDBOT_GATEWAY_BIND", "loopback"),
    ),
    ("listening", "an image of no binary", update(lambda b: b.container("session-store"), image="clawdbot/store:1")),
    (
        "probes",
        "a path that nobody serves",
        update(lambda b: b.container("gateway-http")["readinessProbe"]["httpGet"], path="/ready"),
    ),
    (
        "probes",
        "a port that is not there",
        update(lambda b: b.container("gateway-http")["startupProbe"]["httpGet"], port="metrics"),
    ),
    (
        "probes",
        "a gRPC service that is not there",
        update(lambda b: b.container("agent-runner")["readinessProbe"]["grpc"], service="clawdbot.agent.v1.Agent"),
    ),
    (
        "probes",
        "a gRPC port that is not there",
        update(lambda b: b.container("session-store")["readinessProbe"]["grpc"], port=18790),
    ),
    (
        "probes",
        "a program that the image has not",
        update(lambda b: b.container("agent-runner"), livenessProbe={"exec": {"command": ["true"]}}),
    ),
    (
        "probes",
        "a pod that is killed while it drains",
        update(lambda b: b.container("agent-runner")["livenessProbe"]["httpGet"], path="/readyz"),
    ),
    ("probes", "a probe that is missing", lambda b: b.container("session-store").pop("readinessProbe")),
    (
        "environment",
        "a variable that nothing reads",
        add_variable("agent-runner", "CLAWDBOT_RUNNER_LISTEN", "0.0.0.0:1"),
    ),
    ("environment", "a variable that is set twice", add_variable("agent-runner", "RUST_LOG", "debug")),
    ("environment", "a reference forwards", lambda b: b.container("agent-runner")["env"].reverse()),
    (
        "environment",
        "a secret in clear text",
        lambda b: b.variable("session-store", "CLAWDBOT_SESSION_STORE_DATABASE").update(
            valueFrom={}, value="postgres://a:b@c/d"
        ),
    ),
    ("environment", "a port that is no number", set_variable("gateway-http", "CLAWDBOT_GATEWAY_PORT", "http")),
    ("environment", "service links", update(lambda b: b.pod("gateway-http"), enableServiceLinks=True)),
    (
        "addresses",
        "a service that is not there",
        set_variable("gateway-http", "CLAWDBOT_AGENT_RUNNER_URL", "http://runner:18790"),
    ),
    (
        "addresses",
        "a port that the service has not",
        set_variable("gateway-http", "CLAWDBOT_AGENT_RUNNER_URL", "http://clawdbot-agent-runner:18791"),
    ),
    (
        "addresses",
        "the wrong service",
        set_variable("agent-runner", "CLAWDBOT_SESSION_STORE_URL", "http://clawdbot-agent-runner:18790"),
    ),
    (
        "addresses",
        "a service that is not headless",
        lambda b: b.object("Service", "agent-runner")["spec"].pop("clusterIP"),
    ),
    (
        "addresses",
        "a headless service that maps ports",
        lambda b: (
            b.object("Service", "session-store")["spec"]["ports"][0].update(port=80),
            b.variable("gateway-http", "CLAWDBOT_SESSION_STORE_URL").update(value="http://clawdbot-session-store:80"),
        ),
    ),
    (
        "addresses",
        "an address that is missing",
        lambda b: b.container("gateway-http").update(
            env=without(b.container("gateway-http")["env"], "CLAWDBOT_AGENT_RUNNER_URL")
        ),
    ),
    ("addresses", "a policy that does not let the gateway out", lambda b: b.policy("gateway-http").update(egress=[])),
    ("addresses", "a policy that does not let the runner in", lambda b: b.policy("session-store").update(ingress=[])),
    (
        "addresses",
        "a policy with another port",
        lambda b: b.policy("agent-runner")["ingress"][0].update(ports=[{"port": "http"}]),
    ),
    (
        "advertised",
        "an address that all runners share",
        set_variable("agent-runner", "CLAWDBOT_AGENT_RUNNER_ADVERTISE_URL", "http://clawdbot-agent-runner:18790"),
    ),
    (
        "advertised",
        "the address of the node",
        lambda b: b.variable("agent-runner", "POD_IP").update(valueFrom={"fieldRef": {"fieldPath": "status.hostIP"}}),
    ),
    (
        "trust",
        "a certificate that is not mounted",
        set_variable("session-store", "CLAWDBOT_SERVICES_TLS_CA", "/etc/ssl/ca.crt"),
    ),
    (
        "trust",
        "another name for one of them",
        set_variable("agent-runner", "CLAWDBOT_SERVICES_TLS_SERVER_NAME", "runner.agents.svc"),
    ),
    (
        "trust",
        "a probe without a certificate",
        lambda b: b.variable("agent-runner", "CLAWDBOT_SERVICES_TLS_CERT")
        and b.container("agent-runner").update(
            readinessProbe={"grpc": {"port": 18790, "service": "clawdbot.agent.v1.AgentRunner"}}
        ),
    ),
    (
        "trust",
        "a service that everybody could call",
        lambda b: b.container("session-store").update(
            env=[
                variable
                for variable in b.container("session-store")["env"]
                if not variable["name"].startswith("CLAWDBOT_SERVICES_")
            ]
        ),
    ),
    (
        "trust",
        "another secret for one of them",
        lambda b: b.variable("session-store", "CLAWDBOT_SERVICES_TOKEN").update(
            valueFrom={"secretKeyRef": {"name": "other", "key": "token"}}
        ),
    ),
    (
        "grace",
        "a grace period that is too short",
        update(lambda b: b.pod("agent-runner"), terminationGracePeriodSeconds=20),
    ),
    ("grace", "the usual grace period", lambda b: b.pod("gateway-http").pop("terminationGracePeriodSeconds")),
    ("grace", "a drain time that is too long", lambda b: b.configure("gateway-http", gateway={"drainMs": 600_000})),
    (
        "grace",
        "a pause that is too long",
        update(lambda b: b.container("session-store")["lifecycle"]["preStop"]["sleep"], seconds=90),
    ),
    (
        "grace",
        "a pause that needs a program",
        update(lambda b: b.container("session-store")["lifecycle"], preStop={"exec": {"command": ["sleep", "5"]}}),
    ),
    ("isolation", "a pod without a policy", lambda b: b.remove("NetworkPolicy", "session-store")),
    (
        "isolation",
        "a policy for nobody",
        update(lambda b: b.policy("session-store")["podSelector"]["matchLabels"], **{COMPONENT: "store"}),
    ),
    (
        "isolation",
        "a peer that is not there",
        lambda b: b.policy("session-store")["ingress"][0]["from"][0]["podSelector"]["matchLabels"].update(
            {COMPONENT: "gateway"}
        ),
    ),
    (
        "isolation",
        "a store that reaches the runner",
        lambda b: (
            b.policy("session-store")["egress"].append({"ports": [{"port": 18790}]}),
            b.policy("agent-runner")["ingress"][0].update(ANY),
        ),
    ),
    (
        "isolation",
        "a gateway that reaches a database",
        lambda b: b.policy("gateway-http")["egress"].append({"ports": [{"port": 5432}]}),
    ),
    (
        "isolation",
        "a gateway that reaches everything",
        lambda b: b.policy("gateway-http")["egress"].append({"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}),
    ),
    (
        "scaling",
        "an autoscaler of nothing",
        update(
            lambda b: b.object("HorizontalPodAutoscaler", "agent-runner")["spec"]["scaleTargetRef"],
            name="clawdbot-runner",
        ),
    ),
    ("scaling", "two that set the replicas", update(lambda b: b.scaled("agent-runner")["spec"], replicas=3)),
    (
        "scaling",
        "a metric that is not there",
        update(
            lambda b: b.object("HorizontalPodAutoscaler", "agent-runner")["spec"]["metrics"][0]["pods"]["metric"],
            name="clawdbot_runs",
        ),
    ),
    (
        "scaling",
        "CPU that is not requested",
        lambda b: b.scaled("gateway-http")["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"].pop(
            "cpu"
        ),
    ),
    (
        "configuration",
        "a file that is not there",
        set_variable("agent-runner", "CLAWDBOT_CONFIG_PATH", "/etc/clawdbot/config.json"),
    ),
    (
        "configuration",
        "a setting that is not there",
        lambda b: b.configure("agent-runner", agents={"defaults": {"modell": "a/b"}}),
    ),
    (
        "configuration",
        "a secret in the file",
        lambda b: b.configure("agent-runner", models={"providers": {"openai": {"apiKey": "sk-1"}}}),
    ),
    (
        "configuration",
        "a section that the binary does not read",
        lambda b: b.configure("session-store", agents={"list": [{"id": "main"}]}),
    ),
    (
        "configuration",
        "a variable that the pod has not",
        lambda b: b.configure("session-store", log={"format": "${LOG_FORMAT}"}),
    ),
    (
        "configuration",
        "pods that new settings do not roll",
        lambda b: b.object("Deployment", "agent-runner")["spec"]["template"]["metadata"]["annotations"].pop(
            "checksum/config"
        ),
    ),
    (
        "volumes",
        "a mount without a volume",
        lambda b: b.pod("agent-runner").update(volumes=without(b.pod("agent-runner")["volumes"], "tmp")),
    ),
    (
        "volumes",
        "a folder that cannot be written",
        lambda b: b.container("agent-runner").update(
            volumeMounts=without(b.container("agent-runner")["volumeMounts"], "models")
        ),
    ),
    ("volumes", "a service account that is not there", lambda b: b.remove("ServiceAccount", "")),
    (
        "volumes",
        "a token of the service account",
        update(lambda b: b.pod("session-store"), automountServiceAccountToken=True),
    ),
    ("volumes", "a claim that is not there", lambda b: b.remove("PersistentVolumeClaim", "-state")),
    (
        "scaling",
        "two processes with one file",
        update(lambda b: b.object("Deployment", "-clawdbot")["spec"], replicas=2),
    ),
]


def survivors(
    renderings: list[Manifests], complaints: Callable[[Manifests], dict[str, list[str]]], rules: list[str]
) -> list[str]:
    """The mutations that no rendering's check finds, and rules that no mutation tries."""
    failures = [
        f"no mutation tries the rule {rule}" for rule in rules if rule not in {rule for rule, _, _ in MUTATIONS}
    ]
    for rule, what, mutate in MUTATIONS:
        outcomes = []
        for manifests in renderings:
            broken = Broken(manifests)
            try:
                mutate(broken)
            except (StopIteration, KeyError, IndexError):
                # This rendering has no such object.
                continue
            outcomes.append(rule in complaints(Manifests(broken.documents)))
        if not outcomes:
            failures.append(f"no rendering has what it takes for {rule}: {what}")
        elif not all(outcomes):
            failures.append(f"not found by {rule}: {what}")
    return failures
