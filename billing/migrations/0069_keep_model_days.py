"""Sums of days by model follow `usage_hour` by triggers of statements, then are filled once.

Triggers, because a worker of an older version may still roll up while this runs: whatever writes
hours keeps their sums from the moment of this migration on.
"""

from django.db import migrations

from tenants.base.rls import EnableRLS

# Keys in a fixed order, so that two writers wait for one another instead of for each other.
ADD = """
CREATE FUNCTION usage_model_day_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_model_day AS kept
        (day, tenant_id, model, outcome, requests, prompt_tokens, completion_tokens)
    SELECT (hour AT TIME ZONE 'UTC')::date AS day, tenant_id, model, outcome,
        sum(requests) * TG_ARGV[0]::int, sum(prompt_tokens) * TG_ARGV[0]::int,
        sum(completion_tokens) * TG_ARGV[0]::int
    FROM changed GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, day, model, outcome) DO UPDATE SET
        requests = kept.requests + EXCLUDED.requests,
        prompt_tokens = kept.prompt_tokens + EXCLUDED.prompt_tokens,
        completion_tokens = kept.completion_tokens + EXCLUDED.completion_tokens;
    RETURN NULL;
END $$;
CREATE TRIGGER model_days_more AFTER INSERT ON usage_hour
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT
EXECUTE FUNCTION usage_model_day_keep('1');
CREATE TRIGGER model_days_less AFTER DELETE ON usage_hour
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT
EXECUTE FUNCTION usage_model_day_keep('-1');
INSERT INTO usage_model_day
    (day, tenant_id, model, outcome, requests, prompt_tokens, completion_tokens)
SELECT (hour AT TIME ZONE 'UTC')::date, tenant_id, model, outcome,
    sum(requests), sum(prompt_tokens), sum(completion_tokens)
FROM usage_hour GROUP BY 1, 2, 3, 4;
"""
REMOVE = """
DROP TRIGGER model_days_more ON usage_hour;
DROP TRIGGER model_days_less ON usage_hour;
DROP FUNCTION usage_model_day_keep;
DELETE FROM usage_model_day;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0068_model_days")]

    operations = [
        EnableRLS("usage_model_day"),
        migrations.RunSQL(
            ["SELECT set_config('app.fleet', 'on', true)", ADD],
            ["SELECT set_config('app.fleet', 'on', true)", REMOVE],
        ),
    ]
