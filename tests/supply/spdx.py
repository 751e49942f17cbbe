"""What a package's own metadata says of its licence, as an SPDX expression, and what that asks for.

The categories are those of ScanCode's database, which the library brings along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from license_expression import (
    AND,
    ExpressionError,
    LicenseSymbol,
    get_license_index,
    get_spdx_licensing,
)

# From nothing to ask to the most to ask.
PERMISSIVE, WEAK, STRONG, RESTRICTED = "permissive", "weak copyleft", "copyleft", "restricted"
KINDS = (PERMISSIVE, WEAK, STRONG, RESTRICTED)
_KIND_OF_CATEGORY = {
    "Permissive": PERMISSIVE,
    "Public Domain": PERMISSIVE,
    "Copyleft Limited": WEAK,
    "Copyleft": STRONG,
}
# Names that their owners made up, which no list has.
NVIDIA = "LicenseRef-NVIDIA-Proprietary"
_OWN = {NVIDIA: RESTRICTED, "LicenseRef-NVIDIA-SOFTWARE-LICENSE": RESTRICTED}
_KINDS = {
    key: _KIND_OF_CATEGORY.get(entry["category"], RESTRICTED)
    for entry in get_license_index()
    for key in (entry["spdx_license_key"], *entry["other_spdx_license_keys"])
    if key
} | _OWN
_LICENSING = get_spdx_licensing()
for _name in _OWN:
    _LICENSING.known_symbols[_name] = LicenseSymbol(_name)

# Spellings in `License:` fields that mean one licence and no other.
_SPELLINGS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache 2.0 license": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache software license 2.0": "Apache-2.0",
    "apache-2.0 license": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "bsd-3": "BSD-3-Clause",
    "isc license": "ISC",
    "mit license": "MIT",
    "mit licence": "MIT",
    "new bsd": "BSD-3-Clause",
    "new bsd license": "BSD-3-Clause",
    "nvidia proprietary software": NVIDIA,
    "psf": "PSF-2.0",
    "psfl": "PSF-2.0",
    "the mit license": "MIT",
    "the mit license (mit)": "MIT",
}
# Classifiers that mean one licence; "BSD License" and "Other/Proprietary License" do not.
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


def expression(text: str) -> str | None:
    """`text` as SPDX writes it, or None where it is no expression of known names."""
    try:
        parsed = _LICENSING.parse(text, validate=True)
    except ExpressionError:
        return None
    return None if parsed is None else str(parsed)


def of_metadata(declared: str, field: str, classifiers: Iterable[str]) -> str | None:
    """The licence that a package's metadata says without doubt; None where it does not.

    The three are `License-Expression`, `License` and the classifiers, in this order of trust.
    """
    if declared:
        return expression(declared)
    # Some put the whole text there, with its name on the first line.
    field = re.sub(r"\s+", " ", field.strip().partition("\n")[0])
    if known := expression(field) or _SPELLINGS.get(field.lower()):
        return known
    named = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    clear = [_CLASSIFIERS[name] for name in named if name in _CLASSIFIERS]
    # Of two it is not said whether one may choose.
    return clear[0] if len(clear) == len(named) == 1 else None


def kind(text: str) -> str:
    """The most that an expression asks for, where one may choose the least.

    Raises KeyError with the name that nobody knows.
    """
    return KINDS[_rank(_LICENSING.parse(text))]


def _rank(node: Any) -> int:
    if symbol := getattr(node, "license_symbol", None):  # LICENCE WITH EXCEPTION
        # What the exceptions in use permit is to link with other work without its terms.
        return min(_rank(symbol), KINDS.index(WEAK))
    if isinstance(node, LicenseSymbol):
        return KINDS.index(_KINDS[node.key])
    ranks = [_rank(part) for part in node.args]
    return max(ranks) if isinstance(node, AND) else min(ranks)
