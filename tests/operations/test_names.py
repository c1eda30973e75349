"""Names that users give."""

import pytest

from auditor.operations.errors import Unacceptable
from auditor.operations.names import checked_alias, checked_filename, checked_name


@pytest.mark.parametrize("name", ["digits", "ResNet-50 v1.5", "größe", "数字", "a" * 200, "x.y_z"])
def test_plain_names_are_kept(name):
    assert checked_name(name, "model") == name


def test_one_name_has_one_form():
    assert checked_name("gro\u0308ße", "model") == "größe"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "a\\b",
        "..",
        ".hidden",
        "a@b",
        "tab\t",
        "a\x00b",
        "a\u202eb",
        " x",
        "x ",
        "x" * 201,
        "0195f9a2-0000-7000-8000-000000000000",
        "a?b",
        "a#b",
        "a%b",
    ],
)
def test_names_that_would_be_ambiguous_are_refused(name):
    with pytest.raises(Unacceptable):
        checked_name(name, "model")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.onnx", "passwd.onnx"),
        ("C:\\models\\net.onnx", "net.onnx"),
        ("a\nb\x7f.onnx", "ab.onnx"),
        (".onnx", "onnx"),
        ("x" * 300 + ".onnx", "x" * 195 + ".onnx"),
        ("x" * 300, "x" * 200),
        ("größe.onnx", "größe.onnx"),
        ("模" * 100 + ".onnx", "模" * 65 + ".onnx"),
    ],
)
def test_filenames_lose_what_is_dangerous(given, kept):
    assert checked_filename(given) == kept


@pytest.mark.parametrize("given", ["", "/", "..", "a/", "\x00"])
def test_a_file_needs_a_name(given):
    with pytest.raises(Unacceptable):
        checked_filename(given)


@pytest.mark.parametrize(
    ("alias", "accepted"), [("prod", True), ("v1.2-rc_1", True), ("3", False), ("", False), ("a b", False)]
)
def test_an_alias_is_no_number(alias, accepted):
    if accepted:
        assert checked_alias(alias) == alias
    else:
        with pytest.raises(Unacceptable):
            checked_alias(alias)
