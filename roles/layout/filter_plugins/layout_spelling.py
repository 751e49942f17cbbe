"""Finds variables that no role knows, and the names that were probably meant."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path

import yaml


def known_names(roles_dir: str) -> dict[str, set[str]]:
    """Each role's name with the variables its argument spec declares."""
    known = {}
    for spec in Path(roles_dir).glob("*/meta/argument_specs.yml"):
        specs = yaml.safe_load(spec.read_text(encoding="utf-8"))["argument_specs"]
        known[spec.parent.parent.name] = set(specs["main"]["options"])
    return known


def layout_unknown_names(names: Iterable[str], roles_dir: str) -> list[str]:
    """What is wrong among the names: ours by prefix but undeclared, or nearly one of ours."""
    known = known_names(roles_dir)
    real = sorted(set().union(*known.values()))
    prefixes = tuple(f"{role}_" for role in known)
    wrong = []
    for name in sorted(set(map(str, names)) - set(real)):
        ours = name.startswith(prefixes)
        near = get_close_matches(name, real, n=2, cutoff=0.5 if ours else 0.88)
        if ours or near:
            hint = f" (did you mean {' / '.join(near)}?)" if near else ""
            wrong.append(f"{name}{hint}")
    return wrong


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict[str, Callable[..., list[str]]]:
        return {"layout_unknown_names": layout_unknown_names}
