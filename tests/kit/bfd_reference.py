"""RFC 5880, 6.8, written down paragraph by paragraph with the names of its state variables; it shares no code with the product.

Asynchronous mode, no echo, no authentication. Times are floats in seconds, intervals integers in microseconds, as in the text.
"""

from __future__ import annotations

ADMIN_DOWN, DOWN, INIT, UP = 0, 1, 2, 3


class Reference:
    """The variables of 6.8.1 of one session."""

    def __init__(self, local_discr: int, desired_min_tx: int, required_min_rx: int, detect_mult: int) -> None:
        self.session_state = DOWN
        self.remote_session_state = DOWN
        self.local_discr = local_discr
        self.remote_discr = 0
        self.local_diag = 0
        self.configured_desired = desired_min_tx
        self.required_min_rx_interval = required_min_rx
        self.remote_min_rx_interval = 1
        self.remote_desired_min_tx = 0
        self.demand_mode = 0
        self.remote_demand_mode = 0
        self.detect_mult = detect_mult
        self.remote_detect_mult = 0
        self.poll_sequence = False
        self.last_received: float | None = None

    @property
    def desired_min_tx_interval(self) -> int:
        """6.8.3: while the session is not up at least one second."""
        if self.session_state != UP and self.configured_desired < 1000000:
            return 1000000
        return self.configured_desired

    def detection_time(self) -> int:
        """6.8.4, asynchronous mode."""
        agreed = self.required_min_rx_interval
        if self.remote_desired_min_tx > agreed:
            agreed = self.remote_desired_min_tx
        return self.remote_detect_mult * agreed

    def transmit_interval(self) -> int:
        """6.8.2, before jitter."""
        if self.remote_min_rx_interval > self.desired_min_tx_interval:
            return self.remote_min_rx_interval
        return self.desired_min_tx_interval

    def may_transmit_periodically(self) -> bool:
        """6.8.7."""
        if self.remote_min_rx_interval == 0:
            return False
        demand_active = self.remote_demand_mode == 1 and self.session_state == UP and self.remote_session_state == UP
        return not demand_active or self.poll_sequence

    def time_passes(self, now: float) -> None:
        """6.8.4 and the end of bfd.RemoteDiscr in 6.8.1."""
        if self.last_received is None or now < self.last_received + self.detection_time() / 1e6:
            return
        self.last_received = None
        self.remote_discr = 0
        self.poll_sequence = False
        if self.session_state in (INIT, UP):
            self.session_state = DOWN
            self.local_diag = 1

    def receive(self, octets: bytes, now: float) -> tuple[str, bool]:
        """6.8.6 from the octets themselves. ("discard" or "accept", a reply with F is due)."""
        if not self.acceptable(octets):
            return "discard", False
        state, poll, final = octets[1] >> 6, bool(octets[1] & 32), bool(octets[1] & 16)
        self.remote_discr = int.from_bytes(octets[4:8], "big")
        self.remote_session_state = state
        self.remote_demand_mode = int(bool(octets[1] & 2))
        self.remote_min_rx_interval = int.from_bytes(octets[16:20], "big")
        self.remote_desired_min_tx = int.from_bytes(octets[12:16], "big")
        self.remote_detect_mult = octets[2]
        self.last_received = now
        if self.poll_sequence and final:
            self.poll_sequence = False
        if self.session_state == ADMIN_DOWN:
            return "accept", False
        before = self.session_state
        self.change_state(state)
        if before != self.session_state:  # 6.8.3: another interval is told by a poll, which needs a session that is up
            self.poll_sequence = self.session_state == UP and self.configured_desired < 1000000
        return "accept", poll

    def acceptable(self, octets: bytes) -> bool:
        """6.8.6 up to the selection of the session."""
        if len(octets) < 24:
            return False
        auth = bool(octets[1] & 4)
        my_discr, your_discr = int.from_bytes(octets[4:8], "big"), int.from_bytes(octets[8:12], "big")
        if octets[0] >> 5 != 1:
            return False
        if octets[3] < (26 if auth else 24) or octets[3] > len(octets):
            return False
        if octets[2] == 0 or octets[1] & 1 or my_discr == 0:
            return False
        if your_discr != 0 and your_discr != self.local_discr:
            return False
        if your_discr == 0 and octets[1] >> 6 not in (DOWN, ADMIN_DOWN):
            return False
        both = octets[1] & 32 and octets[1] & 16  # 6.8.7: never poll and final in one packet
        return not auth and not both

    def change_state(self, state: int) -> None:
        """6.8.6, "If the Received State is …"."""
        if state == ADMIN_DOWN:
            if self.session_state != DOWN:
                self.local_diag = 3
                self.session_state = DOWN
        elif self.session_state == DOWN:
            if state == DOWN:
                self.session_state = INIT
            elif state == INIT:
                self.session_state = UP
        elif self.session_state == INIT:
            if state in (INIT, UP):
                self.session_state = UP
        elif state == DOWN:
            self.local_diag = 3
            self.session_state = DOWN
