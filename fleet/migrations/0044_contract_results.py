import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """How the canary of each rollout answered the prompts of its contract."""

    dependencies = [("fleet", "0043_output_contracts")]

    operations = [
        migrations.CreateModel(
            name="ContractResult",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("at", models.DateTimeField(auto_now_add=True)),
                ("verdict", models.CharField(max_length=12)),
                ("why", models.TextField()),
                ("answers", models.JSONField()),
                (
                    "contract",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="results",
                        to="fleet.outputcontract",
                    ),
                ),
                (
                    "rollout",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="contract_results",
                        to="fleet.rollout",
                    ),
                ),
            ],
            options={"db_table": "contract_result"},
        ),
        migrations.AddIndex(
            model_name="contractresult",
            index=models.Index(fields=["rollout", "id"], name="contract_result_order"),
        ),
    ]
