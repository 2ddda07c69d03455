"""A text file, and data settings with a cache of the test's own."""

import shutil
from pathlib import Path

import pytest
import tiktoken

from nanokimi.config import DataConfig
from nanokimi.text import tokenizer
from tests.text.made_up_texts import join, some_documents


@pytest.fixture
def text_file(tmp_path) -> Path:
    path = tmp_path / "stories.txt"
    path.write_text(join(some_documents(400)), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path):
    """Makes a DataConfig whose cache is `tmp_path / "cache"`."""

    def make(source, **settings) -> DataConfig:
        settings = {"vocab_size": 300, **settings}
        return DataConfig(source=str(source), cache_dir=str(tmp_path / "cache"), **settings)

    return make


@pytest.fixture(scope="session")
def gpt2(real_text, tmp_path_factory) -> tiktoken.Encoding:
    """GPT-2's encoding from a copy of the offline cache (tiktoken deletes files there that fail its check)."""
    cache = tmp_path_factory.mktemp("tiktoken") / "cache"
    shutil.copytree(real_text / "gpt2" / "tiktoken_cache", cache)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        return tokenizer.gpt2()
