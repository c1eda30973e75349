"""Clients of an application on a fresh service, with keys of three roles and of a second project."""

import pytest
from fastapi.testclient import TestClient

from auditor.api.app import create_app
from tests import finished


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    """A finished audit's folder and report."""
    return finished.run(tmp_path_factory.mktemp("ran"))


@pytest.fixture
def app(service):
    return create_app(service)


@pytest.fixture
def client_of(app):
    """A client that sends the given key."""

    def client(key=None):
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return TestClient(app, base_url="http://localhost", headers=headers)

    return client


@pytest.fixture
def client(client_of, make_key):
    """A client of an admin of the project."""
    return client_of(make_key())


@pytest.fixture
def stranger(client_of, make_key):
    """A client of an admin of another project."""
    return client_of(make_key(project_name="others"))
