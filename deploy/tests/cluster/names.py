"""The cluster's DNS: a name for each Service, with the addresses of its pods where it has none of its own."""

import os
import signal
import subprocess
from pathlib import Path

from cluster.isolation import run

SERVER = "10.96.0.10"
DOMAIN = "cluster.local"
# How long those who ask may keep an answer.
TTL_SECONDS = 2


class Names:
    def __init__(self, namespace: str, folder: Path):
        self._namespace = namespace
        self._hosts = folder / "hosts"
        self._hosts.touch()
        run("ip", "address", "add", f"{SERVER}/32", "dev", "lo")
        self._server = subprocess.Popen(
            [
                "dnsmasq",
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                f"--listen-address={SERVER}",
                "--bind-interfaces",
                "--no-resolv",
                "--no-hosts",
                f"--addn-hosts={self._hosts}",
                # Of a name that is not in the file it is certain that there is none.
                "--address=/#/",
                f"--local-ttl={TTL_SECONDS}",
                "--user=root",
                "--pid-file=",
            ]
        )

    def resolv_conf(self) -> str:
        """What a pod with the DNS policy `ClusterFirst` is given."""
        search = f"{self._namespace}.svc.{DOMAIN} svc.{DOMAIN} {DOMAIN}"
        return f"nameserver {SERVER}\nsearch {search}\noptions ndots:5\n"

    def of_service(self, name: str) -> str:
        return f"{name}.{self._namespace}.svc.{DOMAIN}"

    def publish(self, addresses: list[tuple[str, str]]) -> None:
        """Has these names lead to these addresses, and no others."""
        text = "".join(f"{address} {name}\n" for name, address in addresses)
        if text != self._hosts.read_text():
            written = self._hosts.with_suffix(".new")
            written.write_text(text)
            written.rename(self._hosts)
            os.kill(self._server.pid, signal.SIGHUP)
