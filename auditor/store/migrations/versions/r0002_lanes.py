"""Find the first item of a project, kind and device in one look, and when a project was last served."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("item") as item:
        item.add_column(sa.Column("claimed_at", sa.Double(), nullable=True))
        item.drop_index("ix_item_claim")
        item.drop_index("ix_item_project_id")
        item.create_index("ix_item_served", ["project_id", "claimed_at"])
    # outside the batch, which gives columns only names, and no direction
    first = sa.text("priority DESC")
    op.create_index("ix_item_lane", "item", ["project_id", "state", "kind", "device", first, "id"])
    op.create_index("ix_item_warm", "item", ["audit_id", "state", first, "id"])


def downgrade() -> None:
    op.drop_index("ix_item_warm", "item")
    op.drop_index("ix_item_lane", "item")
    with op.batch_alter_table("item") as item:
        item.drop_index("ix_item_served")
        item.create_index("ix_item_project_id", ["project_id"])
        item.create_index("ix_item_claim", ["state", "kind", "priority", "not_before"])
        item.drop_column("claimed_at")
