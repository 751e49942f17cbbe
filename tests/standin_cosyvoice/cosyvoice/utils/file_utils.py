"""STAND-IN: upstream configures the root logger while it is imported, and so does this."""

import logging

logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(levelname)s %(message)s")
logging.getLogger().setLevel(logging.DEBUG)

__all__ = ["logging"]
