"""Many rows at once, on either database."""

from sqlalchemy import select

from auditor.store.queries.many import insert_rows, update_rows
from auditor.store.tables import Outcome

KEYS = ("audit_id", "norm", "position")


def outcome(audit, norm, position):
    known = {"example": position, "label": 1, "predicted": 1, "complete": False, "forwards": 0, "backwards": 0}
    return {"audit_id": audit.id, "norm": norm, "position": position, "status": "not_tried", **known}


def found(bench):
    with bench.database.reading() as session:
        return {(row.norm, row.position): row for row in session.scalars(select(Outcome))}


def test_rows_are_inserted_with_null_for_what_they_do_not_name(bench):
    audit = bench.audit()
    bench.call(insert_rows, Outcome, [outcome(audit, norm, n) for norm in ("Linf", "L2") for n in range(3)])
    rows = found(bench)
    assert set(rows) == {(norm, n) for norm in ("Linf", "L2") for n in range(3)}
    assert (rows["L2", 2].example, rows["L2", 2].complete, rows["L2", 2].distance) == (2, False, None)


def test_only_the_rows_and_columns_that_are_given_change(bench):
    audit, other = bench.audit(), bench.audit()
    bench.call(insert_rows, Outcome, [outcome(audit, norm, n) for norm in ("Linf", "L2") for n in range(3)])
    bench.call(insert_rows, Outcome, [outcome(other, "L1", 0)])
    told = [
        {"norm": "Linf", "position": 0, "distance": 0.1, "attack": "é'", "complete": True},
        {"norm": "Linf", "position": 2, "distance": None, "attack": None, "complete": True},
        {"norm": "L1", "position": 0, "distance": 0.3, "attack": "fgsm", "complete": True},
    ]
    bench.call(update_rows, Outcome, KEYS, [{"audit_id": audit.id, **row} for row in told])
    rows = found(bench)
    assert [row.complete for row in rows.values()].count(True) == 2
    assert (rows["Linf", 0].distance, rows["Linf", 0].attack, rows["Linf", 0].status) == (0.1, "é'", "not_tried")
    assert (rows["Linf", 2].complete, rows["Linf", 2].distance, rows["Linf", 2].attack) == (True, None, None)
    assert not rows["L1", 0].complete  # of the other audit


def test_no_rows_are_nothing_to_do(bench):
    bench.call(insert_rows, Outcome, [])
    bench.call(update_rows, Outcome, KEYS, [])
    assert found(bench) == {}
