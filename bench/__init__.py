"""The benchmarks: ``pytest bench/ --benchmark-only``.  Each printed table is a ladder, its reference last."""
