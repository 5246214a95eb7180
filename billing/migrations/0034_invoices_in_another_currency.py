from django.db import migrations, models

# What was issued was never converted. Rows of invoices refuse every update, so the column is
# rewritten as a whole.
FILL = "ALTER TABLE invoice ALTER COLUMN priced_in TYPE varchar(3) USING currency;"


class Migration(migrations.Migration):
    dependencies = [("billing", "0033_exchange_rates")]

    operations = [
        migrations.AddField(
            model_name="billingaccount",
            name="rate_source",
            field=models.CharField(blank=True, default="", max_length=64),
        ),
        migrations.AddField(
            model_name="invoice",
            name="priced_in",
            field=models.CharField(default="", max_length=3),
            preserve_default=False,
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="invoice",
            name="rate",
            field=models.DecimalField(decimal_places=12, default=1, max_digits=24),
        ),
        migrations.AddField(
            model_name="invoice", name="rate_on", field=models.DateField(null=True)
        ),
        migrations.AddField(
            model_name="invoice",
            name="rate_source",
            field=models.CharField(blank=True, default="", max_length=64),
        ),
        migrations.RemoveConstraint(model_name="invoice", name="invoice_once"),
        migrations.AddConstraint(
            model_name="invoice",
            constraint=models.UniqueConstraint(
                fields=("period", "priced_in", "after_charge"), name="invoice_once"
            ),
        ),
    ]
