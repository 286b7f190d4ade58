"""The daemon's shell in a simulated world: what `daemon.py` does with tasks and sockets, done by one function call after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pyteamd.core.invariants import check
from pyteamd.core.team import Team
from pyteamd.model.desired import Frame, Level, Outputs, Tap, Write
from pyteamd.model.errors import KernelGone
from pyteamd.model.events import Event, HostName, HostsResolved, LinkGone, Overrun, Refused, Stop, Tick
from pyteamd.model.words import in_words
from pyteamd.scenario.daemon_drive import step
from pyteamd.sim.kernel import SimKernel
from pyteamd.sim.net import SimSocket

Report = Callable[[str, str], None]
"""Told what happens: kind (write, refused, broken, or the level of a note) and text."""


class SimDaemon:
    """One daemon with one team on a SimKernel. `ended` says that the process is gone."""

    def __init__(
        self,
        kernel: SimKernel,
        team: Team,
        hosts: Mapping[HostName, str],
        report: Report,
        sent: Callable[[Frame], None],
        name_of: Callable[[int], str],
    ) -> None:
        """`hosts`: what the resolver knows. `sent` is told of each frame."""
        self.kernel = kernel
        self.team = team
        self.ended = False
        self._hosts = hosts
        self._report = report
        self._sent = sent
        self._name_of = name_of
        self._sockets: dict[tuple[int, Tap], SimSocket] = {}
        self.keep = False
        """As `-N`: leave device and ports as they are on the way out."""

    def begin(self, now: float) -> None:
        """Listen, dump, go."""
        self.kernel.watch_team(self.team.view.ifindex)
        self._resync(now)

    def feed(self, event: Event, now: float) -> None:
        """One event with all that follows from it. UserError as the core says."""
        if self.ended:
            return
        step(self.team, event, now, self._apply, self._listen)
        for problem in check(self.team, now):
            self._report("broken", problem)
        unresolved = self.team.unresolved()
        if unresolved:
            self.feed(HostsResolved({host: self._hosts.get(host, "") for host in unresolved}), now)
        if self.team.gone or self.team.done or self.team.failed:
            self._finish()
        else:
            self._open_and_close()

    def poll(self, now: float) -> bool:
        """Read what can be read, and tick if it is time. Returns whether there was anything."""
        if self.ended:
            return False
        busy = False
        for team, event in self.kernel.take_events():
            if team in (0, self.team.view.ifindex) and self.team.wants(event):
                busy = True
                self.feed(event, now)
                if isinstance(event, Overrun):
                    self._resync(now)
        for socket in list(self._sockets.values()):
            for frame in socket.take():
                busy = True
                self.feed(frame, now)
        due = self.team.deadline()
        if due is not None and due <= now and not self.ended:
            busy = True
            self.feed(Tick(), now)
        return busy

    def stop(self, now: float) -> None:
        """A signal came."""
        self.feed(Stop(self.keep), now)

    def kill(self) -> None:
        """The process is gone, without a word to anybody."""
        self.ended = True
        for socket in self._sockets.values():
            socket.close()
        self._sockets.clear()
        self.kernel.close()

    def _finish(self) -> None:
        team = self.team
        if team.failed:
            self._report("error", team.failed)
        if not (team.gone or self.keep or (team.failed and team.view.adopted)):
            self.kernel.delete_link(team.view.ifindex)
        self.kill()

    def _resync(self, now: float) -> None:
        try:
            dump = self.kernel.dump(self.team.view.ifindex)
        except KernelGone:
            self.feed(LinkGone(self.team.view.ifindex), now)
            return
        self.feed(dump, now)

    def _apply(self, writes: Sequence[Write]) -> tuple[Refused, ...]:
        refused = self.kernel.apply(self.team.view.ifindex, writes)
        errnos = {refusal.write: refusal.errno for refusal in refused}
        for write in writes:
            self._report("refused" if write in errnos else "write", in_words(write, self._name_of))
        return refused

    def _listen(self, outputs: Outputs) -> None:
        for note in outputs.notes:
            if note.level is not Level.DEBUG:
                self._report(note.level.value, note.text)
        for frame in outputs.frames:
            self._send(frame)

    def _send(self, frame: Frame) -> None:
        link = self.kernel.links.get(frame.port)
        if link is not None and link.running:
            self._sent(frame)
            self.kernel.net.transmit(link, frame.octets)

    def _open_and_close(self) -> None:
        wanted = {(ifindex, tap) for ifindex, taps in self.team.taps().items() for tap in taps}
        if wanted == self._sockets.keys():
            return
        for key in self._sockets.keys() - wanted:
            self._sockets.pop(key).close()
        for ifindex, tap in sorted(wanted - self._sockets.keys(), key=repr):
            try:
                self._sockets[ifindex, tap] = self.kernel.open_port(ifindex, tap)
            except KernelGone:
                continue  # the event that says so is on its way
