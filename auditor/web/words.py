"""The words of a form, as far as they are no texts."""


def number(text: str) -> int | float | str:
    """A text that is no number stays one, to be refused by the field's own words."""
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text
