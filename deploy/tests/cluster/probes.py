"""The kubelet's probes, asked from the node: `httpGet` and `grpc`, each with its period, its patience and its threshold."""

import http.client
import time

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from manifests import Pod as Template


class Probe:
    """One probe of one pod; `None` as its outcome until enough answers in a row say the same."""

    def __init__(self, spec: dict, template: Template, address: str):
        self._spec, self._template, self._address = spec, template, address
        self._timeout = spec.get("timeoutSeconds", 1)
        self._row, self._last = 0, False
        self._due = time.monotonic() + spec.get("initialDelaySeconds", 0)
        self.complaint = ""

    def look(self) -> bool | None:
        """Asks if it is time to: true once it succeeds, false once it has failed often enough."""
        if time.monotonic() < self._due:
            return None
        passed = self._passes()
        self._due = time.monotonic() + self._spec.get("periodSeconds", 10)
        self._row = self._row + 1 if passed == self._last else 1
        self._last = passed
        needed = self._spec.get("successThreshold", 1) if passed else self._spec.get("failureThreshold", 3)
        return passed if self._row >= needed else None

    def _passes(self) -> bool:
        try:
            return self._get() if "httpGet" in self._spec else self._check_health()
        except (OSError, http.client.HTTPException, grpc.RpcError) as error:
            self.complaint = repr(error)
            return False

    def _get(self) -> bool:
        asked = self._spec["httpGet"]
        port = self._template.port(asked["port"])
        connection = http.client.HTTPConnection(self._address, port, timeout=self._timeout)
        try:
            connection.request("GET", asked["path"])
            answer = connection.getresponse()
            self.complaint = f"{answer.status} {answer.read(200)!r}"
            return 200 <= answer.status < 400
        finally:
            connection.close()

    def _check_health(self) -> bool:
        asked = self._spec["grpc"]
        # Channels of the same address would share a connection; a kubelet makes one for each look.
        with grpc.insecure_channel(
            f"{self._address}:{asked['port']}", options=[("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            request = health_pb2.HealthCheckRequest(service=asked.get("service", ""))
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=self._timeout)
        self.complaint = f"status {answer.status}"
        return answer.status == health_pb2.HealthCheckResponse.SERVING
