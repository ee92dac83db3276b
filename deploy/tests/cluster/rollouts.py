"""Rolling restarts while many talk to the gateway."""

import itertools
import time

from cluster.deployments import Deployment
from cluster.load import Talk
from cluster.stage import Stage

# The longest take longer than the pause before a pod is told to end, so that they are in flight while it drains.
LONG, MIDDLE, SHORT = "words=45 every=0.2", "words=20 every=0.1", "words=5 every=0.05"


def rolling_restarts_lose_nothing(stage: Stage) -> str:
    """a rolling restart of every deployment under load loses no answer and breaks no stream"""
    return under_load(stage, everybody("roll"), [[stage.gateways], [stage.runners], [stage.stores]])


def rolling_all_at_once_loses_nothing(stage: Stage) -> str:
    """nor does a rolling restart of all deployments at once"""
    return under_load(stage, everybody("together"), [[stage.gateways, stage.runners, stage.stores]])


def kept_connections_lose_nothing(stage: Stage) -> str:
    """nor does a rolling restart of the gateways with clients that ask again over the connection that they have"""
    # Streams, since an answer that has not begun can still say that its connection will be closed.
    talks = [
        Talk(f"kept-{number}", options, number % 2 == 0, stream=True, keeps_connection=True)
        for number, options in enumerate([LONG, MIDDLE, MIDDLE, MIDDLE] * 8)
    ]
    return under_load(stage, talks, [[stage.gateways]])


def under_load(stage: Stage, talks: list[Talk], steps: list[list[Deployment]]) -> str:
    before = {pod.name for deployments in steps for deployment in deployments for pod in deployment.pods}
    times = []
    with stage.load(talks) as load:
        # Everybody has begun, and the longest answers are in the middle.
        time.sleep(3)
        for deployments in steps:
            begun = time.monotonic()
            for deployment in deployments:
                deployment.restart()
            stage.cluster.settle(120)
            times.append(f"{time.monotonic() - begun:.0f} s")
    stayed = before & {pod.name for pod in stage.cluster.pods()}
    assert not stayed, f"{sorted(stayed)} were not replaced"
    seen = load.assert_nothing_is_lost(stage.client())
    stage.assert_good_ends()
    return f"{seen}; the restarts took {', '.join(times)}"


def everybody(prefix: str) -> list[Talk]:
    """Long and short answers, in sessions and not, whole and streamed."""
    return [
        Talk(f"{prefix}-{number}", options, is_session, stream)
        for number, (options, is_session, stream) in enumerate(
            itertools.product((LONG, LONG, MIDDLE, SHORT), (False, True), (False, True))
        )
    ]


def everything_ends_in_good_order(stage: Stage) -> str:
    """every pod ends with 0 within its grace period: gateways first, then runners, then stores"""
    begun = time.monotonic()
    for deployment in (stage.gateways, stage.runners, stage.stores):
        deployment.scale(0)
        stage.cluster.settle()
    stage.assert_good_ends()
    return f"{len(stage.cluster.all_pods())} pods in all, the last of them in {time.monotonic() - begun:.0f} s"
