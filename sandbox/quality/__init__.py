"""Helpers of `make check` and `make test` that are more than one line of shell.

Owns: the dependency audit, the comparison of compiled requirements, the tests' system needs.
Does not own: the rules themselves; those are in pyproject.toml and tests/.
May import: the standard library.
Start reading at `audit.py`.
"""
