import django.db.models.deletion
from django.db import migrations, models

from tenants.base.rls import EnableRLS

# The list of a large fleet was written anew with each part of it; now each line is written once.
FILL = """
SELECT set_config('app.fleet', 'on', true);
INSERT INTO price_preview_line (preview_id, tenant_id, old, new, unpriced_before, unpriced)
SELECT p.id, t.id, (line->>'old')::numeric, (line->>'new')::numeric,
    (line->>'unpriced_before')::int, (line->>'unpriced')::int
FROM price_preview p CROSS JOIN jsonb_array_elements(p.lines) AS line
JOIN tenant t ON t.slug = line->>'tenant';
"""
# Processes of the version before read and write the column until they end; nobody reads it then.
KEEP = "ALTER TABLE price_preview ALTER COLUMN lines SET DEFAULT '[]'"


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0051_longer_addresses_of_receivers"),
        ("tenants", "0006_networks_of_tokens"),
    ]

    operations = [
        migrations.CreateModel(
            name="PricePreviewLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("tenant_id", models.BigIntegerField()),
                ("old", models.DecimalField(decimal_places=12, max_digits=38)),
                ("new", models.DecimalField(decimal_places=12, max_digits=38)),
                ("unpriced_before", models.PositiveIntegerField()),
                ("unpriced", models.PositiveIntegerField()),
                (
                    "preview",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",  # `lines` is still a column here
                        to="billing.pricepreview",
                    ),
                ),
            ],
            options={
                "db_table": "price_preview_line",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("preview", "tenant_id"), name="price_preview_line_once"
                    )
                ],
            },
        ),
        EnableRLS("price_preview_line"),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.SeparateDatabaseAndState(
            [migrations.RunSQL(KEEP, migrations.RunSQL.noop)],
            [migrations.RemoveField("PricePreview", "lines")],
        ),
        migrations.AlterField(
            model_name="pricepreviewline",
            name="preview",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="lines",
                to="billing.pricepreview",
            ),
        ),
    ]
