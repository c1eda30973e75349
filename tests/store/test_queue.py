"""The queue: who gets which item, who may still write, and what becomes of items whose workers are gone.

No time passes in these tests: leases and waits are changed in their rows.
"""

import base64
import json
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from auditor import queue
from auditor.queue import LeaseLost
from auditor.store.database import now
from auditor.store.tables import Audit, Item, Spending
from tests.store.conftest import LEASE


class TestOrder:
    def test_nothing_is_nothing(self, bench):
        assert bench.claim() is None

    def test_a_claim_tells_what_the_item_is(self, bench):
        audit = bench.audit()
        bench.put(audit, "slice-00000", priority=3)

        claim = bench.claim("me")

        assert (claim.kind, claim.name, claim.audit_id) == ("attack", "slice-00000", audit.id)
        assert (claim.owner, claim.attempt, claim.deaths, claim.project_id) == ("me", 1, 0, audit.project_id)
        with bench.database.reading() as session:
            left = session.get(Item, claim.id).lease_until - session.scalar(select(now()))
        assert LEASE - 30 < left <= LEASE

    def test_an_item_is_claimed_once(self, bench):
        bench.put(bench.audit(), "a")
        assert bench.claim().name == "a"
        assert bench.claim() is None

    def test_oldest_first(self, bench):
        audit = bench.audit()
        for name in "abc":
            bench.put(audit, name)
            time.sleep(0.002)  # ids have milliseconds
        assert bench.names(4) == ["a", "b", "c", None]

    def test_higher_priority_first_in_a_project(self, bench):
        one = bench.audit()
        other = bench.audit(one.project_id)
        bench.put(one, "low", priority=-1)
        bench.put(one, "middle")
        bench.put(other, "high", priority=5)
        bench.put(other, "higher", priority=6)
        assert bench.names(4) == ["higher", "high", "middle", "low"]

    def test_no_priority_outranks_another_project(self, bench):
        loud, calm = bench.audit(), bench.audit()
        bench.put(loud, "loud-1", "loud-2", "loud-3", priority=10)
        bench.put(calm, "calm-1", "calm-2", priority=-10)
        first, *rest = bench.names(4)
        assert {name[:4] for name in (first, rest[0])} == {"loud", "calm"}
        assert {name[:4] for name in rest[1:]} == {"loud", "calm"}

    def test_what_somebody_waits_for_comes_before_other_projects(self, bench):
        busy, calm = bench.audit(), bench.audit()
        bench.put(busy, "slice")
        assert bench.names(1) == ["slice"]
        bench.put(busy, "settle", kind="settle", priority=-10)
        bench.put(calm, "other", priority=10)
        assert bench.names(2) == ["settle", "other"]

    def test_the_project_with_the_fewest_at_work_first(self, bench):
        busy, calm = bench.audit(), bench.audit()
        bench.put(busy, "1", "2", "3")
        assert len(bench.names(2)) == 2
        bench.put(calm, "x", "y", "z")
        assert set(bench.names(2)) <= set("xyz")

    def test_one_worker_serves_projects_in_turn(self, bench):
        audits = [bench.audit() for _ in range(3)]
        for audit in audits:
            bench.put(audit, *"abcd")
        served = []
        for _ in range(12):
            claim = bench.claim()
            served.append(claim.audit_id)
            bench.end(claim)
        rounds = [set(served[at : at + 3]) for at in range(0, 12, 3)]
        assert rounds == [{audit.id for audit in audits}] * 4

    def test_what_somebody_waits_for_comes_first_in_a_project(self, bench):
        audit = bench.audit()
        bench.put(audit, "slice")
        bench.put(audit, "finish", kind="finish")
        bench.put(audit, "settle", kind="settle")
        assert bench.names(1) == ["settle"]

    def test_kinds(self, bench):
        audit = bench.audit()
        bench.put(audit, "slice")
        assert bench.claim(kinds=("check", "settle")) is None
        assert bench.claim(kinds=("attack",)).name == "slice"

    def test_devices(self, bench):
        audit = bench.audit()
        bench.put(audit, "gpu", device="cuda")
        assert bench.claim(devices=("cpu",)) is None
        bench.put(audit, "any", device="cpu", priority=-1)
        assert bench.names(2, devices=("cpu", "cuda")) == ["gpu", "any"]

    def test_a_check_has_no_audit(self, bench, database):
        audit = bench.audit()
        with database.transaction() as session:
            queue.put(session, project_id=audit.project_id, kind="check", name="check", version_id=audit.version_id)
        claim = bench.claim()
        assert (claim.version_id, claim.audit_id) == (audit.version_id, None)
        assert bench.call(queue.heartbeat, claim, LEASE)

    def test_the_same_name_twice_is_refused(self, bench):
        audit = bench.audit()
        bench.put(audit, "a")
        with pytest.raises(IntegrityError, match=r"(?i)unique"):
            bench.put(audit, "a")

    def test_eight_threads_claim_each_item_once(self, bench):
        audits = [bench.audit() for _ in range(3)]
        for audit in audits:
            bench.put(audit, *(f"slice-{number}" for number in range(100)))

        def work(number):
            mine = []
            while claim := bench.claim(f"worker-{number}", prefer=audits[number % 3].id):
                mine.append(claim.id)
                bench.end(claim)
            return mine

        with ThreadPoolExecutor(8) as pool:
            claimed = [id for mine in pool.map(work, range(8)) for id in mine]
        assert len(claimed) == len(set(claimed)) == 300


