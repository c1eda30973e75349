"""Keep with each outcome the class of the point found, and how sure of it the model is."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outcome", sa.Column("adversarial", sa.BigInteger(), nullable=True))
    op.add_column("outcome", sa.Column("confidence", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("outcome", "confidence")
    op.drop_column("outcome", "adversarial")
