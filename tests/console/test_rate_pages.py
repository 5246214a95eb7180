"""Pages of exchange rates: record one, import a file, and what an invoice shows of it."""

from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from billing.models import ExchangeRate
from tests.console.scene import make_scene
from tests.console.test_money_pages import browser

pytestmark = pytest.mark.django_db
RATES = "/billing-accounts/exchange/rates/"


@pytest.fixture
def fin(settings, tmp_path):
    settings.QM_EXPORTS_DIR = tmp_path / "exports"
    return browser(make_scene(timezone.now()).fin)


def given(**changes):
    today = timezone.now().date().isoformat()
    rate = {"base": "usd", "quote": "gbp", "date": today, "source": "ECB", "rate": "0.79"}
    return rate | changes


def send(fin, content):
    return fin.post(f"{RATES}import/", {"csv": SimpleUploadedFile("r.csv", content)})


def test_it_records_a_rate_that_then_stands_in_the_list_and_its_file(fin):
    assert fin.post(f"{RATES}new/", given()).status_code == 302
    assert b"GBP" in fin.get(f"{RATES}?base=usd&quote=gbp").content
    assert b",ECB,0.790000000000," in fin.get(f"{RATES}?quote=GBP&format=csv").content
    assert b"No rate fits" in fin.get(f"{RATES}?quote=SEK").content


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"quote": "usd"}, "two different"), ({"rate": "0"}, "above 0"), ({"source": ""}, "required")],
)
def test_it_keeps_what_was_typed_and_says_what_is_wrong(fin, changes, said):
    answer = fin.post(f"{RATES}new/", given(**changes))
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert b'value="usd"' in answer.content


def test_it_imports_a_file(fin):
    day = timezone.now().date()
    text = f"base,quote,date,source,rate\nUSD,SEK,{day},ECB,10.5\n".encode()
    assert send(fin, text).status_code == 302
    assert ExchangeRate.objects.get(quote="SEK").rate == Decimal("10.5")
    assert (
        "1 there already"
        in fin.post(
            f"{RATES}import/", {"csv": SimpleUploadedFile("r.csv", text)}, follow=True
        ).content.decode()
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"base,quote\n", "Line 1 must be base,quote,date,source,rate"),
        (b"\xff\xfe\x00", "no text in UTF-8"),
        (b"x" * (1 << 20 | 1), "1,048,576 are the most"),
    ],
)
def test_it_refuses_a_file_that_cannot_be_taken(fin, content, said):
    answer = send(fin, content)
    assert answer.status_code == 422
    assert said in answer.content.decode()
