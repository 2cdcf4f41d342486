"""The gRPC server: it does the work."""
