from django.db import migrations, models

from tenants.base.rls import EnableRLS

# Of earlier days no release is known. The owner's role is bound by row level security as well.
FILL = """
SELECT set_config('app.fleet', 'on', true);
INSERT INTO charge_release (day, tenant_id, model, release, currency, amount)
SELECT day, tenant_id, model, '', currency, amount FROM charge_total WHERE amount <> 0;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0072_methods_of_cost")]

    operations = [
        migrations.CreateModel(
            name="ChargeRelease",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                ("tenant_id", models.BigIntegerField()),
                ("model", models.CharField(max_length=128)),
                ("release", models.CharField(max_length=32)),
                ("currency", models.CharField(max_length=3)),
                ("amount", models.DecimalField(decimal_places=12, max_digits=38)),
            ],
            options={
                "db_table": "charge_release",
                "indexes": [models.Index(fields=["day"], name="charge_release_time")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant_id", "day", "model", "release", "currency"),
                        name="charge_release_key",
                    )
                ],
            },
        ),
        EnableRLS("charge_release"),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