class TestWarm:
    """A worker whose child has an audit open."""

    @pytest.fixture
    def warm(self, bench):
        audit = bench.audit()
        bench.put(audit, "warm-1", "warm-2")
        return audit

    def test_its_items_come_first(self, bench, warm):
        bench.put(bench.audit(warm.project_id), "older")
        bench.set(Item, Item.name == "older", id="00000000-0000-7000-8000-000000000000")
        assert bench.claim(prefer=warm.id).audit_id == warm.id
        assert bench.claim().name == "older"

    def test_another_project_that_was_just_served_does_not_interrupt(self, bench, warm):
        other = bench.audit()
        bench.put(other, "1", "2")
        served = bench.claim()
        while served.audit_id != other.id:
            bench.end(served)
            served = bench.claim()
        bench.end(served)
        bench.put(warm, "warm-3")
        assert bench.claim(prefer=warm.id).audit_id == warm.id

    def test_a_starving_project_interrupts(self, bench, warm):
        other = bench.audit()
        bench.put(other, "1", "2")
        bench.end(bench.claim(prefer=warm.id))
        claim = bench.claim(prefer=warm.id)
        assert claim.audit_id == other.id
        bench.end(claim)
        assert bench.claim(prefer=warm.id).audit_id == warm.id
        bench.set(Item, Item.audit_id == other.id, claimed_at=1.0)
        bench.put(warm, "warm-3")
        assert bench.claim(prefer=warm.id).audit_id == other.id

    def test_a_project_with_something_at_work_does_not_starve(self, bench, warm):
        other = bench.audit()
        bench.put(other, "1")
        assert bench.claim().audit_id == warm.id
        assert bench.claim().audit_id == other.id
        bench.put(other, "2")
        bench.set(Item, claimed_at=1.0)
        assert bench.claim(prefer=warm.id).audit_id == warm.id

    def test_a_higher_priority_interrupts(self, bench, warm):
        bench.put(bench.audit(warm.project_id), "urgent", priority=1)
        assert bench.claim(prefer=warm.id).name == "urgent"

    def test_a_higher_priority_of_another_project_does_not(self, bench, warm):
        other = bench.audit()
        bench.put(other, "1")
        assert {bench.claim().audit_id, bench.claim().audit_id} == {warm.id, other.id}
        bench.put(other, "2", priority=10)
        assert bench.claim(prefer=warm.id).audit_id == warm.id

    def test_a_low_priority_does_not_hold_back_a_starving_project(self, bench, warm):
        bench.end(bench.claim())
        other = bench.audit()
        bench.put(other, "1", priority=-10)
        assert bench.claim(prefer=warm.id).audit_id == other.id

    @pytest.mark.parametrize("own", [True, False], ids=["own", "other"])
    def test_a_check_interrupts(self, bench, warm, own):
        other = bench.audit(warm.project_id if own else None)
        bench.put(other, "first", kind="settle")
        assert bench.claim(prefer=warm.id).name == "first"
        bench.put(other, "second", kind="settle", priority=-10)
        assert bench.claim(prefer=warm.id).name == "second"

    def test_without_items_of_it_any_will_do(self, bench, warm):
        assert bench.claim(prefer=bench.audit().id).audit_id == warm.id


