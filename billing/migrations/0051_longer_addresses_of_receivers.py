from django.db import migrations, models


class Migration(migrations.Migration):
    """As long as those of webhooks: one set of rules judges both."""

    dependencies = [
        ("billing", "0047_references_of_charges"),
    ]

    operations = [
        migrations.AlterField(
            model_name="exportdestination",
            name="url",
            field=models.CharField(max_length=2000),
        ),
    ]
