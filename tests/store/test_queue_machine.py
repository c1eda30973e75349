"""Any sequence of what happens to a queue, against a model of it in a dictionary."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select, update

from auditor import queue
from auditor.queue import LeaseLost
from auditor.store.database import now
from auditor.store.tables import Audit, Item, Project
from tests.store.conftest import KINDS, LEASE, Bench

OWNERS = st.sampled_from(["one", "two"])
AUDITS = st.integers(0, 3)
NUMBERS = st.integers(0, 999)
POISON, LOSSES = 2, 2  # instead of 3 and 20, so that short sequences reach them


@dataclass(frozen=True)
class Row:
    """What an item should be."""

    audit: int
    kind: str
    device: str
    priority: int
    state: str = "queued"
    owner: str | None = None
    attempt: int = 0
    deaths: int = 0
    losses: int = 0
    expired: bool = False
    waits: bool = False

    def released(self, **counts):
        row = replace(self, owner=None, expired=False, **counts)
        poisoned = row.deaths >= POISON or row.losses > LOSSES
        waits = row.deaths > self.deaths or row.losses > 1
        return replace(row, state="poisoned" if poisoned else "queued", waits=waits)


class Queue(RuleBasedStateMachine):
    """Two projects with two audits each."""

    database = None

    @initialize()
    def begin(self):
        self.bench, self.rows, self.cancelling = Bench(self.database), {}, set()
        with self.database.transaction() as session:
            session.execute(delete(Project))
        first, other = self.bench.audit(), self.bench.audit()
        more = [self.bench.audit(audit.project_id) for audit in (first, other)]
        self.audits = [first, other, *more]
        self.count, self.claims, self.served = 0, [], [0.0, 0.0]

    @rule(
        audit=AUDITS,
        kind=st.sampled_from(["attack", "attack", "settle"]),
        device=st.sampled_from(["cpu", "cpu", "cuda"]),
        priority=st.sampled_from([0, 0, 1]),
    )
    @precondition(lambda self: sum(row.state == "queued" for row in self.rows.values()) < 3)
    def put(self, audit, kind, device, priority):
        if audit in self.cancelling:
            return
        self.count += 1
        name = f"item-{self.count}"
        self.bench.put(self.audits[audit], name, kind=kind, device=device, priority=priority)
        with self.database.reading() as session:
            id = session.scalars(select(Item.id).where(Item.name == name, Item.state == "queued")).one()
        self.rows[id] = Row(audit, kind, device, priority)

    @rule(
        later=st.booleans(),
        owner=OWNERS,
        prefer=st.none() | AUDITS,
        kinds=st.sampled_from([KINDS, KINDS, KINDS, ("settle",)]),
        devices=st.sampled_from([("cpu", "cuda"), ("cpu", "cuda"), ("cpu",)]),
    )
    @precondition(lambda self: any(row.state == "queued" for row in self.rows.values()))
    def claim(self, later, owner, prefer, kinds, devices):
        if later:
            self.time_passes()
        self.no_time_passes()
        open_ = {
            id: row
            for id, row in self.rows.items()
            if row.state == "queued" and not row.waits and row.audit not in self.cancelling
            if row.kind in kinds and row.device in devices
        }
        audit = None if prefer is None else self.audits[prefer].id
        claim = self.bench.claim(owner, kinds=kinds, devices=devices, prefer=audit)
        if claim is None:
            assert not open_
            return
        found = open_[claim.id]
        warm = found.audit == prefer
        rivals = [row for row in open_.values() if not warm or row.audit % 2 == found.audit % 2]
        assert self.place(found) == min(map(self.place, rivals))
        assert (found.kind == "settle") == any(row.kind == "settle" for row in open_.values())
        self.served[found.audit % 2] = self.bench.item(claim).claimed_at
        row = replace(found, state="running", owner=owner, attempt=found.attempt + 1)
        assert (claim.attempt, claim.deaths, claim.owner) == (row.attempt, row.deaths, owner)
        self.rows[claim.id] = row
        self.claims.append(claim)

    @precondition(lambda self: self.claims)
    @rule(number=NUMBERS)
    def heartbeat(self, number):
        claim = self.pick(number)
        alive = self.write(claim, queue.heartbeat, LEASE)
        if alive is not None:
            assert alive == (self.rows[claim.id].audit not in self.cancelling)
            self.change(claim, expired=False)

    @precondition(lambda self: self.claims)
    @rule(number=NUMBERS)
    def fence(self, number):
        claim = self.pick(number)
        if self.holds(claim):
            self.bench.call(queue.fence, claim, LEASE)
            self.change(claim, expired=False)
        else:
            self.write(claim, queue.fence, LEASE)

    @precondition(lambda self: self.claims)
    @rule(number=NUMBERS)
    def died(self, number):
        claim = self.pick(number)
        poisoned = self.write(claim, queue.died, "signal 9")
        if poisoned is not None:
            row = self.rows[claim.id]
            self.rows[claim.id] = row.released(deaths=row.deaths + 1)
            assert poisoned == (self.rows[claim.id].state == "poisoned")

    @precondition(lambda self: self.claims)
    @rule(number=NUMBERS, state=st.sampled_from(["done", "cut", "cancelled", "poisoned"]))
    def end(self, number, state):
        claim = self.pick(number)
        if self.holds(claim):
            self.bench.end(claim, state)
            self.change(claim, state=state, expired=False)
        else:
            with pytest.raises(LeaseLost):
                self.bench.end(claim, state)

    @precondition(lambda self: self.claims)
    @rule(number=NUMBERS)
    def give_back(self, number):
        claim = self.pick(number)
        if self.holds(claim):
            self.bench.call(queue.give_back, claim)
            self.change(claim, state="queued", owner=None, expired=False, waits=False)
        else:
            self.write(claim, queue.give_back)

    @precondition(lambda self: self.claims)
    @rule(number=NUMBERS)
    def expire(self, number):
        claim = self.pick(number)
        if self.holds(claim):
            self.bench.expire(claim)
            self.change(claim, expired=True)

    @rule()
    def sweep(self):
        self.lose(queue.sweep, lambda row: row.expired)

    @rule(owner=OWNERS)
    def free(self, owner):
        self.lose(lambda session: queue.free(session, owner), lambda row: row.owner == owner)

    def time_passes(self):
        self.bench.wait()
        self.rows = {id: replace(row, waits=False) for id, row in self.rows.items()}

    def no_time_passes(self):
        """What waits goes on waiting, however slow the machine is."""
        waiting = [id for id, row in self.rows.items() if row.waits]
        with self.database.transaction() as session:
            session.execute(update(Item).where(Item.id.in_(waiting)).values(not_before=now() + 3600))

    @precondition(lambda self: len(self.cancelling) < 2)
    @rule(audit=AUDITS)
    def cancel(self, audit):
        self.cancelling.add(audit)
        self.bench.set(Audit, Audit.id == self.audits[audit].id, state="cancelling")
        at_work = self.bench.call(queue.cancel, self.audits[audit].id)
        mine = {id: row for id, row in self.rows.items() if row.audit == audit}
        assert at_work == sum(row.state == "running" for row in mine.values())
        for id, row in mine.items():
            if row.state == "queued":
                self.rows[id] = replace(row, state="cancelled")

    @invariant()
    def rows_are_as_they_should_be(self):
        with self.database.reading() as session:
            stored = {row.id: row for row in session.scalars(select(Item))}
        assert stored.keys() == self.rows.keys()
        for id, row in self.rows.items():
            found = stored[id]
            counts = (found.state, found.attempt, found.deaths, found.losses)
            assert counts == (row.state, row.attempt, row.deaths, row.losses)
            if row.state == "running":
                assert (found.owner, found.lease_until == 1.0) == (row.owner, row.expired)
            else:
                assert found.lease_until is None
            assert (found.finished_at is None) == (row.state in ("queued", "running"))

    def place(self, row):
        """Where an item stands in the queue; the least is next, but for that a worker may stay with its audit."""
        project = row.audit % 2
        at_work = sum(other.state == "running" and other.audit % 2 == project for other in self.rows.values())
        return row.kind != "settle", at_work, self.served[project], self.audits[row.audit].project_id, -row.priority

    def pick(self, number):
        """A claim: once in three times one that was lost, if there is any, and the later the likelier."""
        held = [claim for claim in self.claims if self.holds(claim)]
        lost = [claim for claim in self.claims if not self.holds(claim)]
        choice = lost if lost and (not held or number % 3 == 0) else held
        return choice[-1 - number // 3 % min(4, len(choice))]

    def holds(self, claim):
        row = self.rows[claim.id]
        return (row.state, row.owner, row.attempt) == ("running", claim.owner, claim.attempt)

    def write(self, claim, function, *arguments):
        """What a fenced write gives; None when it is refused, as it has to be for a claim that holds no more."""
        if self.holds(claim):
            return self.bench.call(function, claim, *arguments)
        with pytest.raises(LeaseLost):
            self.bench.call(function, claim, *arguments)
        return None

    def change(self, claim, **columns):
        self.rows[claim.id] = replace(self.rows[claim.id], **columns)

    def lose(self, function, chosen):
        poisoned = set()
        for id, row in self.rows.items():
            if row.state == "running" and chosen(row):
                self.rows[id] = row.released(losses=row.losses + 1)
                if self.rows[id].state == "poisoned":
                    poisoned.add(id)
        assert {ended.id for ended in self.bench.call(function)} == poisoned


def test_any_sequence(database, monkeypatch):
    monkeypatch.setattr(queue, "POISON", POISON)
    monkeypatch.setattr(queue, "LOSSES", LOSSES)
    machine = type("QueueOnThisDatabase", (Queue,), {"database": database})
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    # no shrinking, which would take minutes on a database
    phases = (Phase.reuse, Phase.generate)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=50, deadline=None, suppress_health_check=checks, phases=phases
        ),
    )
