"""Hours that wait for the rating are marked, instead of found by an index on what rating changes.

Such an index made every update of a head write to all of its indexes. Triggers mark, because a
worker of an older version may still roll up while this runs. Half of each page stays free, so
that a head's next version fits beside it.
"""

from django.db import migrations, models

MARK = """
CREATE FUNCTION usage_hour_head_mark() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rating_mark (hour)
    SELECT DISTINCT hour FROM changed WHERE version <> rated_version ORDER BY hour;
    RETURN NULL;
END $$;
CREATE TRIGGER mark_new AFTER INSERT ON usage_hour_head
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION usage_hour_head_mark();
CREATE TRIGGER mark_changed AFTER UPDATE ON usage_hour_head
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION usage_hour_head_mark();
ALTER TABLE usage_hour_head SET (fillfactor = 50);
INSERT INTO rating_mark (hour)
SELECT DISTINCT hour FROM usage_hour_head WHERE version <> rated_version;
"""
FORGET = """
DROP TRIGGER mark_new ON usage_hour_head;
DROP TRIGGER mark_changed ON usage_hour_head;
DROP FUNCTION usage_hour_head_mark;
ALTER TABLE usage_hour_head RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0077_gpu_reservations")]

    operations = [
        migrations.CreateModel(
            name="RatingMark",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
            ],
            options={"db_table": "rating_mark"},
        ),
        migrations.RunSQL(["SELECT set_config('app.fleet', 'on', true)", MARK], FORGET),
    ]
