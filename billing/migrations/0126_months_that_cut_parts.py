"""Months that are open or closed by now keep the parts of fees that they were charged with.

The default of the moment is theirs, which writes no row; months opened from here on are exact.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0125_who_closed_a_period_stays")]

    operations = [
        migrations.AddField(
            "billingperiod", "cuts_shares", models.BooleanField(default=False, db_default=True)
        ),
        migrations.AlterField(
            "billingperiod", "cuts_shares", models.BooleanField(default=False, db_default=False)
        ),
    ]
