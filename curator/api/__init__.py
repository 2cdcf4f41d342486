"""The wire contract: generated stubs, conversions, and the table of status codes."""
