"""Choose continued-pretraining data by the neurons that independently trained language models share."""

from curator.version import __version__

__all__ = ["__version__"]
