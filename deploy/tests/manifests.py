"""Rendered manifests, with the questions that Kubernetes itself would ask of them."""

import json
from functools import cached_property

import yaml


def matches(selector: dict | None, labels: dict) -> bool:
    """Whether a label selector takes these labels; an empty one takes all."""
    selector = selector or {}
    for expression in selector.get("matchExpressions", []):
        raise ValueError(f"matchExpressions are not understood here: {expression}")
    return selector.get("matchLabels", {}).items() <= labels.items()


class Pod:
    """The pod of a Deployment."""

    def __init__(self, deployment: dict):
        self.owner = deployment["metadata"]["name"]
        self.labels = deployment["spec"]["template"]["metadata"]["labels"]
        self.annotations = deployment["spec"]["template"]["metadata"].get("annotations", {})
        self.spec = deployment["spec"]["template"]["spec"]
        self.container = self.spec["containers"][0]

    @property
    def binary(self) -> str:
        """The binary that the image is named after."""
        return self.container["image"].rsplit("/", 1)[-1].split(":")[0]

    @property
    def environment(self) -> dict[str, dict]:
        return {variable["name"]: variable for variable in self.container.get("env", [])}

    def value(self, name: str) -> str | None:
        return self.environment.get(name, {}).get("value")

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}

    def port(self, name_or_number: str | int) -> int | None:
        """The number of one of its ports."""
        number = self.ports.get(name_or_number, name_or_number)
        return number if number in self.ports.values() else None

    @property
    def probes(self) -> dict[str, dict]:
        return {key: probe for key, probe in self.container.items() if key.endswith("Probe")}


class Manifests:
    def __init__(self, documents: list[dict]):
        self.documents = documents

    @classmethod
    def read(cls, path: str) -> "Manifests":
        with open(path) as file:
            return cls([document for document in yaml.safe_load_all(file) if document])

    def of_kind(self, kind: str) -> list[dict]:
        return [document for document in self.documents if document["kind"] == kind]

    def named(self, kind: str, name: str) -> dict | None:
        return next((document for document in self.of_kind(kind) if document["metadata"]["name"] == name), None)

    @cached_property
    def pods(self) -> list[Pod]:
        return [Pod(deployment) for deployment in self.of_kind("Deployment")]

    def selected(self, selector: dict | None) -> list[Pod]:
        return [pod for pod in self.pods if matches(selector, pod.labels)]

    def behind(self, service: dict) -> list[Pod]:
        return self.selected({"matchLabels": service["spec"]["selector"]})

    def config(self, pod: Pod) -> dict:
        """The configuration file that a pod is given."""
        text = self.config_text(pod)
        return json.loads(text) if text else {}

    def config_text(self, pod: Pod) -> str | None:
        folder, _, file = (pod.value("CLAWDBOT_CONFIG_PATH") or "").rpartition("/")
        mount = next((mount for mount in pod.container["volumeMounts"] if mount["mountPath"] == folder), {})
        volume = next((volume for volume in pod.spec["volumes"] if volume["name"] == mount.get("name")), {})
        config_map = self.named("ConfigMap", volume.get("configMap", {}).get("name", ""))
        return (config_map or {}).get("data", {}).get(file)

    def policies(self, pod: Pod, direction: str) -> list[dict]:
        """The network policies that govern a pod's `Ingress` or `Egress`."""
        return [
            policy
            for policy in self.of_kind("NetworkPolicy")
            if direction in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], pod.labels)
        ]

    def admits(self, client: Pod, server: Pod, port: int) -> bool:
        """Whether the policies let one pod call another one's port."""
        out, into = self.policies(client, "Egress"), self.policies(server, "Ingress")
        leaves = not out or any(
            opens(rule, "to", server, server, port) for policy in out for rule in policy["spec"]["egress"]
        )
        enters = not into or any(
            opens(rule, "from", client, server, port) for policy in into for rule in policy["spec"]["ingress"]
        )
        return leaves and enters


def opens(rule: dict, side: str, peer: Pod, server: Pod, port: int) -> bool:
    """Whether a policy's rule lets a pod of the same namespace through to a port of `server`."""
    ports = [entry["port"] for entry in rule.get("ports", [])]
    if ports and port not in [server.port(entry) for entry in ports]:
        return False
    peers = rule.get(side, [])
    # Other namespaces and networks are no pods of ours.
    return not peers or any(
        set(entry) == {"podSelector"} and matches(entry["podSelector"], peer.labels) for entry in peers
    )
