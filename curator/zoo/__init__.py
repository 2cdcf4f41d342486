"""The bundled family of tiny models."""
