"""Many who talk to the gateway at once, and remember what they were told."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.clients import Client, Outcome
from cluster.provider import answer


@dataclass
class Talk:
    """One who asks again and again: in a session or not, streamed or not, shortly or at length."""

    name: str
    options: str
    is_session: bool
    stream: bool
    keeps_connection: bool = False
    outcomes: list[Outcome] = field(default_factory=list)

    def ask(self, client: Client) -> Outcome:
        where = "in a session" if self.is_session else "alone"
        prompt = f"{self.name} turn {len(self.outcomes) + 1} {where}, {self.options}"
        outcome = client.ask(prompt, self.name if self.is_session else None, self.stream)
        self.outcomes.append(outcome)
        return outcome


class Load:
    """Talks that go on while something else happens: `with Load(...) as load`. What they come to is known afterwards."""

    def __init__(self, make_client: Callable[[bool], Client], talks: list[Talk]):
        self._talks, self._make_client = talks, make_client
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=[talk], daemon=True) for talk in talks]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Lets everybody have the answer that they wait for."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def outcomes(self) -> list[Outcome]:
        return [outcome for talk in self._talks for outcome in list(talk.outcomes)]

    def _go_on(self, talk: Talk) -> None:
        client = self._make_client(talk.keeps_connection)
        while not self._end.is_set():
            outcome = talk.ask(client)
            if not outcome.is_whole:
                # What is broken need not be asked a thousand times.
                self._end.wait(0.5)

    def assert_nothing_is_lost(self, reader: Client) -> str:
        """Every answer came whole, and every session has each of its turns once, in order."""
        outcomes = self.outcomes
        lost = [str(outcome) for outcome in outcomes if not outcome.is_whole]
        assert not lost, f"{len(lost)} of {len(outcomes)} answers were lost:\n  " + "\n  ".join(lost[:20])
        for talk in self._talks:
            if talk.is_session:
                assert_turns(reader, talk.outcomes)
        return f"{len(outcomes)} answers, {sum(talk.is_session for talk in self._talks)} sessions"


def assert_turns(reader: Client, outcomes: list[Outcome]) -> None:
    """A session's transcript is these turns and nothing else."""
    expected = [(outcome.prompt, "".join(answer(outcome.prompt))) for outcome in outcomes]
    messages = list(itertools.chain(*([("user", asked), ("assistant", said)] for asked, said in expected)))
    found = reader.transcript(outcomes[0].session_key)
    if found != messages:
        doubled = sorted({text for role, text in found if [other for _, other in found].count(text) > 1})
        missing = [text for role, text in messages if (role, text) not in found]
        more = [text for role, text in found if (role, text) not in messages]
        raise AssertionError(
            f"{outcomes[0].session_key} has {len(found)} messages where {len(messages)} were expected;"
            f" doubled: {doubled}; missing: {missing}; unexpected: {more}"
        )
