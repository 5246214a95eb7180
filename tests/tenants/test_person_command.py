"""The first people come from a terminal: in the console there is nobody yet to invite them."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tenants.base.scope import fleet_scope
from tenants.models import AuditEvent, RoleBinding, User

pytestmark = pytest.mark.django_db


def invite(email, *words):
    out, said = StringIO(), StringIO()
    call_command("person", "invite", email, *words, stdout=out, stderr=said)
    return *out.getvalue().split(), said.getvalue()


def test_the_first_operator_gets_a_password_that_is_changed_at_once():
    email, password, said = invite("Olga@Example.com", "--role", "operator", "--name", "Olga")
    user = User.objects.get()
    assert (email, user.email, user.name) == ("olga@example.com", user.email, "Olga")
    assert user.check_password(password) and user.password_is_once
    assert "shown once" in said and password not in said
    with fleet_scope():
        assert [(b.role, b.tenant) for b in RoleBinding.objects.all()] == [("operator", None)]
        events = AuditEvent.objects.order_by("id").values_list("verb", "actor", "via", "why")
        told = ("system:terminal", "command", "invited from a terminal")
        assert list(events) == [("person.invite", *told), ("role.give", *told)]


def test_somebody_of_one_tenant(acme):
    invite("fin@acme.test", "--role", "finance", "--tenant", "acme")
    with fleet_scope():
        assert RoleBinding.objects.get().tenant == acme


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["olga@example.com", "--role", "king"], "One of"),
        (["no address", "--role", "operator"], "address"),
        (["olga@example.com", "--role", "viewer", "--tenant", "nobody"], "tenant"),
    ],
)
def test_it_says_what_is_wrong_and_creates_nobody(words, said):
    with pytest.raises(CommandError, match=f"(?i){said}"):
        invite(*words)
    assert not User.objects.exists()


def test_nobody_is_invited_twice():
    invite("olga@example.com", "--role", "operator")
    with pytest.raises(CommandError, match="here already"):
        invite("OLGA@example.com", "--role", "approver")
