"""The script that re-checks adversarial.npz without this tool; it is shipped as text and imports nothing from here."""

from importlib import resources


def checker() -> bytes:
    """The source of check_adversarial.py."""
    return (resources.files("auditor.report") / "templates" / "check_adversarial.py").read_bytes()
