import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("fleet", "0038_change_calendar"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Resolution",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("image", "Image"), ("model", "Model")], max_length=8
                    ),
                ),
                ("name", models.CharField(max_length=300)),
                ("label", models.CharField(blank=True, max_length=128)),
                ("pinned", models.CharField(max_length=71)),
                ("answer", models.JSONField(default=dict)),
                ("signature", models.JSONField(default=dict)),
                ("shape", models.JSONField(null=True)),
                ("at", models.DateTimeField(auto_now_add=True)),
                (
                    "asked_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "resolution",
            },
        ),
        migrations.AddIndex(
            model_name="resolution",
            index=models.Index(fields=["kind", "name", "pinned", "-id"], name="resolution_found"),
        ),
    ]
