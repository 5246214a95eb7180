"""A part of requests is written to a file before it goes, and the record of its end names it."""

import django.db.models.functions.datetime
from django.db import migrations, models

from tenants.base.rls import AppendOnly


def text(length):
    return models.CharField(db_default="", default="", max_length=length)


def count():
    return models.BigIntegerField(db_default=0, default=0)


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0129_time_before_the_hour"),
    ]

    operations = [
        migrations.CreateModel(
            name="ArchivedPart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("part", models.CharField(max_length=63)),
                ("schema", text(64)),
                ("file", text(200)),
                ("requests", count()),
                ("prompt_tokens", count()),
                ("cached_tokens", count()),
                ("completion_tokens", count()),
                ("gpu_ms", count()),
                ("bytes", count()),
                ("sha256", text(64)),
                ("content_sha256", text(64)),
                ("why", text(500)),
                (
                    "written_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "usage_part_archived",
                "indexes": [
                    models.Index(fields=["part", "-id"], name="usage_part_archived_newest")
                ],
            },
        ),
        AppendOnly("usage_part_archived"),
        migrations.AddField("droppedpart", "file", text(200)),
        migrations.AddField("droppedpart", "file_sha256", text(64)),
    ]
