"""A draft is edited until it is published, unless it waits for approval; then it never changes."""

from django.db import migrations, models

EDIT = """
DROP TRIGGER append_only ON price;
CREATE FUNCTION qm_price_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM price_book_version
        WHERE id = OLD.book_version_id AND published_at IS NULL AND change_id IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a published or proposed version of a price book never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER published_never_changes BEFORE UPDATE OR DELETE ON price
FOR EACH ROW EXECUTE FUNCTION qm_price_published();
"""
UNDO = """
DROP TRIGGER published_never_changes ON price;
DROP FUNCTION qm_price_published();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON price
FOR EACH STATEMENT EXECUTE FUNCTION qm_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_contracts")]

    operations = [
        migrations.AddField(
            model_name="pricebookversion",
            name="change_id",
            field=models.BigIntegerField(null=True),
        ),
        migrations.RunSQL(EDIT, UNDO),
    ]
