"""Keep more of how a model is to be read, as it was declared at the upload."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("version", sa.Column("declared", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("version", "declared")
