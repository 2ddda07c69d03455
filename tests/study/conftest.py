"""A preset of a study that only a test has."""

import pytest

from nanokimi.presets import yaml_config


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """Makes a study called `made` of a text; the presets of models are the real ones."""

    def write(text: str) -> None:
        for each in yaml_config.PRESETS.glob("kimi-facts*.yaml"):
            (tmp_path / each.name).write_text(each.read_text())
        (tmp_path / "study-made-cpu.yaml").write_text(text)
        monkeypatch.setattr(yaml_config, "PRESETS", tmp_path)

    return write
