"""The running release with those who talk to it, as the checks find it."""

from cluster.clients import Client
from cluster.cluster import Cluster
from cluster.load import Load, Talk
from cluster.outside import Provider
from cluster.pods import Pod


class Stage:
    """The cluster, with those who talk to it."""

    def __init__(self, cluster: Cluster, provider: Provider, service: str, port: int):
        self.cluster, self.provider = cluster, provider
        self.gateways = cluster.deployments["gateway-http"]
        self.runners = cluster.deployments["agent-runner"]
        self.stores = cluster.deployments["session-store"]
        self._address, self._port = cluster.services.addresses[service], port

    def client(self, keeps_connection: bool = False) -> Client:
        """Somebody who talks to the gateway's Service."""
        return Client(self._address, self._port, keeps_connection)

    def load(self, talks: list[Talk]) -> Load:
        return Load(self.client, talks)

    def client_of(self, gateway: Pod) -> Client:
        """Somebody who talks to one gateway, whatever the Service says."""
        return Client(gateway.address, gateway.template.ports["http"])

    def assert_good_ends(self) -> None:
        """No pod has died by itself, was killed, or ended with anything but 0."""
        pods = self.cluster.all_pods()
        complaints = [complaint for pod in pods for complaint in pod.complaints]
        complaints += [f"{pod.name}: died with {code}" for pod in pods for code in pod.deaths]
        assert not complaints, "\n  ".join(complaints)
