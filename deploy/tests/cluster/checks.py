"""What is asked of the running release, in order. Each check is a sentence, and says in numbers what it saw."""

import time
from collections.abc import Callable

from cluster.cluster import wait_for
from cluster.faults import (
    a_cut_loses_only_what_had_begun,
    a_partition_heals,
    killing_a_runner_loses_only_what_had_begun,
)
from cluster.load import Talk, assert_turns
from cluster.rollouts import (
    everything_ends_in_good_order,
    kept_connections_lose_nothing,
    rolling_all_at_once_loses_nothing,
    rolling_restarts_lose_nothing,
)
from cluster.stage import Stage


def chat_works(stage: Stage) -> str:
    """chat works, whole and streamed, and a session goes on"""
    client = stage.client()
    for is_stream in (False, True):
        outcome = client.ask(f"hello, words=5 every=0.05 stream={is_stream}", stream=is_stream)
        assert outcome.is_whole, str(outcome)
    # Each request has a connection of its own, so that neither the gateway nor the runner is always the same.
    talk = Talk("alice", "words=4", is_session=True, stream=False)
    for turn in range(8):
        talk.stream = turn % 2 == 1
        outcome = talk.ask(client)
        assert outcome.is_whole, str(outcome)
    last = stage.provider.asked()[-1]
    said = [outcome.text for outcome in talk.outcomes[:-1]]
    assert [text for text in last["messages"] if text in said] == said, f"the last prompt was {last['messages']}"
    assert_turns(client, talk.outcomes)
    return "10 answers, a session of 8 turns"


def scaling_is_noticed(stage: Stage) -> str:
    """scaling runners from 2 to 4 is noticed within 10 s, and back to 2 loses no answer"""
    runners = stage.runners
    talks = [Talk(f"scale-{number}", "words=5 every=0.1", number % 2 == 0, number % 4 < 2) for number in range(12)]
    with stage.load(talks) as load:
        before = {pod.address for pod in runners.serving}
        assert len(before) == 2, f"{len(before)} runners serve"
        runners.scale(4)
        scaled = time.monotonic()
        wait_for(lambda: len(runners.serving) == 4, 60, "the new runners are not ready")
        ready, begun = time.monotonic(), len(stage.provider.asked())
        four = {pod.address for pod in runners.serving}

        def are_all_asked() -> bool:
            return {asked["from"] for asked in stage.provider.asked(since=begun)} >= four

        noticed = wait_for(are_all_asked, 10, "not all four runners have had a run")
        stage.cluster.settle()
        runners.scale(2)
        stage.cluster.settle()
    return (
        f"all four had runs {noticed:.1f} s after the last was ready, {ready - scaled + noticed:.1f} s after the order;"
        f" {load.assert_nothing_is_lost(stage.client())}"
    )


CHECKS: list[Callable[[Stage], str]] = [
    chat_works,
    scaling_is_noticed,
    rolling_restarts_lose_nothing,
    rolling_all_at_once_loses_nothing,
    kept_connections_lose_nothing,
    killing_a_runner_loses_only_what_had_begun,
    a_partition_heals,
    a_cut_loses_only_what_had_begun,
    everything_ends_in_good_order,
]
