"""Keep what projects have spent by day, apart from their audits."""

import sqlalchemy as sa
from alembic import op

from auditor.store.database import now

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    spending = op.create_table(
        "spending",
        sa.Column("project_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_spending_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "day", name=op.f("pk_spending")),
    )
    audit = sa.table("audit", sa.column("project_id"), sa.column("seconds"), sa.column("finished_at", sa.Double()))
    day = sa.cast(sa.func.coalesce(audit.c.finished_at, now()), sa.BigInteger()) // 86400
    spent = sa.select(audit.c.project_id, day.label("day"), audit.c.seconds).where(audit.c.seconds > 0).subquery()
    by_day = sa.select(spent.c.project_id, spent.c.day, sa.func.sum(spent.c.seconds))
    rows = by_day.group_by(spent.c.project_id, spent.c.day)
    op.execute(spending.insert().from_select(["project_id", "day", "seconds"], rows))


def downgrade() -> None:
    op.drop_table("spending")
