"""The look-out answers the loss of a link by itself, once, and what it did is found by who is to do the same."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from threading import Event, Thread

import pytest

from pyteamd.kernel import framing, look_out, rtnl
from pyteamd.kernel.look_out import STAND_BACK_S, LookOut, Prepared, ShotOutcome
from pyteamd.model.desired import OptionKey, SetOption, Write

PATIENCE_S = 60.0
TEAM = 4
FIRST, SECOND = ((SetOption(OptionKey("activeport"), port),) for port in (7, 8))
BOTH = {7: (FIRST, b"7"), 8: (SECOND, b"8")}


def link(port: int, flags: int = rtnl.IFF_UP) -> bytes:
    """What is said of a link, the attributes left out."""
    return framing.HEADER.pack(32, rtnl.NEWLINK, 0, 0, 0) + struct.pack("=BxHiII", 0, 1, port, flags, 0)


class Said:
    """What stands for a socket on which things are said."""

    def __init__(self) -> None:
        self.socket, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def loss(self) -> int:
        """As EventSocket does it."""
        try:
            return rtnl.loss_in(self.socket.recv(rtnl.GLANCE, socket.MSG_PEEK))
        except BlockingIOError:
            return 0


class Post:
    """A look-out at its post, and what it did."""

    def __init__(self) -> None:
        self.links, self.teams = Said(), Said()
        self.both = (self.links.socket, self.teams.socket)
        self.ready = select.epoll()
        self.outcome: ShotOutcome = ()
        self.sent: list[Sequence[Write]] = []
        self.may_send = Event()
        self.may_send.set()
        self.look_out = LookOut(self.ready, *self.both, self.links.loss, self.send)
        self.thread = Thread(target=self.look_out.man, daemon=True)
        self.thread.start()
        while not self.look_out._manned:
            self.thread.join(0.001)

    def send(self, writes: Sequence[Write], message: bytes) -> ShotOutcome:
        """In place of the kernel."""
        assert self.may_send.wait(PATIENCE_S)
        assert (writes, message) in BOTH.values()
        self.sent.append(writes)
        return self.outcome

    def hear(self, octets: bytes, said: Said | None = None) -> None:
        """Something is said; returns when the event loop would wake up."""
        (said or self.links).other.send(octets)
        assert self.ready.poll(PATIENCE_S)

    def arm(self, losses: Mapping[int, Prepared]) -> None:
        """The event loop knows what to write for these losses, and waits."""
        self.look_out.arm(TEAM, losses)
        self.look_out.watch()

    def close(self) -> None:
        """Nobody looks out any more."""
        self.look_out.close()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        self.ready.close()
        for said in (self.links, self.teams):
            said.socket.close()
            said.other.close()


@pytest.fixture
def post() -> Iterator[Post]:
    """One that is armed for two ports."""
    made = Post()
    made.arm(BOTH)
    yield made
    made.close()


def test_a_loss_is_answered_before_the_loop_wakes_up(post: Post) -> None:
    post.hear(link(7))
    assert post.sent == [FIRST]
    assert post.links.socket.recv(100) == link(7), "it is still there to be read"
    assert post.look_out.claim(TEAM, FIRST) == ()
    assert post.look_out.claim(TEAM, FIRST) is None, "another time it has to be done again"


@pytest.mark.parametrize(
    "octets",
    [link(9), link(7, rtnl.IFF_UP | rtnl.IFF_RUNNING), b"", link(7)[:31]],
    ids=["of another link", "it runs", "nothing", "cut off"],
)
def test_whatever_else_is_said_wakes_the_loop(post: Post, octets: bytes) -> None:
    post.hear(octets)
    assert post.sent == []
    post.links.socket.recv(100)
    post.look_out.watch()
    post.hear(b"an option", post.teams)
    assert post.sent == []
    post.teams.socket.recv(100)
    assert post.ready.poll(0) == []
    post.look_out.watch()
    post.hear(link(7))
    assert post.sent == [FIRST], "it was armed all the time"


def test_what_is_at_hand_when_it_is_armed_is_seen(post: Post) -> None:
    post.arm({})
    post.hear(link(7))
    assert post.sent == []
    post.arm({7: BOTH[7]})
    assert post.ready.poll(PATIENCE_S)
    assert post.sent == [FIRST]


def test_what_is_no_loss_is_answered_with_nothing(post: Post) -> None:
    post.arm({0: BOTH[7]})
    post.hear(link(7, rtnl.IFF_UP | rtnl.IFF_RUNNING))
    post.links.socket.recv(100)
    post.look_out.watch()
    post.hear(b"an option", post.teams)
    assert post.sent == []


def test_it_answers_once(post: Post) -> None:
    """What was worked out for another port holds no longer, and who claims something else ends it, too."""
    post.hear(link(7))
    post.links.socket.recv(100)
    post.hear(link(8))
    assert post.look_out.claim(TEAM, SECOND) is None
    post.arm({8: BOTH[8]})
    assert post.ready.poll(PATIENCE_S)
    assert post.sent == [FIRST, SECOND]


@pytest.mark.parametrize("other", [False, True])
def test_what_others_do_is_not_done_here(post: Post, other: bool) -> None:
    assert post.look_out.claim(TEAM, SECOND if other else FIRST) is None
    post.hear(link(7))
    assert post.sent == []


@pytest.mark.parametrize(("claimed", "outcome"), [(FIRST, ()), (SECOND, None)])
def test_who_claims_waits_while_the_kernel_stalls(post: Post, claimed: Sequence[Write], outcome: ShotOutcome) -> None:
    """Whatever is claimed: what is newer must not be written before."""
    post.may_send.clear()
    post.links.other.send(link(7))
    while not post.look_out.fired:
        post.thread.join(0.001)
    came: list[ShotOutcome] = []
    waits = Thread(target=lambda: came.append(post.look_out.claim(TEAM, claimed)), daemon=True)
    waits.start()
    waits.join(0.05)
    assert waits.is_alive()
    assert post.ready.poll(0) == []
    post.may_send.set()
    waits.join(PATIENCE_S)
    assert came == [outcome]
    assert post.ready.poll(PATIENCE_S)


def test_what_nobody_asked_for_keeps_the_next_loss_from_nothing(post: Post) -> None:
    """The kernel's words of what was done may come before that of the loss: then nothing is left to write."""
    post.hear(link(7))
    post.links.socket.recv(100)
    post.hear(link(8))
    post.links.socket.recv(100)
    assert post.sent == [FIRST], "once, until it is claimed or armed again"
    post.arm(BOTH)
    post.hear(link(8))
    assert post.sent == [FIRST, SECOND]


