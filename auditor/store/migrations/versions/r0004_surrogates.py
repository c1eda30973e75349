"""Let models stand in for others of their project, and keep which ones an audit names."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("model") as model:
        model.add_column(sa.Column("surrogate", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("model") as model:  # on SQLite a step of its own: the rows are copied between the two
        model.alter_column("surrogate", server_default=None)
    op.create_table(
        "surrogate",
        sa.Column("audit_id", sa.String(length=36), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("normalisation", sa.JSON(none_as_null=True), nullable=False),
        sa.ForeignKeyConstraint(["audit_id"], ["audit.id"], name=op.f("fk_surrogate_audit_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["version.id"], name=op.f("fk_surrogate_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("audit_id", "position", name=op.f("pk_surrogate")),
    )
    op.create_index(op.f("ix_surrogate_version_id"), "surrogate", ["version_id"])


def downgrade() -> None:
    op.drop_table("surrogate")
    with op.batch_alter_table("model") as model:
        model.drop_column("surrogate")
