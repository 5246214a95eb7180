"""Of requests that are dropped it is kept what there was; the owner's function alone writes it."""

import django.db.models.functions.datetime
from django.db import migrations, models

from tenants.base.rls import AppendOnly, EnableRLS

TABLES = ("usage_part_dropped", "usage_day_dropped", "usage_estimate_dropped")
# Whoever may insert into tables of billing may not insert here.
ONLY_READ = """
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN SELECT relname, (aclexplode(relacl)).grantee, relowner FROM pg_class
        WHERE oid IN ('usage_part_dropped'::regclass, 'usage_day_dropped'::regclass,
            'usage_estimate_dropped'::regclass)
    LOOP
        IF given.grantee <> given.relowner THEN
            EXECUTE format('REVOKE INSERT ON %I FROM %s', given.relname,
                CASE WHEN given.grantee = 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END);
        END IF;
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0112_first_days"),
    ]

    operations = [
        migrations.CreateModel(
            name="DroppedPart",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("part", models.CharField(max_length=63, unique=True)),
                ("starts_at", models.DateTimeField(null=True)),
                ("ends_at", models.DateTimeField()),
                ("requests", models.BigIntegerField()),
                ("prompt_tokens", models.BigIntegerField()),
                ("cached_tokens", models.BigIntegerField()),
                ("completion_tokens", models.BigIntegerField()),
                ("gpu_ms", models.BigIntegerField()),
                ("bytes", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("rule", models.CharField(max_length=200)),
                (
                    "dropped_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
            ],
            options={
                "db_table": "usage_part_dropped",
            },
        ),
        migrations.CreateModel(
            name="DroppedDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("day", models.DateField()),
                ("part", models.CharField(max_length=63)),
                ("requests", models.BigIntegerField()),
                ("prompt_tokens", models.BigIntegerField()),
                ("cached_tokens", models.BigIntegerField()),
                ("completion_tokens", models.BigIntegerField()),
                ("gpu_ms", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
            ],
            options={
                "db_table": "usage_day_dropped",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "day"), name="usage_day_dropped_key"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="DroppedEstimate",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("hour", models.DateTimeField()),
                ("service_id", models.BigIntegerField()),
                ("tokens", models.BigIntegerField()),
            ],
            options={
                "db_table": "usage_estimate_dropped",
                "indexes": [models.Index(fields=["hour"], name="usage_estimate_dropped_hour")],
            },
        ),
        EnableRLS("usage_day_dropped"),
        EnableRLS("usage_estimate_dropped"),
        *[AppendOnly(table) for table in TABLES],
        migrations.RunSQL(ONLY_READ, migrations.RunSQL.noop),
    ]
