from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0020_names_of_datasets")]

    operations = [
        migrations.CreateModel(
            name="LedgerAccount",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("changed_at", models.DateTimeField(auto_now=True)),
                ("account", models.CharField(max_length=20, unique=True)),
                ("number", models.CharField(max_length=32)),
                ("name", models.CharField(blank=True, max_length=120)),
            ],
            options={"db_table": "ledger_account"},
        ),
    ]
