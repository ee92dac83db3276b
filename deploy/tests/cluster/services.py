"""The chart's Services: names with several addresses for the headless ones, and for the others an address of their own,
behind which the node picks a pod for each connection."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from cluster.isolation import run
from cluster.names import Names
from cluster.network import NODE
from manifests import Manifests, Pod as Template, matches


class Backend(Protocol):
    """What a Service has to know of a pod."""

    template: Template
    address: str

    @property
    def is_serving(self) -> bool:
        """Whether it is ready, and is not told to end."""
        ...


class Services:
    def __init__(self, manifests: Manifests, namespace: str, folder: Path, pods: Callable[[], Iterable[Backend]]):
        self._services = manifests.of_kind("Service")
        self._pods = pods
        self._lock = threading.Lock()
        self._outside: list[tuple[str, str]] = []
        self.names = Names(namespace, folder)
        with_address = [service for service in self._services if service["spec"].get("clusterIP") != "None"]
        self.addresses = {
            service["metadata"]["name"]: f"10.96.1.{number}" for number, service in enumerate(with_address, 1)
        }
        # A connection from the node itself needs a way to go, too, before it is led to a pod.
        run("ip", "route", "add", "10.96.1.0/24", "dev", "lo", "src", NODE)
        run("iptables", "--wait", "--table", "nat", "--new-chain", "SERVICES")
        for chain in ("PREROUTING", "OUTPUT"):
            run("iptables", "--wait", "--table", "nat", "--append", chain, "-j", "SERVICES")

    def name_outside(self, name: str, address: str) -> None:
        """Gives a name to something that the chart does not have."""
        self._outside.append((name, address))
        self.publish()

    def publish(self) -> None:
        """Has all Services lead to the pods that serve now."""
        with self._lock:
            pods = list(self._pods())
            named, rules = list(self._outside), []
            for service in self._services:
                name, spec = service["metadata"]["name"], service["spec"]
                behind = [
                    pod
                    for pod in pods
                    if matches({"matchLabels": spec["selector"]}, pod.template.labels)
                    and (pod.is_serving or spec.get("publishNotReadyAddresses"))
                ]
                if name in self.addresses:
                    named.append((self.names.of_service(name), self.addresses[name]))
                    for port in spec["ports"]:
                        rules += proxy_rules(self.addresses[name], port, behind)
                else:
                    named += [(self.names.of_service(name), pod.address) for pod in behind]
            self.names.publish(named)
            # Naming the chain empties it, so that one commit takes it from what it was to what it is.
            text = "\n".join(["*nat", ":SERVICES - [0:0]", *rules, "COMMIT", ""])
            run("iptables-restore", "--wait", "--noflush", text=text)


def proxy_rules(address: str, port: dict, pods: list[Backend]) -> list[str]:
    """Leads each new connection to one of the pods, all with the same probability; those that there are stay."""
    return [
        f"-A SERVICES -d {address}/32 -p tcp --dport {port['port']}"
        f" -m statistic --mode random --probability {1 / (len(pods) - place):.8f}"
        f" -j DNAT --to-destination {pod.address}:{pod.template.port(port['targetPort'])}"
        for place, pod in enumerate(pods)
    ]
