"""A runner that is killed, and one that a gateway cannot reach, while some wait for an answer and others hear one."""

import itertools
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor

from cluster.clients import Client, Outcome
from cluster.cluster import wait_for
from cluster.load import Talk, assert_turns
from cluster.pods import Pod
from cluster.stage import Stage

# Nothing is said for long enough that a fault comes before the first word, or is being said when it comes.
SILENT, TALKING = "wait=5 words=5 every=0.05", "words=40 every=0.2"
# Gateways look whether runners can be reached every two seconds, and wait as long for one that cannot.
NOTICED_AFTER_SECONDS = 5.0


class Requests:
    """Requests that are made at the same time, one in each talk."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(96)
        self._made: list[tuple[Talk, Future[tuple[Outcome, float]]]] = []

    def make(self, talk: Talk, client: Client) -> None:
        self._made.append((talk, self._pool.submit(timed, talk, client)))

    def done(self) -> list[tuple[Talk, Outcome, float]]:
        """Waits for all, and gives what came of each with the seconds that it took."""
        return [(talk, *future.result()) for talk, future in self._made]


def timed(talk: Talk, client: Client) -> tuple[Outcome, float]:
    begun = time.monotonic()
    return talk.ask(client), time.monotonic() - begun


def both_kinds(prefix: str) -> list[Talk]:
    """Silent and talking ones, in sessions and not, whole and streamed; in no order, so that each runner has some of each."""
    talks = [
        Talk(f"{prefix}-{number}", options, is_session, stream)
        for number, (_, options, is_session, stream) in enumerate(
            itertools.product(range(3), (SILENT, TALKING), (False, True), (False, True))
        )
    ]
    random.Random(1).shuffle(talks)
    return talks


def busiest(stage: Stage, since: int) -> tuple[Pod, set[str]]:
    """The runner that has most silent runs in sessions, which are the hardest to move, and the prompts of all its runs."""
    asked = stage.provider.asked(since)
    prompts = {pod: {each["prompt"] for each in asked if each["from"] == pod.address} for pod in stage.runners.serving}
    sessions = {each["prompt"] for each in asked if "in a session" in each["prompt"] and SILENT in each["prompt"]}
    pod = max(prompts, key=lambda pod: len(prompts[pod] & sessions))
    assert prompts[pod] & sessions and any(TALKING in prompt for prompt in prompts[pod]), f"the runs are {prompts}"
    return pod, prompts[pod]


def assert_only_begun_are_lost(outcomes: list[tuple[Talk, Outcome, float]], at_runner: set[str]) -> list[Outcome]:
    """Gives the answers that were lost: they had begun at that runner, and who heard them is told of an error."""
    lost = [outcome for _, outcome, _ in outcomes if not outcome.is_whole]
    wrong = [str(outcome) for outcome in lost if outcome.prompt not in at_runner or SILENT in outcome.prompt]
    assert not wrong, f"{len(wrong)} answers were lost that had not begun there:\n  " + "\n  ".join(wrong)
    unsaid = [str(outcome) for outcome in lost if '"error"' not in outcome.loss]
    assert not unsaid, "not told as an error:\n  " + "\n  ".join(unsaid)
    return lost


def assert_whole_turns(stage: Stage, outcomes: list[tuple[Talk, Outcome, float]]) -> None:
    """What was answered whole in a session is there once."""
    for talk, outcome, _ in outcomes:
        if talk.is_session and outcome.is_whole:
            assert_turns(stage.client(), talk.outcomes)


def killing_a_runner_loses_only_what_had_begun(stage: Stage) -> str:
    """killing a runner loses only answers that had begun"""
    since, requests = len(stage.provider.asked()), Requests()
    for talk in both_kinds("kill"):
        requests.make(talk, stage.client())
    time.sleep(2.5)
    victim, at_victim = busiest(stage, since)
    victim.kill()
    later = [Talk(f"after-kill-{number}", "words=3", number % 2 == 0, number % 4 < 2) for number in range(30)]
    for talk in later:
        requests.make(talk, stage.client())
        time.sleep(0.2)
    outcomes = requests.done()
    lost = assert_only_begun_are_lost(outcomes, at_victim)
    assert_whole_turns(stage, outcomes)
    again = goes_on(stage, [talk for talk, outcome, _ in outcomes if talk.is_session and not outcome.is_whole])
    assert victim.deaths == [-9], f"{victim.name} died with {victim.deaths}"
    victim.deaths.clear()
    stage.cluster.settle()
    back = gets_runs(stage, stage.client(), victim, "after-return")
    return (
        f"of {len(at_victim)} runs there {len(lost)} were lost, all of which had begun;"
        f" {len(later)} later ones answered; {again}; runs again {back:.1f} s after its return"
    )


def goes_on(stage: Stage, talks: list[Talk]) -> str:
    """Sessions that lost an answer take the next turn, and have nothing twice."""
    slowest = 0.0
    for talk in talks:
        talk.options, begun = "words=3", time.monotonic()
        outcome = talk.ask(stage.client())
        slowest = max(slowest, time.monotonic() - begun)
        assert outcome.is_whole, f"after a lost turn: {outcome}"
        texts = [text for _, text in stage.client().transcript(outcome.session_key)]
        assert texts[-2:] == [outcome.prompt, outcome.text], f"{outcome.session_key} ends with {texts[-2:]}"
        assert len(texts) == len(set(texts)), f"{outcome.session_key} has something twice: {texts}"
    return f"{len(talks)} sessions went on after a lost turn, within {slowest:.1f} s"


def gets_runs(stage: Stage, client: Client, runner: Pod, prefix: str) -> float:
    """Asks until a runner has been asked, and gives the seconds that it took."""
    since, talk = len(stage.provider.asked()), Talk(prefix, "words=2", is_session=False, stream=False)

    def is_asked() -> bool:
        outcome = talk.ask(client)
        assert outcome.is_whole, str(outcome)
        # Others may ask it meanwhile: whose run it was, the prompt says.
        return any(
            asked["from"] == runner.address and asked["prompt"].startswith(prefix)
            for asked in stage.provider.asked(since)
        )

    return wait_for(is_asked, 10, f"{runner.name} has no run")


def a_partition_heals(stage: Stage) -> str:
    """with a gateway cut off from one runner answers go on, and once that heals the runner has its calls again"""
    gateway, runner, requests = stage.gateways.serving[0], stage.runners.serving[0], Requests()
    client = stage.client_of(gateway)
    gets_runs(stage, client, runner, "before-cut")
    late = set()
    with stage.cluster.network.parted(gateway.address, runner.address):
        begun = time.monotonic()
        for number in range(30):
            talk = Talk(f"during-cut-{number}", "words=3", number % 2 == 0, number % 4 < 2)
            requests.make(talk, stage.client_of(gateway))
            if time.monotonic() - begun > NOTICED_AFTER_SECONDS:
                late.add(talk.name)
            time.sleep(0.4)
        outcomes = requests.done()
    healed = gets_runs(stage, client, runner, "after-cut")
    assert_only_begun_are_lost(outcomes, set())
    slow = [f"{outcome} took {took:.1f} s" for talk, outcome, took in outcomes if talk.name in late and took > 2]
    assert not slow, "though the cut must have been noticed:\n  " + "\n  ".join(slow)
    assert_whole_turns(stage, outcomes)
    return (
        f"{len(outcomes)} answers, the slowest of them, made before the cut was noticed, in"
        f" {max(took for _, _, took in outcomes):.1f} s; runs again {healed:.1f} s after it was healed"
    )


def a_cut_loses_only_what_had_begun(stage: Stage) -> str:
    """with a gateway cut off from one runner only answers are lost that had begun there"""
    gateway, since, requests = stage.gateways.serving[0], len(stage.provider.asked()), Requests()
    for talk in both_kinds("cut"):
        requests.make(talk, stage.client_of(gateway))
    time.sleep(2.5)
    # The runner itself goes on, reaches the store, and may keep a turn of which the gateway does not hear.
    runner, at_runner = busiest(stage, since)
    with stage.cluster.network.parted(gateway.address, runner.address):
        outcomes = requests.done()
    lost = assert_only_begun_are_lost(outcomes, at_runner)
    assert_whole_turns(stage, outcomes)
    return (
        f"of {len(at_runner)} runs there {len(lost)} were lost, all of which had begun; the slowest was answered after"
        f" {max(took for _, outcome, took in outcomes if outcome.is_whole):.1f} s"
    )
