"""Prices of several kinds. Those that exist are of the kind unit and stay as they are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0012_closed_books")]

    operations = [
        migrations.RemoveConstraint(
            model_name="price",
            name="price_once",
        ),
        migrations.AddField(
            model_name="price",
            name="kind",
            field=models.CharField(
                choices=[
                    ("unit", "unit"),
                    ("tiered", "tiered"),
                    ("volume", "volume"),
                    ("package", "package"),
                    ("flat", "flat"),
                    ("commitment", "commitment"),
                    ("factor", "factor"),
                ],
                default="unit",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="terms",
            field=models.CharField(blank=True, default="", max_length=1000),
        ),
        migrations.AlterField(
            model_name="price",
            name="meter",
            field=models.CharField(blank=True, max_length=12),
        ),
        migrations.AlterField(
            model_name="price",
            name="model",
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AlterField(
            model_name="price",
            name="unit_price",
            field=models.DecimalField(decimal_places=12, max_digits=24, null=True),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "factor"), _negated=True),
                fields=("book_version", "model", "meter", "traffic_class"),
                name="price_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "factor")),
                fields=("book_version", "model", "meter", "traffic_class"),
                name="price_factor_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "unit"), ("terms", ""), ("unit_price__isnull", False)),
                    models.Q(
                        models.Q(("kind", "unit"), _negated=True),
                        models.Q(("terms", ""), _negated=True),
                        ("unit_price", None),
                    ),
                    _connector="OR",
                ),
                name="price_terms_of_kind",
            ),
        ),
    ]
