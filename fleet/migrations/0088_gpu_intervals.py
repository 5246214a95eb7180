"""GPUs and their parts by node, and what each did from when until when, never two at a time."""

import django.db.models.deletion
from django.db import migrations, models

# The one-number range stands for equality, which saves the extension btree_gist. The unit comes
# first: with time first, a row is compared with what every other unit does then. Attribution asks
# for an hour, which is the second index.
NO_OVERLAP = """
ALTER TABLE gpu_interval ADD CONSTRAINT gpu_interval_no_overlap
    EXCLUDE USING gist (int8range(unit_id, unit_id, '[]') WITH &&,
        tstzrange(starts_at, ends_at) WITH &&);
CREATE INDEX gpu_interval_time ON gpu_interval USING gist (tstzrange(starts_at, ends_at));
"""
UNDO = """
DROP INDEX gpu_interval_time;
ALTER TABLE gpu_interval DROP CONSTRAINT gpu_interval_no_overlap;
"""
STATES = ("serving", "loading", "draining", "free", "out")


def key():
    return models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


def to(model, **more):
    return models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to=model, **more)


class Migration(migrations.Migration):
    dependencies = [("fleet", "0086_adapter_slots_row_level_security")]

    operations = [
        migrations.AddField("cluster", "gpus_seen_at", models.DateTimeField(null=True)),
        migrations.CreateModel(
            name="GpuUnit",
            fields=[
                ("id", key()),
                ("node", models.CharField(max_length=253)),
                ("profile", models.CharField(blank=True, max_length=32)),
                ("slot", models.PositiveIntegerField()),
                ("cluster", to("fleet.cluster")),
            ],
            options={
                "db_table": "gpu_unit",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("cluster", "node", "profile", "slot"), name="gpu_unit_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="GpuInterval",
            fields=[
                ("id", key()),
                ("product", models.CharField(max_length=120)),
                ("parts", models.PositiveIntegerField(default=1)),
                ("whole", models.PositiveIntegerField(default=1)),
                ("node_pool", models.CharField(blank=True, max_length=63)),
                ("capacity", models.CharField(max_length=12)),
                (
                    "state",
                    models.CharField(choices=[(s, s.title()) for s in STATES], max_length=8),
                ),
                ("holder", models.CharField(blank=True, max_length=36)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("service", to("fleet.service", null=True)),
                ("unit", to("fleet.gpuunit")),
            ],
            options={
                "db_table": "gpu_interval",
                "indexes": [
                    models.Index(
                        condition=models.Q(("ends_at", None)),
                        fields=["unit"],
                        name="gpu_interval_open",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("parts__gt", 0), ("whole__gt", 0)),
                        name="gpu_interval_is_a_fraction",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ends_at", None),
                            ("ends_at__gt", models.F("starts_at")),
                            _connector="OR",
                        ),
                        name="gpu_interval_takes_time",
                    ),
                ],
            },
        ),
        migrations.RunSQL(NO_OVERLAP, UNDO),
    ]
