"""Parts of requests on their page, in its file, on the command line and in a list of requests."""

from io import StringIO

import pytest
from django.core.management import call_command

from tests.console.visitors import browser, rows

pytestmark = pytest.mark.django_db
PAGE = "/reconciliation/parts/"


@pytest.mark.parametrize(("months", "says"), [(0, "never"), (3, "from ")])
def test_it_shows_each_part_and_when_it_may_go(scene, settings, months, says):
    settings.QM_USAGE_MONTHS = months
    olga = browser(scene.olga)
    page = olga.get(PAGE)
    assert page.status_code == 200
    assert f"<td>{says}" in page.content.decode()
    found = rows(olga.get(f"{PAGE}?format=csv"))
    assert [row["part"] for row in found] == [part.name for part, *_ in page.context["parts"]]
    assert "Nothing was dropped" in olga.get(f"{PAGE}?list=dropped").content.decode()
    assert rows(olga.get(f"{PAGE}?list=dropped&format=csv")) == []
    said = StringIO()
    call_command("billing", "retention", stdout=said)
    assert said.getvalue().count("\n") == len(found)
