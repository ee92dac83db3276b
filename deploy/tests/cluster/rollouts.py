"""Rolling restarts while many talk to the gateway."""

import time

from cluster.deployments import Deployment
from cluster.load import Talk
from cluster.stage import Stage

# The longest take longer than the pause before a pod is told to end, so that they are in flight while it drains.
LONG, MIDDLE, SHORT = "words=60 every=0.2", "words=20 every=0.1", "words=5 every=0.05"


def rolling_restarts_lose_nothing(stage: Stage) -> str:
    """a rolling restart of every deployment under load loses no answer and breaks no stream"""
    return under_load(stage, "roll", [[stage.gateways], [stage.runners], [stage.stores]])


def rolling_all_at_once_loses_nothing(stage: Stage) -> str:
    """nor does a rolling restart of all deployments at once"""
    return under_load(stage, "together", [[stage.gateways, stage.runners, stage.stores]])


def under_load(stage: Stage, prefix: str, steps: list[list[Deployment]]) -> str:
    before = {pod.name for pod in stage.cluster.pods()}
    times = []
    with stage.load(everybody(prefix)) as load:
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
    """Long and short answers, in sessions and not, whole and streamed, over new connections and kept ones."""
    return [
        Talk(f"{prefix}-{number}", options, is_session, stream, keeps_connection)
        for number, (options, is_session, stream, keeps_connection) in enumerate(
            (options, is_session, stream, (place + is_session + stream) % 2 == 0)
            for place, options in enumerate((LONG, LONG, MIDDLE, SHORT))
            for is_session in (False, True)
            for stream in (False, True)
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
