"""A setting is declared once: defaults and argument spec say the same, in keys and values."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.roles.conftest import ROLES, ROOT, load, spec_of

TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "dict": (dict,),
    "float": (int, float),
    "int": (int,),
    "list": (list,),
    "str": (str,),
}


def fits(value: Any, option: dict[str, Any]) -> bool:
    if isinstance(value, bool) and option["type"] != "bool":
        return False
    if option["type"] == "list":
        elements = {"type": option["elements"]}
        return isinstance(value, list) and all(fits(item, elements) for item in value)
    return isinstance(value, TYPES[option["type"]])


@pytest.mark.parametrize("role", ROLES)
def test_spec_and_defaults_are_equal(role: str) -> None:
    defaults = load(ROOT / "roles" / role / "defaults/main.yml")
    assert {name: option["default"] for name, option in spec_of(role).items()} == defaults


@pytest.mark.parametrize("role", ROLES)
def test_defaults_fit_their_type_and_are_described(role: str) -> None:
    for name, option in spec_of(role).items():
        assert fits(option["default"], option), name
        assert option["description"].endswith("."), name


@pytest.mark.parametrize("role", ROLES)
def test_preflight_is_held_to_the_same_spec(role: str) -> None:
    specs = load(ROOT / "roles" / role / "meta/argument_specs.yml")["argument_specs"]
    assert specs["preflight"] == specs["main"]


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_of_a_role_begins_with_its_name_and_is_used(role: str) -> None:
    folder = ROOT / "roles" / role
    text = "".join(
        path.read_text(encoding="utf-8")
        for part in ("tasks", "templates", "vars", "handlers")
        for path in (folder / part).glob("*")
    )
    for name in spec_of(role):
        assert name.startswith(f"{role}_")
        assert re.search(rf"\b{name}\b", text), f"{name} is declared and never used"
