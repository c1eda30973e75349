"""The artifact store behaves the same in a folder and in a bucket."""

import hashlib
import os
import urllib.request

import pytest

from auditor.errors import SpecError
from auditor.store import artifacts
from auditor.store.artifacts import ArtifactMissing, Artifacts, TooManyBytes, blob_key


@pytest.fixture(scope="module")
def bucket():
    """The URL of an S3 server of this module's own, with an empty bucket."""
    server = pytest.importorskip("moto.server", reason="moto is not installed; pip install 'moto[s3,server]'")
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/audits", method="PUT")).close()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path, monkeypatch):
    if request.param == "folder":
        return Artifacts.open(str(tmp_path / "artifacts"))
    endpoint = request.getfixturevalue("bucket")
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return Artifacts.open(f"s3://audits/{request.node.name}")


def chunks(size, each=1 << 20):
    data = os.urandom(size)
    return data, (data[start : start + each] for start in range(0, size, each))


def keys(store, prefix=""):
    return sorted(stored.key for stored in store.list(prefix))


@pytest.mark.parametrize("size", [0, 1, (20 << 20) + 17])
def test_a_blob_lies_under_its_digest(store, size):
    data, stream = chunks(size)
    sha256, written = store.put(stream)
    assert (sha256, written) == (hashlib.sha256(data).hexdigest(), size)
    assert store.read(blob_key(sha256)) == data
    assert b"".join(store.stream(blob_key(sha256))) == data
    assert store.head(blob_key(sha256)).size == size
    assert keys(store) == [blob_key(sha256)]


def test_equal_bytes_are_kept_once(store):
    first, second = store.put([b"ab", b"c"]), store.put([b"abc"])
    assert first == second
    assert keys(store) == [blob_key(first[0])]


def test_a_blob_larger_than_one_copy_may_be_moves_too(store, monkeypatch):
    monkeypatch.setattr(artifacts, "_LARGEST_COPY", 1 << 20)
    data, stream = chunks(9 << 20)
    sha256, _ = store.put(stream)
    assert store.read(blob_key(sha256)) == data
    assert keys(store) == [blob_key(sha256)]


def test_a_stream_may_come_from_the_store_itself(store):
    """As an upload's pieces do."""
    for number in range(3):
        store.write(f"uploads/a/{number}", bytes([number]) * (5 << 20))
    sha256, size = store.put(chunk for number in range(3) for chunk in store.stream(f"uploads/a/{number}"))
    assert size == 15 << 20
    assert store.read_range(blob_key(sha256), (5 << 20) - 1, 2) == b"\x00\x01"


def test_a_stream_over_its_limit_leaves_nothing(store):
    data = os.urandom(10 << 20)
    with store.incoming(len(data) - 1) as incoming:
        incoming.write(data[:-1])
        with pytest.raises(TooManyBytes, match=str(len(data) - 1)):
            incoming.write(data[-1:])
    assert keys(store) == []
    with store.incoming(len(data)) as incoming:
        incoming.write(data)
        assert incoming.end() == (hashlib.sha256(data).hexdigest(), len(data))
        incoming.move()
    assert keys(store) == [blob_key(hashlib.sha256(data).hexdigest())]


def test_a_stream_that_breaks_leaves_nothing(store):
    def broken():
        yield bytes(9 << 20)
        raise ConnectionError("the sender is gone")

    with pytest.raises(ConnectionError):
        store.put(broken())
    assert keys(store) == []


def test_a_range_is_exactly_the_bytes_asked_for(store):
    store.write("some/key", b"0123456789")
    assert store.read_range("some/key", 3, 4) == b"3456"
    assert store.read_range("some/key", 9, 1) == b"9"


def test_what_is_written_again_is_replaced(store):
    store.write("work/a/prepared", b"first")
    store.write("work/a/prepared", b"second")
    assert store.read("work/a/prepared") == b"second"


def test_what_is_missing_is_said_by_name(store):
    for get in (store.read, store.stream, lambda key: store.read_range(key, 0, 1)):
        with pytest.raises(ArtifactMissing, match="work/none"):
            get("work/none")
    assert store.head("work/none") is None


def test_a_prefix_is_whole_path_segments(store):
    for key in ("work/a/1", "work/a/b/2", "work/ab/3", "uploads/a/4"):
        store.write(key, b"x")
    assert keys(store, "work/a") == ["work/a/1", "work/a/b/2"]
    assert keys(store, "work") == ["work/a/1", "work/a/b/2", "work/ab/3"]
    assert keys(store, "none") == []


def test_more_keys_than_one_page_are_listed(store):
    for number in range(1010):
        store.write(f"work/many/{number:04}", b"x")
    assert len(keys(store, "work/many")) == 1010


def test_deleting_what_is_not_there_is_no_error(store):
    store.write("work/a", b"x")
    store.delete(["work/none", "work/a", "work/a"])
    assert keys(store) == []


@pytest.mark.parametrize("url", ["gs://bucket/x", "https://example.org"])
def test_other_places_are_refused(url):
    with pytest.raises(SpecError, match="s3://"):
        Artifacts.open(url)


def test_only_a_folder_has_paths(store, request):
    store.write("work/a", b"x")
    path = store.path("work/a")
    assert (path and path.read_bytes()) == {"folder": b"x", "bucket": None}[request.node.callspec.params["store"]]


def test_keys_stay_inside_the_folder(tmp_path):
    store = Artifacts.open(str(tmp_path / "artifacts"))
    with pytest.raises((ValueError, OSError)):
        store.write("../outside", b"x")
    assert not (tmp_path / "outside").exists()
