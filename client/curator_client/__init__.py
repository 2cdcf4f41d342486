"""The light gRPC client: no torch, no transformers, no datasets."""
