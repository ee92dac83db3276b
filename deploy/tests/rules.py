"""What must hold between the objects of one rendering, and between them and the binaries. Each rule yields complaints."""

import re
from collections.abc import Iterator

import binaries
from manifests import Manifests, Pod, matches
from network_rules import addresses, advertised, isolation, trust

Complaints = Iterator[str]


def selectors(manifests: Manifests) -> Complaints:
    """Every selector takes the pods that it is meant for, and no others."""
    for deployment in manifests.of_kind("Deployment"):
        name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
        taken = manifests.selected(deployment["spec"]["selector"])
        if [pod.owner for pod in taken] != [name]:
            yield f"Deployment {name} selects the pods of {[pod.owner for pod in taken]}"
        for constraint in deployment["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            if not matches(constraint["labelSelector"], labels):
                yield f"Deployment {name} spreads pods that are not its own"
    for service in manifests.of_kind("Service"):
        components = {pod.binary for pod in manifests.behind(service)}
        is_for_all = [port["name"] for port in service["spec"]["ports"]] == ["admin"]
        if not components or (len(components) > 1 and not is_for_all):
            yield f"Service {service['metadata']['name']} selects {sorted(components) or 'nothing'}"
    for budget in manifests.of_kind("PodDisruptionBudget"):
        taken = [pod.owner for pod in manifests.selected(budget["spec"]["selector"])]
        if taken != [budget["metadata"]["name"]]:
            yield f"PodDisruptionBudget {budget['metadata']['name']} selects {taken}"
    for monitor in manifests.of_kind("ServiceMonitor"):
        if not monitored(manifests, monitor):
            yield f"ServiceMonitor {monitor['metadata']['name']} selects no service"


def monitored(manifests: Manifests, monitor: dict) -> list[dict]:
    return [
        service
        for service in manifests.of_kind("Service")
        if matches(monitor["spec"]["selector"], service["metadata"]["labels"])
    ]


def ports(manifests: Manifests) -> Complaints:
    """Every port that is named or numbered somewhere is one that the pods behind it have."""
    for service in manifests.of_kind("Service"):
        for port in service["spec"]["ports"]:
            for pod in manifests.behind(service):
                if pod.port(port["targetPort"]) is None:
                    yield f"Service {service['metadata']['name']}: {pod.owner} has no port {port['targetPort']}"
    for monitor in manifests.of_kind("ServiceMonitor"):
        for endpoint in monitor["spec"]["endpoints"]:
            for service in monitored(manifests, monitor):
                if endpoint["port"] not in [port["name"] for port in service["spec"]["ports"]]:
                    yield f"ServiceMonitor: Service {service['metadata']['name']} has no port {endpoint['port']}"
            if endpoint["path"] not in binaries.PATHS["admin"]:
                yield f"ServiceMonitor: {endpoint['path']} is served by nobody"
    backends = [
        (path["backend"]["service"]["name"], "name", path["backend"]["service"]["port"]["name"])
        for ingress in manifests.of_kind("Ingress")
        for rule in ingress["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    backends += [
        (backend["name"], "port", backend["port"])
        for route in manifests.of_kind("HTTPRoute")
        for rule in route["spec"]["rules"]
        for backend in rule["backendRefs"]
    ]
    for name, field, port in backends:
        service = manifests.named("Service", name)
        if not service or port not in [entry[field] for entry in service["spec"]["ports"]]:
            yield f"a route leads to port {port} of Service {name}, which there is not"


def listening(manifests: Manifests) -> Complaints:
    """The ports of a container are those that its environment has the binary open, beyond loopback."""
    for pod in manifests.pods:
        binary = binaries.BINARIES[pod.binary]
        addresses = {name: pod.value(variable) or "" for name, variable in binary.listens.items()}
        opened = {name: address.rpartition(":")[2] for name, address in addresses.items()}
        if opened != {name: str(number) for name, number in pod.ports.items()}:
            yield f"{pod.owner}: the binary opens {opened}, the container has {pod.ports}"
        hosts = [address.rpartition(":")[0] for address in addresses.values() if ":" in address]
        if any(host != "0.0.0.0" for host in hosts) or (
            "http" in opened and pod.value("CLAWDBOT_GATEWAY_BIND") != "lan"
        ):
            yield f"{pod.owner}: listens on loopback only"


def probes(manifests: Manifests) -> Complaints:
    """Every probe asks for what the binary serves at that port."""
    for pod in manifests.pods:
        for missing in {"startupProbe", "readinessProbe", "livenessProbe"} - set(pod.probes):
            yield f"{pod.owner} has no {missing}"
        for kind, probe in pod.probes.items():
            if "httpGet" in probe:
                name, path = probe["httpGet"]["port"], probe["httpGet"]["path"]
                if name not in pod.ports or path not in binaries.PATHS.get(name, set()):
                    yield f"{pod.owner}: the {kind} asks port {name} for {path}, which nobody serves"
            elif "grpc" in probe:
                asked = (probe["grpc"]["port"], probe["grpc"].get("service"))
                served = (pod.ports.get("grpc"), binaries.BINARIES[pod.binary].grpc_service)
                if asked != served:
                    yield f"{pod.owner}: the {kind} asks {asked}, the binary serves {served}"
            else:
                yield f"{pod.owner}: the {kind} needs a program that the image has not"
        liveness = pod.probes.get("livenessProbe", {}).get("httpGet", {}).get("path")
        if liveness == "/readyz":
            yield f"{pod.owner}: is killed while it drains or waits for others"


def environment(manifests: Manifests) -> Complaints:
    """Every variable is read by something, and none holds a secret."""
    for pod in manifests.pods:
        names = [variable["name"] for variable in pod.container["env"]]
        for name in {name for name in names if names.count(name) > 1}:
            yield f"{pod.owner}: {name} is set twice"
        text = " ".join(variable.get("value", "") for variable in pod.container["env"])
        text += manifests.config_text(pod) or ""
        for position, variable in enumerate(pod.container["env"]):
            name, value = variable["name"], variable.get("value")
            if name not in binaries.ALL_VARIABLES and f"$({name})" not in text and f"${{{name}}}" not in text:
                yield f"{pod.owner}: nothing reads {name}"
            for used in re.findall(r"\$\((\w+)\)", value or ""):
                if used not in names[:position]:
                    yield f"{pod.owner}: {name} refers to {used}, which is not set before it"
            setting = binaries.VARIABLES.get(name)
            if setting and setting.kind == "Secret" and "secretKeyRef" not in variable.get("valueFrom", {}):
                yield f"{pod.owner}: {name} is a secret in clear text"
            if setting and setting.kind == "Integer" and not (value or "").isdigit():
                yield f"{pod.owner}: {name} is not a number"
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.owner}: service links can set our variables"


def grace(manifests: Manifests) -> Complaints:
    """A pod has the time that its binary takes to end."""
    for pod in manifests.pods:
        action = pod.container.get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
        if "sleep" not in action:
            yield f"{pod.owner}: preStop needs a program that the image has not"
            continue
        drain = binaries.drain_seconds(pod.binary, manifests.config(pod))
        needed = action["sleep"]["seconds"] + drain + binaries.LAST_WORDS_SECONDS
        if (given := pod.spec.get("terminationGracePeriodSeconds", 30)) < needed:
            yield f"{pod.owner}: is killed after {given} s, and may take {needed} s"


def scaling(manifests: Manifests) -> Complaints:
    """An autoscaler has something to scale, alone, and a metric that there is."""
    for autoscaler in manifests.of_kind("HorizontalPodAutoscaler"):
        name = autoscaler["metadata"]["name"]
        target = manifests.named("Deployment", autoscaler["spec"]["scaleTargetRef"]["name"])
        if not target:
            yield f"HorizontalPodAutoscaler {name} has nothing to scale"
            continue
        if "replicas" in target["spec"]:
            yield f"Deployment {target['metadata']['name']} sets the replicas that {name} sets too"
        for metric in autoscaler["spec"]["metrics"]:
            pod = Pod(target)
            if metric["type"] == "Pods":
                if pod.binary != "agent-runner" or metric["pods"]["metric"]["name"] not in binaries.METRICS:
                    yield f"HorizontalPodAutoscaler {name}: {pod.binary} has no {metric['pods']['metric']['name']}"
            elif metric["resource"]["name"] not in pod.container["resources"]["requests"]:
                yield f"HorizontalPodAutoscaler {name}: the pods request no {metric['resource']['name']}"
    if stray := [
        pod.owner
        for pod in manifests.pods
        if pod.binary == "clawdbot" and manifests.named("Deployment", pod.owner)["spec"].get("replicas") != 1
    ]:
        yield f"{stray}: two processes with one file"


def configuration(manifests: Manifests) -> Complaints:
    """A pod's configuration file is there, has settings of ours that its binary reads, and no secret."""
    for pod in manifests.pods:
        if manifests.config_text(pod) is None:
            yield f"{pod.owner}: CLAWDBOT_CONFIG_PATH is no file of a ConfigMap"
            continue
        config = manifests.config(pod)
        for section in set(config) - binaries.SECTIONS[pod.binary]:
            yield f"{pod.owner}: is given the section {section}, which it does not read"
        for path, value in leaves(config, []):
            setting, place = binaries.setting_at(path), ".".join(map(str, path))
            if not setting:
                yield f"{pod.owner}: {place} is no setting"
            elif setting.kind == "Secret" and not re.fullmatch(r"\$\{\w+\}", str(value)):
                yield f"{pod.owner}: {place} is a secret in clear text"
            for name in re.findall(r"(?<!\$)\$\{(\w+)\}", str(value)):
                if name not in pod.environment and not pod.container.get("envFrom"):
                    yield f"{pod.owner}: {place} refers to {name}, which the pod has not"
        if "checksum/config" not in pod.annotations:
            yield f"{pod.owner}: new settings do not reach it"


def leaves(value: object, path: list) -> Iterator[tuple[list, object]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if children is None or (
        path and (setting := binaries.setting_at(path)) and setting.kind == "Structure" and isinstance(value, list)
    ):
        yield path, value
        return
    for key, child in children:
        yield from leaves(child, [*path, key])


def volumes(manifests: Manifests) -> Complaints:
    """Every mount has its volume, and every volume that the chart makes is there; what is written is no part of the image."""
    for pod in manifests.pods:
        declared = {volume["name"]: volume for volume in pod.spec["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in pod.container["volumeMounts"]}
        for mount in mounts.values():
            if mount["name"] not in declared:
                yield f"{pod.owner}: the volume {mount['name']} is not declared"
        claims = [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in declared.values()
            if "persistentVolumeClaim" in volume
        ]
        for claim in claims:
            if claim.startswith(f"{manifests.pods[0].labels['app.kubernetes.io/instance']}-") and not manifests.named(
                "PersistentVolumeClaim", claim
            ):
                yield f"{pod.owner}: there is no PersistentVolumeClaim {claim}"
        written = {"agent-runner": ["/home/nonroot", "/var/cache/clawdbot", "/tmp"]}
        written["clawdbot"] = [*written["agent-runner"], pod.value("CLAWDBOT_STATE_DIR")]
        for folder in written.get(pod.binary, []):
            if folder not in mounts or mounts[folder].get("readOnly"):
                yield f"{pod.owner}: cannot write to {folder}"
        account = manifests.named("ServiceAccount", pod.spec.get("serviceAccountName", ""))
        if not account or pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.owner}: has no service account of the chart's, or its token"


RULES = [
    selectors,
    ports,
    listening,
    probes,
    environment,
    addresses,
    advertised,
    trust,
    grace,
    isolation,
    scaling,
    configuration,
    volumes,
]
