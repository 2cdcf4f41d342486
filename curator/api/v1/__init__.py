"""Generated gRPC stubs of ``proto/curator/api/v1``; do not edit, run ``make proto``."""
