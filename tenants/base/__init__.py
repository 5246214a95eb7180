"""What every app builds on: scope (row level security), its migration, abstract rows."""
