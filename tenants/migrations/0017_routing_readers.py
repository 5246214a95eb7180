from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0016_from_where_it_was_done")]

    operations = [
        migrations.CreateModel(
            name="RoutingReader",
            fields=[
                ("worker", models.CharField(max_length=128, primary_key=True, serialize=False)),
                ("version", models.BigIntegerField()),
                ("asked_at", models.DateTimeField()),
            ],
            options={"db_table": "routing_reader"},
        ),
    ]
