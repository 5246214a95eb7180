"""What is written down of a dropped part names its newest file, if that has the same requests.

By a trigger, so that workers of the version before do it as well while they are replaced.
"""

from django.db import migrations

NAME = """
CREATE FUNCTION qm_name_part_file() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT newest.file, newest.sha256 INTO NEW.file, NEW.file_sha256 FROM (
        SELECT * FROM usage_part_archived WHERE part = NEW.part ORDER BY id DESC LIMIT 1
    ) AS newest WHERE newest.why = '' AND newest.content_sha256 = NEW.sha256;
    NEW.file := coalesce(NEW.file, '');
    NEW.file_sha256 := coalesce(NEW.file_sha256, '');
    RETURN NEW;
END $$;
CREATE TRIGGER names_file BEFORE INSERT ON usage_part_dropped
FOR EACH ROW EXECUTE FUNCTION qm_name_part_file();
DO $$
BEGIN
    EXECUTE format('ALTER FUNCTION qm_name_part_file() SET search_path = %I, pg_temp', current_schema());
END $$;
"""
UNDO = """
DROP TRIGGER names_file ON usage_part_dropped;
DROP FUNCTION qm_name_part_file();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0130_files_of_parts")]

    operations = [migrations.RunSQL(NAME, UNDO)]
