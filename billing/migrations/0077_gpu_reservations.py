"""GPUs that are kept for a tenant."""

from django.db import migrations, models

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("billing", "0076_nodes_of_cost_pools")]

    operations = [
        migrations.CreateModel(
            name="GpuReservation",
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
                ("tenant_id", models.BigIntegerField()),
                ("product", models.CharField(max_length=120)),
                ("cluster", models.CharField(blank=True, max_length=63)),
                ("node_pool", models.CharField(blank=True, max_length=63)),
                ("gpus", models.PositiveIntegerField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(null=True)),
                ("why", models.TextField()),
                ("created_by", models.CharField(max_length=254)),
            ],
            options={
                "db_table": "gpu_reservation",
                "indexes": [
                    models.Index(fields=["tenant_id", "-id"], name="gpu_reservation_tenant"),
                    models.Index(fields=["starts_at", "ends_at"], name="gpu_reservation_time"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ends_at", None),
                            ("ends_at__gte", models.F("starts_at")),
                            _connector="OR",
                        ),
                        name="gpu_reservation_ends_after_it_begins",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("gpus__gt", 0)), name="gpu_reservation_of_some"
                    ),
                ],
            },
        ),
        EnableRLS("gpu_reservation"),
    ]