class TestQuota:
    def spend(self, bench, audit, seconds, *, days=0):
        """What the audit's project has spent, by the database's clock, that many days ago."""
        with bench.database.transaction() as session:
            today = int(session.scalar(select(now())) // 86400)
            session.add(Spending(project_id=audit.project_id, day=today - days, seconds=seconds))

    def test_compute_that_is_used_up_holds_back_slices(self, bench):
        audit = bench.audit(quota=100)
        self.spend(bench, audit, 60.0)
        self.spend(bench, audit, 40.0, days=30)
        bench.put(audit, "slice")
        bench.put(audit, "prepare", kind="prepare")
        assert bench.claim() is None
        assert bench.claim(prefer=audit.id) is None

    def test_what_ends_an_audit_or_is_waited_for_goes_on(self, bench):
        audit = bench.audit(quota=100)
        self.spend(bench, audit, 100.0)
        for kind in ("settle", "finish"):
            bench.put(audit, kind, kind=kind)
        assert bench.names(3) == ["settle", "finish", None]

    def test_compute_of_long_ago_is_forgotten(self, bench):
        audit = bench.audit(quota=100)
        self.spend(bench, audit, 99.0)
        self.spend(bench, audit, 50.0, days=31)
        bench.put(audit, "slice")
        assert bench.claim().name == "slice"

    def test_other_projects_are_not_held_back(self, bench):
        held = bench.audit(quota=1)
        self.spend(bench, held, 2.0)
        bench.put(held, "held")
        bench.put(bench.audit(), "free")
        assert bench.names(2) == ["free", None]


class TestFence:
    @pytest.fixture
    def claim(self, bench):
        bench.put(bench.audit(), "slice")
        return bench.claim("first")

    @pytest.fixture
    def stolen(self, bench, claim):
        """The claim of a worker that stopped past its lease, while another one got the item."""
        bench.expire(claim)
        bench.call(queue.sweep)
        assert bench.claim("first").attempt == 2  # even the same worker's later claim is another one
        return claim

    def test_every_write_of_a_lost_claim_is_refused(self, bench, stolen):
        before = bench.item(stolen)
        writes = (
            lambda session: queue.fence(session, stolen, LEASE),
            lambda session: queue.heartbeat(session, stolen, LEASE),
            lambda session: queue.end(session, stolen, "done", seconds=1.0),
            lambda session: queue.died(session, stolen, "gone"),
            lambda session: queue.give_back(session, stolen),
        )
        for write in writes:
            with pytest.raises(LeaseLost, match=r"attempt 1 .* no longer first's"):
                bench.call(write)
        after = bench.item(stolen)
        assert (after.attempt, after.state, after.lease_until) == (2, "running", before.lease_until)

    def test_a_refused_transaction_leaves_nothing(self, bench, stolen):
        def write(session):
            session.get(Audit, stolen.audit_id).pending = 7
            session.flush()
            queue.fence(session, stolen, LEASE)

        with pytest.raises(LeaseLost):
            bench.call(write)
        with bench.database.reading() as session:
            assert session.get(Audit, stolen.audit_id).pending == 0

    def test_an_expired_lease_that_nobody_took_is_kept(self, bench, claim):
        bench.expire(claim)
        bench.call(queue.fence, claim, LEASE)
        assert bench.call(queue.sweep) == []
        assert bench.item(claim).state == "running"

    def test_an_item_ends_once(self, bench, claim):
        bench.end(claim, seconds=2.5, error="odd")
        ended = bench.item(claim)
        assert (ended.state, ended.seconds, ended.error, ended.lease_until) == ("done", 2.5, "odd", None)
        assert ended.finished_at > 1e9
        with pytest.raises(LeaseLost):
            bench.end(claim)

    def test_a_deleted_audit_takes_its_claims_along(self, bench, claim):
        bench.call(lambda session: session.delete(session.get(Audit, claim.audit_id)))
        with pytest.raises(LeaseLost):
            bench.call(queue.heartbeat, claim, LEASE)

    def test_given_back_is_as_if_never_claimed(self, bench, claim):
        bench.call(queue.give_back, claim)
        again = bench.claim("second")
        item = bench.item(again)
        assert (again.id, again.attempt, item.deaths, item.losses) == (claim.id, 2, 0, 0)


class TestLoss:
    def claim_and_expire(self, bench):
        bench.wait()
        claim = bench.claim()
        bench.expire(claim)
        return claim

    def waits(self, bench, claim):
        """Seconds until the item may be claimed, by the database's clock."""
        with bench.database.reading() as session:
            return session.scalar(select(Item.not_before - now()).where(Item.id == claim.id))

    def test_the_third_death_poisons(self, bench):
        bench.put(bench.audit(), "slice")
        for deaths in range(queue.POISON):
            bench.wait()
            claim = bench.claim()
            assert claim.deaths == deaths
            poisoned = bench.call(queue.died, claim, f"signal {deaths}")
            assert poisoned == (deaths == queue.POISON - 1)
        item = bench.item(claim)
        assert (item.state, item.deaths, item.losses, item.error) == ("poisoned", 3, 0, "signal 2")
        bench.wait()
        assert bench.claim() is None

    def test_losses_do_not_poison_until_there_are_too_many(self, bench):
        bench.put(bench.audit(), "slice")
        for _ in range(queue.LOSSES):
            claim = self.claim_and_expire(bench)
            assert bench.call(queue.sweep) == []
        claim = self.claim_and_expire(bench)
        ended = bench.call(queue.sweep)
        assert [(e.id, e.audit_id, e.name, e.kind) for e in ended] == [(claim.id, claim.audit_id, "slice", "attack")]
        assert "lease" in ended[0].error
        assert bench.item(claim).state == "poisoned"

    def test_waits_double_up_to_a_minute(self, bench):
        bench.put(bench.audit(), "slice")
        seen = []
        for _ in range(9):
            claim = self.claim_and_expire(bench)
            bench.call(queue.sweep)
            seen.append(self.waits(bench, claim))
        assert seen == pytest.approx([0, 1, 2, 4, 8, 16, 32, 60, 60], abs=0.9)

    def test_a_death_waits_at_once(self, bench):
        bench.put(bench.audit(), "slice")
        claim = bench.claim()
        bench.call(queue.died, claim, "gone")
        assert 0.2 < self.waits(bench, claim) <= 1

    def test_an_item_that_waits_is_not_claimed(self, bench):
        bench.put(bench.audit(), "slice")
        bench.set(Item, not_before=9e9)
        assert bench.claim() is None

    def test_a_sweep_leaves_leases_that_hold(self, bench):
        bench.put(bench.audit(), "held", "lost")
        held, lost = bench.claim(), bench.claim()
        bench.expire(lost)
        bench.call(queue.sweep)
        assert (bench.item(held).state, bench.item(lost).state) == ("running", "queued")
        assert bench.item(lost).losses == 1

    def test_freeing_takes_everything_from_one_owner(self, bench):
        bench.put(bench.audit(), "1", "2", "3")
        dead = [bench.claim("dead"), bench.claim("dead")]
        alive = bench.claim("alive")
        assert bench.call(queue.free, "dead") == []
        assert [bench.item(claim).losses for claim in dead] == [1, 1]
        assert bench.item(alive).state == "running"
        assert {bench.claim().id, bench.claim().id} == {claim.id for claim in dead}


class TestCancel:
    def test_what_waits_is_ended_and_what_runs_is_told(self, bench):
        audit, other = bench.audit(), bench.audit(priority=-1)
        bench.put(audit, "1", "2", "3")
        claim = bench.claim()
        bench.put(other, "4")
        assert bench.call(queue.heartbeat, claim, LEASE)

        bench.set(Audit, Audit.id == audit.id, state="cancelling")

        assert bench.call(queue.cancel, audit.id) == 1
        assert not bench.call(queue.heartbeat, claim, LEASE)
        assert bench.names(2) == ["4", None]
        bench.end(claim, "cancelled")
        assert bench.call(queue.cancel, audit.id) == 0

    @pytest.mark.parametrize("state", ["cancelling", "cancelled", "failed", "done"])
    def test_nothing_of_an_audit_that_is_over_is_claimed(self, bench, state):
        audit = bench.audit(state=state)
        bench.put(audit, "left")
        assert bench.claim() is None
        assert bench.claim(prefer=audit.id) is None


class TestDoorbell:
    def test_none(self):
        assert queue.doorbell("")() is None

    @pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on the path")
    def test_a_ring_names_the_task_and_carries_nothing(self, tmp_path):
        path = tmp_path / "redis"
        server = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", path, "--save", ""], stdout=-3)
        try:
            client = redis.Redis(unix_socket_path=str(path))
            while not path.exists():
                assert server.poll() is None
            queue.doorbell(f"redis+socket://{path}")()
            message = json.loads(client.lindex("auditor", 0))
            assert message["headers"]["task"] == "auditor.ring"
            assert json.loads(base64.b64decode(message["body"]))[:2] == [[], {}]
        finally:
            server.kill()
            server.wait()

    def test_nobody_there(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            ring = queue.doorbell(f"redis://127.0.0.1:{unused.getsockname()[1]}/0")
            ring()  # imports
            began = time.monotonic()
            ring()
            assert time.monotonic() - began < 1

    def test_a_broker_that_hangs(self):
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            ring = queue.doorbell(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0")
            began = time.monotonic()
            ring()
            assert time.monotonic() - began < 5


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_every_look_at_items_goes_through_an_index(bench, database):
    audit = bench.audit(quota=1000)
    bench.put(audit, "slice")
    statements = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, _context, _many):
        statements.append((statement, parameters))

    claim = bench.claim(prefer=audit.id)
    bench.call(queue.sweep)
    bench.call(queue.free, "nobody")
    bench.call(queue.cancel, audit.id)
    bench.end(claim)
    event.remove(database.engine, "before_cursor_execute", note)

    with database.engine.connect() as connection:
        plans = [
            step.detail
            for statement, parameters in statements
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    looks = [step for step in plans if step.split()[1] == "item"]
    assert len(looks) > 8
    assert [step for step in looks if not step.startswith("SEARCH")] == []
