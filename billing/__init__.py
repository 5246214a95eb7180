"""What it costs and who pays: usage, prices, charges, the fleet's cost, exports.

Owns: usage events and hours, what stores of prefixes keep, how long requests stay and the files
of those that go, price books, charges, periods, invoices, credits, the journal, node prices,
reservations of GPUs, methods of sharing cost and allocations, exports and their delivery, budgets
in the gateway and their alerts; how far usage can be trusted, decisions about quarantine, the
check of the books.
Does not own: how a request was served (gateway, fleet). Revenue and cost are two questions and
stay apart in tables and on pages. May import: fleet and tenants by their open modules,
gateway.contract. Others may import: actions, queries, rules, errors.
Start reading at `rules/rating.py`, then `actions/ingest.py`.
"""
