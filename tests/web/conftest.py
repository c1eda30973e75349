"""Visitors of the page of a fresh service, with keys of three roles."""

import re

import pytest
from fastapi.testclient import TestClient

from auditor.server import site
from tests import finished
from tests.work import put_inputs

ORIGIN = "http://localhost"


class Visitor:
    """A browser without scripts."""

    def __init__(self, app) -> None:
        self.browser = TestClient(app, base_url=ORIGIN, follow_redirects=False)

    def sign_in(self, key, **query):
        page = self.browser.get("/sign-in", params=query)
        said = {"csrf": csrf(page.text), "key": key, "next": query.get("next", "/")}
        return self.browser.post("/sign-in", data=said)

    def see(self, path):
        """A page that must be there."""
        page = self.browser.get(path)
        assert page.status_code == 200, f"{path}: {page.status_code} {page.text}"
        return page.text

    def send(self, on, to, files=None, **said):
        """A form of the page `on`."""
        return self.browser.post(to, data={"csrf": csrf(self.see(on)), **said}, files=files)


def csrf(html):
    return re.search(r'name="csrf" value="([0-9a-f]{64})"', html)[1]


@pytest.fixture
def database_kind():
    """The pages do the same on every database, by the operations that are tested on each."""
    return "sqlite"


@pytest.fixture
def app(service):
    return site(service)


@pytest.fixture
def visit(app, make_key):
    """Signs in with a key of a role."""

    def visit(role="admin", **options):
        visitor = Visitor(app)
        assert visitor.sign_in(make_key(role, **options)).status_code == 303
        return visitor

    return visit


@pytest.fixture
def visitor(visit):
    return visit()


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    return finished.run(
        tmp_path_factory.mktemp("ran"), examples=12, attack=["fgsm", "pgd"], fail_under=["Linf:0.02=0.9"]
    )


@pytest.fixture
def inputs(service, project):
    return put_inputs(service, project)


@pytest.fixture
def audit(service, project, inputs, ran):
    """The id of a finished audit."""
    return finished.put(service, project, inputs, ran)
