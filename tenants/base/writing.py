"""Many rows in one statement, at a fifth of what `bulk_create` takes, which makes an object of
each and asks every field how to write it.
"""

from collections.abc import Collection, Sequence

from django.db import connection, models

from tenants.base.arrays import array


def write_rows(
    model: type[models.Model],
    fields: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    once: Collection[str] = (),
    renew: Collection[str] = (),
) -> None:
    """Insert rows of values of these fields; what they leave out needs a default in the table.

    Where `once` is taken already, the fields of `renew` are written; without any, the row is left
    as it is. JSON is given as text.
    """
    if not rows:
        return
    concrete = model._meta.concrete_fields
    known = {name: column for column in concrete for name in (column.name, column.attname)}
    columns = [known[name] for name in fields]
    names = {name: f'"{column.column}"' for name, column in zip(fields, columns, strict=True)}
    kinds = [str(column.db_type(connection)).partition("(")[0] for column in columns]
    given = ", ".join(f"%s::{kind}[]" for kind in kinds)
    then = ", ".join(f"{names[name]} = EXCLUDED.{names[name]}" for name in renew)
    conflict = f"ON CONFLICT ({', '.join(names[name] for name in once)})" if once else ""
    action = (f"DO UPDATE SET {then}" if then else "DO NOTHING") if once else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {model._meta.db_table} ({', '.join(names.values())})"
            f" SELECT * FROM unnest({given}) {conflict} {action}",
            [array(values) for values in zip(*rows, strict=True)],
        )
