"""A run that begins with the weights of another: the words of the command, and whether text and weights fit."""

from pathlib import Path

from nanokimi.cli import settings
from nanokimi.cli.models import Found, has_its_tokens, load_model, name_of, recall_text, step_of
from nanokimi.config import ConfigError
from nanokimi.system.printable import quote
from nanokimi.text.corpus import Corpus


def read_beginning(
    path: Path, model: str | None, training: str | None, data: str | None, overrides: list[str]
) -> tuple[Found, settings.Run]:
    """The weights, and the settings of the new run. Without `data` its text is the one that the weights were made on.

    `ConfigError` where the command says what the model is, which the weights do.
    """
    if model is not None or any(each.strip().startswith("model.") for each in overrides):
        option = "--model" if model is not None else "--set model.name=value"
        raise ConfigError(f"--init-from takes the model as it is: leave {option} out")
    sets = settings.sort_overrides(overrides, "data", "train")
    found = load_model(path)
    text = recall_text(found, sets["data"]) if data is None else settings.load_data_config(data, sets["data"])
    usual = settings.USUAL_TRAINING[found.model.cfg.kind]
    run = settings.Run(
        text,
        found.model.cfg,
        settings.load_train_config(usual if training is None else training, sets["train"]),
    )
    settings.check_fits(run.model, run.train)
    return found, run


def check_tokens(found: Found, text: Corpus) -> None:
    """`ConfigError` where the text is cut into other tokens: a weight of one would stand for another."""
    if not has_its_tokens(found, text):
        raise ConfigError(
            f"{quote(text.name)} is cut into other tokens than the weights of {quote(name_of(found))} know: take the "
            "text that they were trained on, with its settings of data"
        )


def describe_origin(found: Found) -> str:
    """Which weights these are."""
    return f"{quote(name_of(found))}, trained for {step_of(found)} steps"
