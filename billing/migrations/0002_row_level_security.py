from django.db import migrations

from tenants.base.rls import AppendOnly, EnableRLS

PRICES = """
-- One price at any moment: the ranges of a book's versions never overlap. The one-number range
-- stands for equality, which saves the extension btree_gist.
ALTER TABLE price_book_version ADD CONSTRAINT price_book_version_no_overlap
    EXCLUDE USING gist (int8range(book_id, book_id, '[]') WITH &&, effective WITH &&)
    WHERE (effective IS NOT NULL);
ALTER TABLE gpu_price_sheet ADD CONSTRAINT gpu_price_sheet_no_overlap
    EXCLUDE USING gist (effective WITH &&);

CREATE FUNCTION qm_price_of_draft() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM price_book_version
        WHERE id = NEW.book_version_id AND published_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'a published version of a price book takes no further price'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER only_into_drafts BEFORE INSERT ON price
FOR EACH ROW EXECUTE FUNCTION qm_price_of_draft();

CREATE FUNCTION qm_version_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'versions of a price book are never deleted'
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.published_at IS NOT NULL AND (
        (NEW.book_id, NEW.number, NEW.created_at, NEW.created_by, NEW.published_at,
         NEW.published_by, NEW.why)
        IS DISTINCT FROM
        (OLD.book_id, OLD.number, OLD.created_at, OLD.created_by, OLD.published_at,
         OLD.published_by, OLD.why)
        OR NOT (NEW.effective <@ OLD.effective)
    ) THEN
        RAISE EXCEPTION 'a published version of a price book only ends, it never changes'
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER published_only_ends BEFORE UPDATE OR DELETE ON price_book_version
FOR EACH ROW EXECUTE FUNCTION qm_version_published();
"""
UNDO_PRICES = """
DROP TRIGGER published_only_ends ON price_book_version;
DROP FUNCTION qm_version_published();
DROP TRIGGER only_into_drafts ON price;
DROP FUNCTION qm_price_of_draft();
ALTER TABLE gpu_price_sheet DROP CONSTRAINT gpu_price_sheet_no_overlap;
ALTER TABLE price_book_version DROP CONSTRAINT price_book_version_no_overlap;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial"), ("tenants", "0002_row_level_security")]

    operations = [
        EnableRLS("usage_event"),
        EnableRLS("usage_quarantine"),
        EnableRLS("usage_hour_mark"),
        EnableRLS("usage_hour"),
        EnableRLS("usage_hour_head"),
        EnableRLS("charge"),
        EnableRLS("charge_day"),
        EnableRLS("unpriced_usage"),
        EnableRLS("allocation"),
        EnableRLS("cost_day"),
        EnableRLS("export_schedule"),
        EnableRLS("export_job"),
        EnableRLS("export_artifact"),
        AppendOnly("usage_event"),
        AppendOnly("usage_seen"),
        AppendOnly("charge"),
        AppendOnly("price"),
        AppendOnly("gpu_price"),
        AppendOnly("cost_pool"),
        AppendOnly("allocation"),
        AppendOnly("export_artifact"),
        migrations.RunSQL(PRICES, UNDO_PRICES),
    ]
