"""Two trainings that begin in one folder: the one that comes later changes nothing of the other's run."""

import pytest

from nanokimi.cli import settings, training
from nanokimi.config import ConfigError, DataConfig
from tests import tiny
from tests.training import make_model, run


def test_a_run_that_ended_while_ours_was_prepared_is_not_replaced(tmp_path):
    """Between the look at the folder and the first step, another training may have come and gone."""
    run(make_model("gpt"), tiny.train_config(), run_dir=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    wanted = settings.Run(DataConfig(), tiny.gpt(), tiny.train_config())
    with pytest.raises(ConfigError, match="holds a run that has just ended; name another folder"):
        training.run_training(make_model("gpt"), tiny.corpus(), wanted, tmp_path, None)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
