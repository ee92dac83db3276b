"""The node's network: every pod has a namespace and an address of its own, and what pods say to each other goes through the
node, which can keep it from them."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.isolation import run

NODE = "10.244.0.1"


class Network:
    """Networks of pods. There is no bridge: each pod has a cable to the node, which routes. So all traffic passes the
    node's firewall, on kernels without br_netfilter too."""

    def __init__(self) -> None:
        run("ip", "address", "add", f"{NODE}/32", "dev", "lo")
        self._numbers = itertools.count(2)
        self._lock = threading.Lock()

    def add(self, name: str) -> str:
        """Makes a pod's network, and gives its address, which no other pod has had."""
        with self._lock:
            number = next(self._numbers)
        address, cable = f"10.244.{number // 250}.{number % 250 + 1}", f"pod{number}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "address", "add", f"{NODE}/32", "dev", cable)
        run("ip", "link", "set", cable, "up")
        run("ip", "route", "add", address, "dev", cable)
        for words in (
            ["link", "set", "lo", "up"],
            ["link", "set", "eth0", "up"],
            ["address", "add", f"{address}/32", "dev", "eth0"],
            ["route", "add", NODE, "dev", "eth0"],
            ["route", "add", "default", "via", NODE],
        ):
            run("ip", "-netns", name, *words)
        return address

    def remove(self, name: str) -> None:
        """Takes a pod's network away, its cable included."""
        run("ip", "netns", "delete", name)

    @contextmanager
    def parted(self, one: str, other: str) -> Iterator[None]:
        """Loses everything that two addresses say to each other meanwhile."""
        self._rule("--insert", one, other)
        try:
            yield
        finally:
            self._rule("--delete", one, other)

    def _rule(self, change: str, one: str, other: str) -> None:
        for source, destination in ((one, other), (other, one)):
            run("iptables", "--wait", change, "FORWARD", "-s", source, "-d", destination, "-j", "DROP")
