"""Who must reach whom, and who must not."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import binaries
from manifests import Manifests, Pod

Complaints = Iterator[str]


def addresses(manifests: Manifests) -> Complaints:
    """Every address of another service leads to a headless service of the right pods, and the policies let it through."""
    for pod in manifests.pods:
        for variable, expected in binaries.LEADS_TO.items():
            if (value := pod.value(variable)) is None:
                continue
            url = urlsplit(value)
            service = manifests.named("Service", url.hostname or "")
            port = next(
                (port for port in (service or {"spec": {"ports": []}})["spec"]["ports"] if port["port"] == url.port),
                None,
            )
            if url.scheme != scheme(pod) or not port:
                yield f"{pod.owner}: {variable} is {value}, where no service is"
                continue
            if service["spec"].get("clusterIP") != "None":
                yield f"{pod.owner}: {variable} leads to one address for all pods"
            for server in manifests.behind(service):
                if server.binary != expected:
                    yield f"{pod.owner}: {variable} leads to {server.binary}"
                number = server.port(port["targetPort"])
                if number != url.port:
                    yield f"{pod.owner}: {variable} names port {url.port}, the pods have {number}, and headless services map none"
                elif not manifests.admits(pod, server, number):
                    yield f"{pod.owner}: the network policies do not let it reach {server.owner}"
        needed = {"gateway-http": set(binaries.LEADS_TO), "agent-runner": {"CLAWDBOT_SESSION_STORE_URL"}}
        for variable in needed.get(pod.binary, set()) - set(pod.environment):
            yield f"{pod.owner}: {variable} is not set, and its default is loopback"


def scheme(pod: Pod) -> str:
    """How a service calls others."""
    return "https" if "CLAWDBOT_SERVICES_TLS_CERT" in pod.environment else "http"


def trust(manifests: Manifests) -> Complaints:
    """Services know each other in the same way, with files that are mounted, and a probe has what it needs."""
    services = [pod for pod in manifests.pods if pod.binary != "clawdbot"]
    shown = {
        "the secret": lambda pod: str(pod.environment.get("CLAWDBOT_SERVICES_TOKEN")),
        "the name": lambda pod: str(pod.value("CLAWDBOT_SERVICES_TLS_SERVER_NAME")),
        "TLS": scheme,
    }
    for what, of in shown.items():
        if len({of(pod) for pod in services}) > 1:
            yield f"the services differ in {what}"
    for pod in services:
        known = {"CLAWDBOT_SERVICES_TOKEN", "CLAWDBOT_SERVICES_TLS_CERT", "CLAWDBOT_SERVICES_ALLOW_INSECURE"}
        if pod.ports.get("grpc") and not known & set(pod.environment):
            yield f"{pod.owner}: refuses to listen, since nobody has to show anything"
        mounts = {mount["mountPath"] for mount in pod.container["volumeMounts"]}
        for name in ("CERT", "KEY", "CA"):
            path = pod.value(f"CLAWDBOT_SERVICES_TLS_{name}")
            if (path is None) != (scheme(pod) == "http") or (path and path.rpartition("/")[0] not in mounts):
                yield f"{pod.owner}: CLAWDBOT_SERVICES_TLS_{name} is {path}, which is not mounted"
        if scheme(pod) == "https" and any("grpc" in probe for probe in pod.probes.values()):
            yield f"{pod.owner}: the kubelet has no certificate to ask by gRPC with"


def advertised(manifests: Manifests) -> Complaints:
    """A runner tells others its own address, where they reach it."""
    for pod in manifests.pods:
        if pod.binary != "agent-runner":
            continue
        source = pod.environment.get("POD_IP", {}).get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        url = pod.value("CLAWDBOT_AGENT_RUNNER_ADVERTISE_URL")
        if url != f"{scheme(pod)}://$(POD_IP):{pod.ports.get('grpc')}" or source != "status.podIP":
            yield f"{pod.owner}: gives out {url}, with POD_IP from {source}"


def isolation(manifests: Manifests) -> Complaints:
    """The policies, if there are any, let in and out only who has to be."""
    if not manifests.of_kind("NetworkPolicy"):
        return
    wanted = {
        ("gateway-http", "agent-runner"),
        ("gateway-http", "session-store"),
        ("agent-runner", "session-store"),
        ("agent-runner", "agent-runner"),
    }
    for policy in manifests.of_kind("NetworkPolicy"):
        if not manifests.selected(policy["spec"]["podSelector"]):
            yield f"NetworkPolicy {policy['metadata']['name']} selects no pod"
        for rule in [*policy["spec"].get("egress", []), *policy["spec"].get("ingress", [])]:
            for peer in [*rule.get("to", []), *rule.get("from", [])]:
                if set(peer) == {"podSelector"} and not manifests.selected(peer["podSelector"]):
                    yield f"NetworkPolicy {policy['metadata']['name']} names pods that there are not"
    for server in manifests.pods:
        for direction in ("Ingress", "Egress"):
            if not manifests.policies(server, direction):
                yield f"{server.owner}: no policy governs its {direction}"
        for client in manifests.pods:
            if server.ports.get("grpc") and manifests.admits(client, server, server.ports["grpc"]):
                if (client.binary, server.binary) not in wanted:
                    yield f"{client.owner} can reach {server.owner}"
        yield from leaks(manifests, server)


def leaks(manifests: Manifests, pod: Pod) -> Complaints:
    """Only the store reaches a database, and only where agents run there is a way to the internet."""
    keeps_sessions = "CLAWDBOT_SESSION_STORE_DATABASE" in pod.environment
    for policy in manifests.policies(pod, "Egress"):
        for rule in policy["spec"]["egress"]:
            is_open = not rule.get("to") or any("ipBlock" in peer for peer in rule["to"])
            numbers = {entry["port"] for entry in rule.get("ports", [])}
            collector = urlsplit(pod.value("OTEL_EXPORTER_OTLP_ENDPOINT") or "").port
            is_known = (
                (numbers and numbers <= {53, collector}) or keeps_sessions or pod.binary in ("agent-runner", "clawdbot")
            )
            if is_open and not is_known:
                yield f"{pod.owner}: has a way out at {sorted(numbers) or 'every port'}"
