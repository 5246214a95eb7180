"""Contracts: books of one tenant, which nobody else sees; versions and prices follow their book."""

from django.db import migrations, models

SECURE = """
ALTER TABLE price_book ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_book FORCE ROW LEVEL SECURITY;
CREATE POLICY list_or_own ON price_book
USING (
    (SELECT current_setting('app.fleet', true)) = 'on'
    OR tenant_id IS NULL
    OR tenant_id = ANY ((SELECT string_to_array(
        NULLIF(current_setting('app.tenant_ids', true), ''), ',')::bigint[])::bigint[])
)
WITH CHECK (
    (SELECT current_setting('app.fleet', true)) = 'on'
    OR tenant_id = ANY ((SELECT string_to_array(
        NULLIF(current_setting('app.tenant_ids', true), ''), ',')::bigint[])::bigint[])
);
ALTER TABLE price_book_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE price_book_version FORCE ROW LEVEL SECURITY;
CREATE POLICY of_book ON price_book_version
USING (EXISTS (SELECT 1 FROM price_book b WHERE b.id = book_id))
WITH CHECK ((SELECT current_setting('app.fleet', true)) = 'on');
ALTER TABLE price ENABLE ROW LEVEL SECURITY;
ALTER TABLE price FORCE ROW LEVEL SECURITY;
CREATE POLICY of_version ON price
USING (EXISTS (SELECT 1 FROM price_book_version v WHERE v.id = book_version_id))
WITH CHECK ((SELECT current_setting('app.fleet', true)) = 'on');
"""
OPEN = """
DROP POLICY of_version ON price;
ALTER TABLE price NO FORCE ROW LEVEL SECURITY;
ALTER TABLE price DISABLE ROW LEVEL SECURITY;
DROP POLICY of_book ON price_book_version;
ALTER TABLE price_book_version NO FORCE ROW LEVEL SECURITY;
ALTER TABLE price_book_version DISABLE ROW LEVEL SECURITY;
DROP POLICY list_or_own ON price_book;
ALTER TABLE price_book NO FORCE ROW LEVEL SECURITY;
ALTER TABLE price_book DISABLE ROW LEVEL SECURITY;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_price_kinds")]

    operations = [
        migrations.AddField(
            model_name="pricebook",
            name="tenant_id",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AlterField(
            model_name="pricebook",
            name="currency",
            field=models.CharField(max_length=3),
        ),
        migrations.AddConstraint(
            model_name="pricebook",
            constraint=models.UniqueConstraint(
                condition=models.Q(("tenant_id", None)),
                fields=("currency",),
                name="price_book_one_list",
            ),
        ),
        migrations.AddConstraint(
            model_name="pricebook",
            constraint=models.UniqueConstraint(
                fields=("tenant_id",), name="price_book_one_contract"
            ),
        ),
        migrations.RunSQL(SECURE, OPEN),
    ]
