"""Sums by service follow `usage_hour` by triggers of statements, then are filled once.

Triggers, because a worker of an older version may still roll up while this runs: whatever writes
hours keeps their sums from the moment of this migration on.
"""

from django.db import migrations

# Keys in a fixed order, so that two writers wait for one another instead of for each other.
ADD = """
CREATE FUNCTION usage_service_hour_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_service_hour AS kept (hour, service_id, prompt_tokens, completion_tokens)
    SELECT hour, service_id,
        sum(prompt_tokens) * TG_ARGV[0]::int, sum(completion_tokens) * TG_ARGV[0]::int
    FROM changed WHERE service_id > 0 GROUP BY hour, service_id ORDER BY hour, service_id
    ON CONFLICT (hour, service_id) DO UPDATE SET
        prompt_tokens = kept.prompt_tokens + EXCLUDED.prompt_tokens,
        completion_tokens = kept.completion_tokens + EXCLUDED.completion_tokens;
    RETURN NULL;
END $$;
CREATE TRIGGER service_hours_more AFTER INSERT ON usage_hour
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
EXECUTE FUNCTION usage_service_hour_keep('1');
CREATE TRIGGER service_hours_less AFTER DELETE ON usage_hour
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT
EXECUTE FUNCTION usage_service_hour_keep('-1');
INSERT INTO usage_service_hour (hour, service_id, prompt_tokens, completion_tokens)
SELECT hour, service_id, sum(prompt_tokens), sum(completion_tokens)
FROM usage_hour WHERE service_id > 0 GROUP BY hour, service_id;
"""
REMOVE = """
DROP TRIGGER service_hours_more ON usage_hour;
DROP TRIGGER service_hours_less ON usage_hour;
DROP FUNCTION usage_service_hour_keep;
DELETE FROM usage_service_hour;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0045_service_hours")]

    operations = [
        migrations.RunSQL(
            ["SELECT set_config('app.fleet', 'on', true)", ADD],
            ["SELECT set_config('app.fleet', 'on', true)", REMOVE],
        )
    ]
