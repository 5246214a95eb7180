"""What a model consists of beside its weights, as it was found when somebody asked."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("fleet", "0061_roles_of_pods")]

    operations = [
        migrations.AddField("resolution", "parts", models.JSONField(default=list)),
    ]
