"""The settings file: what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosyhost import config
from cosyhost.errors import Problem


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("text_chars = 500", "text_chrs = 500", "text_chrs"),
        ("text_chars = 500", "", "text_chars"),
        ("text_chars = 500", "text_chars = 0", "$.limits.text_chars"),
        ("text_chars = 500", 'text_chars = "many"', "$.limits.text_chars"),
        ('kind = "espeak"', 'kind = "espeek"', "$.engine.kind"),
        ('tier = "test"', "tier = test", "line 2"),
        ("file:///", "ftp://", "$.store.url"),
        ('endpoint = ""', 'endpoint = "minio:9000"', "$.store.endpoint"),
    ],
)
def test_a_wrong_key_is_named(
    config_path: Path, tmp_path: Path, old: str, new: str, named: str
) -> None:
    broken = tmp_path / "cosyhost.toml"
    broken.write_text(config_path.read_text().replace(old, new))
    with pytest.raises(Problem) as refused:
        config.load(broken)
    assert refused.value.kind.code == "config_invalid"
    assert named in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="nowhere"):
        config.load(tmp_path / "nowhere.toml")
