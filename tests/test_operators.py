"""The page of operators says what the tables say, and no operator that ONNX Runtime runs is without a word."""

from pathlib import Path

from tests.operators import page

PAGE = Path(__file__).parents[1] / "docs" / "operators.md"


def test_the_page_is_up_to_date():
    assert PAGE.read_text() == page(), "run: python -m tests.operators > docs/operators.md"


def test_every_operator_has_a_gradient_or_a_reason():
    rows = [line.split(" | ") for line in page().splitlines() if line.count(" | ") == 3]
    assert len(rows) > 180
    assert [row[0] for row in rows if row[1] == "no rule"] == []


def test_every_gradient_is_tested():
    rows = [line.split(" | ") for line in page().splitlines() if line.count(" | ") == 3]
    untested = [row[0] for row in rows[1:] if not row[1].startswith(("none", "no rule")) and row[3].strip(" |") == ""]
    assert untested == []
