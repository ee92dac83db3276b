"""The release as it runs: its Deployments, its Services, and what has to be there beside them."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from cluster.containers import Release
from cluster.deployments import Deployment
from cluster.network import Network
from cluster.pods import Pod
from cluster.services import Services
from manifests import Manifests, Pod as Template

TICK_SECONDS = 0.2


class Cluster:
    def __init__(self, manifests: Manifests, namespace: str, binaries: Path, folder: Path, network: Network):
        self._manifests, self._namespace, self._binaries, self._folder = manifests, namespace, binaries, folder
        self.network = network
        self.deployments: dict[str, Deployment] = {}
        self.services = Services(manifests, namespace, folder, self.pods)
        self._ending = threading.Event()

    def install(self, secrets: dict[str, dict[str, str]]) -> None:
        """Has the release's pods come up, and keeps them as they should be until the test ends."""
        release = Release(
            self._manifests,
            self._namespace,
            secrets,
            self._binaries,
            self.services.names.resolv_conf(),
            self._folder,
        )

        def make_pod(template: Template, name: str, revision: int) -> Pod:
            return Pod(release, self.network, template, name, revision, self.services.publish)

        for document in self._manifests.of_kind("Deployment"):
            deployment = Deployment(document, make_pod)
            self.deployments[deployment.template.binary] = deployment
        threading.Thread(target=self._reconcile, daemon=True).start()
        self.settle()

    def _is_settled(self) -> bool:
        # One that cannot start need not be waited for.
        broken = [pod.name for pod in self.pods() if len(pod.deaths) > 2]
        assert not broken, f"{broken} die again and again"
        return all(deployment.is_settled() for deployment in self.deployments.values())

    def pods(self) -> list[Pod]:
        return [pod for deployment in self.deployments.values() for pod in deployment.pods]

    def all_pods(self) -> list[Pod]:
        """Those that are gone too."""
        return [pod for deployment in self.deployments.values() for pod in [*deployment.gone, *deployment.pods]]

    def settle(self, timeout: float = 90) -> None:
        """Waits until all Deployments are as they should be."""
        wait_for(self._is_settled, timeout, "not all pods are as they should be")

    def _reconcile(self) -> None:
        while not self._ending.wait(TICK_SECONDS):
            for deployment in self.deployments.values():
                deployment.reconcile()


def wait_for(holds: Callable[[], bool], timeout: float, otherwise: str) -> float:
    """Waits until something holds, and gives the seconds that it took."""
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > timeout:
            raise AssertionError(f"{otherwise} after {timeout:g} s")
        time.sleep(0.05)
    return time.monotonic() - begun
