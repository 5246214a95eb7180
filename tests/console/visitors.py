"""Somebody signed in before a page, without a browser, and the rows of a file that they got."""

import csv
import io

from django.test import Client


def browser(user) -> Client:
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(user)
    return client


def rows(answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode())))