def test_what_is_under_way_is_waited_for_also_when_it_is_armed_again(post: Post) -> None:
    post.may_send.clear()
    post.links.other.send(link(7))
    while not post.look_out.fired:
        post.thread.join(0.001)
    post.look_out.arm(TEAM, BOTH)
    waits = Thread(target=lambda: post.look_out.claim(TEAM, SECOND), daemon=True)
    waits.start()
    waits.join(0.05)
    assert waits.is_alive()
    post.may_send.set()
    waits.join(PATIENCE_S)
    assert not waits.is_alive()


def test_nothing_is_done_that_was_taken_back_in_the_last_moment(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    class Armed(dict[int, look_out.Shot]):
        """Between the look at it and the hand on it another thread writes."""

        def get(self, port: int, default: object = None) -> look_out.Shot | None:  # type: ignore[override]
            shot = super().get(port)
            monkeypatch.undo()
            claims.start()
            while TEAM in post.look_out._shots:
                claims.join(0.001)
            return shot

    came: list[ShotOutcome] = []
    claims = Thread(target=lambda: came.append(post.look_out.claim(TEAM, SECOND)), daemon=True)
    monkeypatch.setattr(post.look_out, "_armed", Armed(post.look_out._armed))
    post.hear(link(7))
    claims.join(PATIENCE_S)
    assert (post.sent, came) == ([], [None])


@pytest.mark.parametrize(("processors", "outcome", "pauses"), [(1, (), 1), (1, None, 0), (2, (), 0)])
def test_on_one_processor_others_run_before_the_loop(
    post: Post, monkeypatch: pytest.MonkeyPatch, processors: int, outcome: ShotOutcome, pauses: int
) -> None:
    """Unless the loop has to do the writes: then traffic still waits."""
    told: list[object] = []

    def sleep(seconds: float) -> None:
        assert seconds == STAND_BACK_S
        told.extend([*post.sent, post.ready.poll(0)])

    monkeypatch.setattr(look_out.time, "sleep", sleep)
    post.look_out._one_processor = processors == 1
    post.outcome = outcome
    post.hear(link(7))
    assert told == [FIRST, []] * pauses


def test_the_driver_may_tell_first(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_out, "DRIVER_FIRST_MS", PATIENCE_S * 1000)
    post.teams.other.send(b"a port")
    post.hear(link(7))
    assert post.sent == [FIRST]


def test_what_could_not_be_done_is_for_others_to_do(post: Post) -> None:
    post.outcome = None
    post.hear(link(7))
    assert post.look_out.fired
    assert post.look_out.claim(TEAM, FIRST) is None


def test_nobody_at_the_post_means_that_the_loop_hears_by_itself(post: Post) -> None:
    post.look_out.close()
    post.thread.join(PATIENCE_S)
    post.ready.close()
    post.ready = select.epoll()
    post.look_out = LookOut(post.ready, *post.both, post.links.loss, post.send)
    post.arm({7: BOTH[7]})
    post.hear(link(7))
    assert post.sent == []


def test_it_may_be_closed_before_the_thread_has_begun_and_twice(post: Post) -> None:
    early = LookOut(post.ready, *post.both, post.links.loss, post.send)
    numbers = early._bell.fileno(), early._rope.fileno()
    early.close()
    others = [os.dup(post.links.other.fileno()) for _ in range(8)]
    assert not {*numbers}.isdisjoint(others), "the numbers are those of others now"
    early.man()
    early.close()
    for each in others:
        os.close(each)


def test_a_fault_leaves_the_loop_with_what_is_said(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault() -> int:
        raise MemoryError

    told: list[object] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    monkeypatch.setattr(post.look_out, "_loss", fault)
    post.hear(link(7))
    post.thread.join(PATIENCE_S)
    assert len(told) == 1
    post.links.socket.recv(100)
    post.arm(BOTH)
    post.hear(link(8))
    assert post.sent == []


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_at_once(post: Post, seed: int) -> None:
    """What is said is always heard; a shot is done for the loss it was armed for, and not behind what was claimed later."""
    chance = random.Random(seed)
    armed: Mapping[int, Prepared] = BOTH
    done, said = 0, 0
    for _ in range(300):
        if chance.random() < 0.5:
            port = chance.choice([7, 8, 9])
            post.hear(link(port, chance.choice([rtnl.IFF_UP, rtnl.IFF_UP | rtnl.IFF_RUNNING])))
            assert len(post.links.socket.recv(100)) == 32
            said += 1
        elif chance.random() < 0.5:
            armed = {port: BOTH[port] for port in chance.sample([7, 8], chance.randrange(3))}
            post.arm(armed)
        else:
            before = len(post.sent)
            came = post.look_out.claim(TEAM, chance.choice([FIRST, SECOND]))
            assert came is None or post.sent[-1] in (FIRST, SECOND)
            assert len(post.sent) == before or came is not None, "nothing begins while another thread writes"
            done += came is not None
            assert TEAM not in post.look_out.fired
        post.look_out.watch()
        assert len(post.sent) <= said
    assert done > 0
