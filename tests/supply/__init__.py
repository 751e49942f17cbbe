"""What CosyHost is made of: pins, licences, bills of materials, known vulnerabilities."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "files/supply"


class SupplyError(Exception):
    """Something about the supply chain that is not as it must be; says what to do."""
