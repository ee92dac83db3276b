"""What the release needs and the chart has not: PostgreSQL and a model provider, each at an address of its own."""

import http.client
import json
import subprocess
import sys
from pathlib import Path

from binaries import ROOT
from cluster.cluster import Cluster, wait_for
from cluster.isolation import run
from cluster.provider import PORT

DATABASE_HOST = "postgres.databases.svc.cluster.local"
PROVIDER_HOST = "models.example.com"


def start_postgres(cluster: Cluster, folder: Path) -> str:
    """Starts PostgreSQL, and gives its URL as the store is to have it."""
    address = cluster.network.add("postgres")
    inside = ["ip", "netns", "exec", "postgres", "env", f"POSTGRES_ADDRESS={address}"]
    url = run(*inside, ROOT / "session-store/tests/postgres-cluster", "start", folder).strip()
    cluster.services.name_outside(DATABASE_HOST, address)
    return url.replace(address, DATABASE_HOST)


class Provider:
    """The stub provider, with a view of what it was asked."""

    def __init__(self, cluster: Cluster, folder: Path):
        self.address = cluster.network.add("models")
        cluster.services.name_outside(PROVIDER_HOST, self.address)
        self.log = folder / "provider.log"
        with self.log.open("wb") as log:
            command = ["ip", "netns", "exec", "models", sys.executable, "-m", "cluster.provider", self.address]
            subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        wait_for(self._answers, 10, "the provider does not answer")

    def asked(self, since: int = 0) -> list[dict]:
        """Who asked what, oldest first: `from`, `prompt` and the texts of all `messages`."""
        connection = http.client.HTTPConnection(self.address, PORT, timeout=10)
        try:
            connection.request("GET", "/asked")
            return json.loads(connection.getresponse().read())[since:]
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            return self.asked() == []
        except OSError:
            return False
