"""A runner that is killed, and one that a gateway cannot reach, while some wait for an answer and others hear one."""

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
        self._made: list[tuple[Talk, float, Future[Outcome], list[float]]] = []

    def make(self, talk: Talk, client: Client) -> None:
        ended: list[float] = []
        future = self._pool.submit(talk.ask, client)
        begun = time.monotonic()
        future.add_done_callback(lambda _: ended.append(time.monotonic() - begun))
        self._made.append((talk, begun, future, ended))

    def done(self) -> list[tuple[Talk, Outcome, float]]:
        """Waits for all, and gives what came of each with the seconds that it took."""
        return [(talk, future.result(), ended[0]) for talk, _, future, ended in self._made]


def both_kinds(prefix: str, count: int) -> list[Talk]:
    """Silent and talking ones, in sessions and not, whole and streamed."""
    return [
        Talk(f"{prefix}-{number}", (SILENT, TALKING)[number % 2], number // 2 % 2 == 0, number // 4 % 2 == 0)
        for number in range(count)
    ]


def runner_of(stage: Stage, since: int) -> dict[str, set[str]]:
    """The addresses that each prompt was asked from."""
    runners: dict[str, set[str]] = {}
    for asked in stage.provider.asked(since):
        runners.setdefault(asked["prompt"], set()).add(asked["from"])
    return runners


def killing_a_runner_loses_only_what_had_begun(stage: Stage) -> str:
    """killing a runner loses only answers that had begun"""
    since, requests = len(stage.provider.asked()), Requests()
    talks = both_kinds("kill", 24)
    for talk in talks:
        requests.make(talk, stage.client())
    time.sleep(2.5)
    asked_from = runner_of(stage, since)
    victim = stage.runners.serving[0]
    at_victim = {prompt for prompt, addresses in asked_from.items() if victim.address in addresses}
    silent = [prompt for prompt in at_victim if SILENT in prompt]
    assert silent and len(silent) < len(at_victim), f"the runner to be killed has only {sorted(at_victim)}"
    victim.kill()
    later = [Talk(f"after-kill-{number}", "words=3", number % 2 == 0, number % 4 < 2) for number in range(30)]
    for talk in later:
        requests.make(talk, stage.client())
        time.sleep(0.2)
    outcomes = requests.done()
    lost = [outcome for _, outcome, _ in outcomes if not outcome.is_whole]
    wrong = [str(outcome) for outcome in lost if outcome.prompt not in at_victim or SILENT in outcome.prompt]
    assert not wrong, f"{len(wrong)} answers were lost that had not begun there:\n  " + "\n  ".join(wrong)
    unsaid = [str(outcome) for outcome in lost if '"error"' not in outcome.loss]
    assert not unsaid, "not told as an error:\n  " + "\n  ".join(unsaid)
    for talk, outcome, _ in outcomes:
        if talk.is_session and outcome.is_whole:
            assert_turns(stage.client(), talk.outcomes)
    again = goes_on(stage, [talk for talk, outcome, _ in outcomes if talk.is_session and not outcome.is_whole])
    assert victim.deaths == [-9], f"{victim.name} died with {victim.deaths}"
    victim.deaths.clear()
    stage.cluster.settle()
    back = gets_runs(stage, stage.client(), victim, "after-return")
    return (
        f"of {len(at_victim)} runs there {len(silent)} that had not begun were answered, {len(lost)} that had were lost;"
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
        return runner.address in set().union(*runner_of(stage, since).values())

    return wait_for(is_asked, 10, f"{runner.name} has no run")


def a_partition_heals(stage: Stage) -> str:
    """with a gateway cut off from one runner answers go on, and once that heals the runner has its calls again"""
    gateway, runner = stage.gateways.serving[0], stage.runners.serving[0]
    client, since, requests = stage.client_of(gateway), len(stage.provider.asked()), Requests()
    gets_runs(stage, client, runner, "before-cut")
    for talk in both_kinds("cut", 24):
        requests.make(talk, stage.client_of(gateway))
    time.sleep(2.5)
    asked_from = runner_of(stage, since)
    at_runner = {prompt for prompt, addresses in asked_from.items() if runner.address in addresses}
    stage.cluster.network.part(gateway.address, runner.address)
    begun = time.monotonic()
    late = set()
    for number in range(30):
        talk = Talk(f"during-cut-{number}", "words=3", number % 2 == 0, number % 4 < 2)
        requests.make(talk, stage.client_of(gateway))
        if time.monotonic() - begun > NOTICED_AFTER_SECONDS:
            late.add(talk.name)
        time.sleep(0.4)
    outcomes = requests.done()
    stage.cluster.network.heal(gateway.address, runner.address)
    healed = gets_runs(stage, client, runner, "after-cut")
    lost = [outcome for _, outcome, _ in outcomes if not outcome.is_whole]
    wrong = [str(outcome) for outcome in lost if outcome.prompt not in at_runner or SILENT in outcome.prompt]
    assert not wrong, f"{len(wrong)} answers were lost that had not begun there:\n  " + "\n  ".join(wrong)
    slow = [f"{outcome} took {took:.1f} s" for talk, outcome, took in outcomes if talk.name in late and took > 2]
    assert not slow, "though the cut must have been noticed:\n  " + "\n  ".join(slow)
    for talk, outcome, _ in outcomes:
        if talk.is_session and outcome.is_whole:
            assert_turns(stage.client(), talk.outcomes)
    stage.assert_good_ends()
    return (
        f"{len(lost)} of {len(outcomes)} answers lost, all of which had begun there; the slowest took"
        f" {max(took for _, _, took in outcomes):.1f} s; runs again {healed:.1f} s after it was healed"
    )
