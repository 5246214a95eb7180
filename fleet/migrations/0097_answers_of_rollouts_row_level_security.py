from django.db import migrations

from tenants.base.rls import EnableRLS


class Migration(migrations.Migration):
    dependencies = [("fleet", "0096_answers_of_rollouts")]

    operations = [EnableRLS("rollout_answer")]
