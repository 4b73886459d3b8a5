"""A request that comes again under the same idempotency key is answered once and charged once."""
