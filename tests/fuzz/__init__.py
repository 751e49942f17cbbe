"""Fuzz targets: `make test-fuzz`, and a short smoke of each in the unit stage."""

from tests.fuzz import decode, header, text, upload

TARGETS = {module.TARGET.name: module.TARGET for module in (decode, header, text, upload)}
