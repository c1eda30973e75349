"""Who may see a page, and which forms are carried out."""

import pytest
from sqlalchemy import func, select, update

from auditor.store.tables import Key, Session
from auditor.web import session
from tests.web.conftest import Visitor, csrf
from tests.work import rows


@pytest.mark.parametrize("path", ["/", "/models", "/audits/new?model=a%40prod", "/keys"])
def test_who_has_not_signed_in_is_led_to_where_they_can(app, make_key, path):
    visitor = Visitor(app)
    led = visitor.browser.get(path)
    assert led.status_code == 303
    assert led.headers["location"].startswith("/sign-in?next=")
    assert csrf(visitor.see(led.headers["location"]))
    back = visitor.sign_in(make_key(), next=path)
    assert (back.status_code, back.headers["location"]) == (303, path)
    visitor.see(path)


def test_a_part_of_a_page_leads_the_whole_page_to_the_sign_in(app):
    led = Visitor(app).browser.get("/running", headers={"HX-Request": "true"})
    assert (led.status_code, led.headers["hx-redirect"]) == (204, "/sign-in")


def test_a_wrong_key_opens_nothing(app):
    visitor = Visitor(app)
    answer = visitor.sign_in("aud_0000_wrong")
    assert answer.status_code == 401
    assert "not known" in answer.text
    assert session.COOKIE not in visitor.browser.cookies


@pytest.mark.parametrize("place", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
def test_nobody_is_led_to_another_site(app, make_key, place):
    assert Visitor(app).sign_in(make_key(), next=place).headers["location"] == "/"


def test_the_cookie_holds_a_session_and_not_the_key(app, make_key, service):
    key = make_key()
    answer = Visitor(app).sign_in(key)
    (cookie,) = (text for text in answer.headers.get_list("set-cookie") if text.startswith(session.COOKIE))
    assert key not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {word.strip() for word in cookie.split(";")}
    (row,) = rows(service, Session)
    assert row.sha256 not in cookie


def test_a_session_opens_no_door_of_the_api(visitor):
    token = visitor.browser.cookies[session.COOKIE]
    answer = visitor.browser.get("/api/v1/models", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401


def test_signing_out_ends_the_session_for_whoever_has_its_cookie(app, visitor, service):
    token = visitor.browser.cookies[session.COOKIE]
    assert visitor.send("/", "/sign-out").headers["location"] == "/sign-in"
    thief = Visitor(app)
    thief.browser.cookies.set(session.COOKIE, token)
    assert thief.browser.get("/").status_code == 303
    assert rows(service, Session) == []


@pytest.mark.parametrize("columns", [{"revoked_at": 1.0}, {"expires_at": 1.0}])
def test_a_session_ends_with_its_key(app, visitor, service, columns):
    with service.database.transaction() as database:
        database.execute(update(Key).values(columns))
    app.state.sessions.forget(rows(service, Key)[0].id)
    assert visitor.browser.get("/").status_code == 303


def test_a_session_ends_by_itself(app, visitor, service, make_key):
    with service.database.transaction() as database:
        database.execute(update(Session).values(expires_at=1.0))
    app.state.sessions.forget(rows(service, Key)[0].id)
    assert visitor.browser.get("/").status_code == 303
    assert visitor.sign_in(make_key()).status_code == 303
    with service.database.reading() as database:
        assert database.scalar(select(func.count()).select_from(Session)) == 1  # the old one is gone


@pytest.mark.parametrize("said", [{}, {"csrf": "0" * 64}, {"csrf": "ü"}])
def test_a_form_from_elsewhere_is_refused(visitor, service, said):
    answer = visitor.browser.post("/keys", data={"name": "stolen", "role": "admin", "days": "0", **said})
    assert answer.status_code == 403
    assert [key.name for key in rows(service, Key)] == ["a test's"]


def test_a_form_that_another_site_sends_is_refused(visitor, service):
    said = {"csrf": csrf(visitor.see("/keys")), "name": "stolen", "role": "admin", "days": "0"}
    answer = visitor.browser.post("/keys", data=said, headers={"Origin": "http://elsewhere.example"})
    assert answer.status_code == 403
    assert len(rows(service, Key)) == 1


def test_a_sign_in_from_elsewhere_is_refused(app, make_key):
    answer = Visitor(app).browser.post("/sign-in", data={"key": make_key(), "next": "/"})
    assert answer.status_code == 403


def test_the_keys_own_scopes_hold(visit):
    reader = visit("reader")
    assert "New audit" not in reader.see("/")
    assert reader.browser.get("/audits/new").status_code == 403
    answer = reader.send("/", "/keys", name="more", role="admin", days="0")
    assert answer.status_code == 403
    assert "lacks keys:write" in answer.text
