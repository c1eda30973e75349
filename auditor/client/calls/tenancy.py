"""The project itself, its keys, and who is told: webhooks and links."""

from auditor import resources
from auditor.client.sending import every, fetch, path_of, send
from auditor.client.steps import Call, Request, Stream


def project() -> Call[resources.Project]:
    """The key's project: quotas and what is used of them."""
    return fetch(resources.Project, Request("GET", path_of("project")))


def set_quotas(quotas: resources.Quotas) -> Call[resources.Project]:
    """Change what the project may use and how long it keeps files; fields that were not set stay."""
    body = quotas.model_dump(exclude_unset=True)
    return fetch(resources.Project, Request("PATCH", path_of("project"), json=body))


def keys() -> Stream[resources.Key]:
    """All keys of the project; their secrets are not known to the service."""
    return every(resources.Key, path_of("keys"))


def create_key(
    name: str, *, role: resources.Role = "submitter", scopes: list[str] | None = None, expires_in: int | None = None
) -> Call[resources.Key]:
    """A new key; `key` of the answer is its secret, shown this once. expires_in: seconds."""
    body = resources.NewKey(name=name, role=role, scopes=scopes, expires_in=expires_in).model_dump()
    return fetch(resources.Key, Request("POST", path_of("keys"), json=body, repeatable=False))


def revoke_key(key_id: str) -> Call[None]:
    """Make a key useless."""
    yield from send(Request("DELETE", path_of("keys", key_id)))


def webhooks() -> Stream[resources.Webhook]:
    """All webhooks of the project."""
    return every(resources.Webhook, path_of("webhooks"))


def create_webhook(url: str, *, events: list[resources.WebhookEvent] | None = None) -> Call[resources.Webhook]:
    """Be told of audits at a URL; `secret` of the answer, shown this once, verifies what comes."""
    new = resources.NewWebhook(url=url) if events is None else resources.NewWebhook(url=url, events=events)
    return fetch(resources.Webhook, Request("POST", path_of("webhooks"), json=new.model_dump(), repeatable=False))


def delete_webhook(webhook_id: str) -> Call[None]:
    """Be told no more."""
    yield from send(Request("DELETE", path_of("webhooks", webhook_id)))


def deliveries(webhook_id: str) -> Stream[resources.Delivery]:
    """What was sent to a webhook and what became of it, newest first."""
    return every(resources.Delivery, path_of("webhooks", webhook_id, "deliveries"))


def links(audit_id: str) -> Stream[resources.Link]:
    """The read-only links to an audit's report that are still valid; their secret part is not shown again."""
    return every(resources.Link, path_of("audits", audit_id, "links"))


def create_link(audit_id: str, *, expires_in: int = 7 * 86400) -> Call[resources.Link]:
    """A link by which anybody can read the report, without a key, for `expires_in` seconds."""
    body = resources.NewLink(expires_in=expires_in).model_dump()
    return fetch(resources.Link, Request("POST", path_of("audits", audit_id, "links"), json=body, repeatable=False))


def revoke_link(audit_id: str, link_id: str) -> Call[None]:
    """End a link before its time."""
    yield from send(Request("DELETE", path_of("audits", audit_id, "links", link_id)))
