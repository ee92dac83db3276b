"""What the Deployment controller does: the right number of pods of the right revision, a new one ready before an old one
goes."""

import itertools
import math
import threading
from collections.abc import Callable

from cluster.pods import Pod
from manifests import Pod as Template

MakePod = Callable[[Template, str, int], Pod]


class Deployment:
    def __init__(self, document: dict, make_pod: MakePod):
        spec = document["spec"]
        if spec["strategy"]["type"] != "RollingUpdate":
            raise NotImplementedError(f"strategy {spec['strategy']['type']}")
        self.name: str = document["metadata"]["name"]
        self.template = Template(document)
        self._make_pod, self._numbers = make_pod, itertools.count(1)
        self._rolling = spec["strategy"]["rollingUpdate"]
        self._min_ready_seconds: int = spec.get("minReadySeconds", 0)
        self._lock = threading.Lock()
        self._revision = 1
        self._replicas: int = spec["replicas"]
        self._pods: list[Pod] = []
        # Those that are gone, for what is to be said of them.
        self.gone: list[Pod] = []

    @property
    def pods(self) -> list[Pod]:
        with self._lock:
            return list(self._pods)

    @property
    def serving(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.is_serving]

    def scale(self, replicas: int) -> None:
        with self._lock:
            self._replicas = replicas

    def restart(self) -> None:
        """As `kubectl rollout restart` would: every pod is of an old revision now."""
        with self._lock:
            self._revision += 1

    def is_settled(self) -> bool:
        """Whether all pods are as they should be, and those that had to go are gone."""
        with self._lock:
            return len(self._pods) == self._replicas and all(
                pod.revision == self._revision and pod.is_available(self._min_ready_seconds) for pod in self._pods
            )

    def reconcile(self) -> None:
        """One step towards what should be."""
        with self._lock:
            self.gone += [pod for pod in self._pods if pod.is_gone]
            self._pods = [pod for pod in self._pods if not pod.is_gone]
            # Pods that end are not counted: the next one is made meanwhile.
            staying = [pod for pod in self._pods if not pod.is_terminating]
            new = [pod for pod in staying if pod.revision == self._revision]
            old = [pod for pod in staying if pod.revision != self._revision]
            surge = self._count("maxSurge", math.ceil) if old else 0
            for _ in range(min(self._replicas - len(new), self._replicas + surge - len(staying))):
                name = f"{self.name}-{self._revision}-{next(self._numbers)}"
                self._pods.append(self._make_pod(self.template, name, self._revision))
            superfluous = self._superfluous(new, old)
        # Without the lock: it changes what the Services lead to, for which somebody may be asking for the pods just now.
        for pod in superfluous:
            pod.terminate()

    def _superfluous(self, new: list[Pod], old: list[Pod]) -> list[Pod]:
        """Those that can go without too few being left: of the old ones who serve nobody first, of the new the youngest."""
        available = sum(pod.is_available(self._min_ready_seconds) for pod in [*new, *old])
        spare = available - (self._replicas - self._count("maxUnavailable", math.floor))
        candidates = sorted(old, key=lambda pod: pod.is_serving) or new[self._replicas :][::-1]
        idle = [pod for pod in candidates if not pod.is_available(self._min_ready_seconds)]
        return idle + [pod for pod in candidates if pod not in idle][: max(0, spare)]

    def _count(self, field: str, rounded: Callable[[float], int]) -> int:
        """A number of pods, which may be said as a percentage."""
        said = self._rolling[field]
        return rounded(self._replicas * int(said[:-1]) / 100) if isinstance(said, str) else said
