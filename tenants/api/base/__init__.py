"""What every REST door shares: authentication, strict JSON, problems, pages, ETags, idempotency."""
