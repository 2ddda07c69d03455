"""One training as the command line runs it: begun or resumed in its folder, and stopped by a signal after saving."""

import contextlib
import shlex
from collections.abc import Generator, Sequence
from pathlib import Path

from nanokimi import checkpoint, ranks
from nanokimi.cli import settings
from nanokimi.cli.memory import explain_shortage
from nanokimi.cli.outside import Outside
from nanokimi.cli.terminal import CannotPrint, draw_bar, say, say_above_bar, tell
from nanokimi.cli.tracked import Tracked
from nanokimi.config import ConfigError, to_dict
from nanokimi.model import Model
from nanokimi.presets.idle import Clips, describe_standstill
from nanokimi.runs.log import LogError
from nanokimi.runs.wishes import forget_wishes
from nanokimi.steering import EndTraining, Intervention
from nanokimi.system.atomic import remove_empty
from nanokimi.system.printable import one_line, quote
from nanokimi.system.signals import Stopped, Wish
from nanokimi.text.corpus import Corpus
from nanokimi.train import train


def run_training(
    model: Model,
    corpus: Corpus,
    run: settings.Run,
    out: Path,
    done: int | None,
    about: Sequence[str] = (),
    origin: str = "",
    log: str | None = None,
) -> int:
    """Train to the last step, or until a signal comes; the exit code.

    done: the step to resume from; None begins the run in `out`, and writes its settings there once nothing stands in
        the way of its first step. A run that ends before its first step is done leaves none.
    about: lines to say at that moment. origin: where the first weights of a new run come from, if not from its seed.
    log: the tool that tracks the run (see `nanokimi.tracking.tracker`).

    Of several ranks each calls this. Rank 0 alone acts on signals and touches the folder; the others compute with it.
    """
    if ranks.rank() > 0:
        with Wish() as wish, explain_shortage(run.train):
            for _ in train(model, corpus, run.train, out, done is not None):
                pass
        return 128 + wish.number if wish.number is not None else 0
    wish, step, is_begun, clips = Wish(), done or 0, False, Clips(run.train)
    val_losses: list[float] = []
    outside, tracked = Outside(out, model), Tracked(log, out, model, corpus)

    def steer(next_step: int) -> tuple[Intervention, ...]:
        nonlocal is_begun
        if not is_begun:
            if done is None:
                if checkpoint.has_checkpoint(out):  # the folder is ours only now: another training was faster
                    raise ConfigError(
                        f"{quote(str(out))} holds a run that has just ended; name another folder with --out"
                    )
                settings.write_run(out, run, origin)
            else:
                settings.write_steps(out, run.train.steps)
            forget_wishes(out)
            is_begun = True
            tracked.begin(to_dict(run), step)
            for line in about:
                say_above_bar(line)
        if wish.number is not None:
            if done is None and next_step == 1:  # first weights, which may be gigabytes, are not worth saving
                raise Stopped(wish.number)
            raise EndTraining
        return outside.ask(next_step, lambda: wish.number is not None)

    missing = [each for each in (out, *out.parents) if not each.exists()]
    try:
        with wish, explain_shortage(run.train):
            records = train(model, corpus, run.train, out, done is not None, steer)
            assert isinstance(records, Generator)
            with contextlib.closing(records):
                for record in draw_bar(records, run.train, step):
                    step = record.step
                    outside.see(record)
                    tracked.see(record)
                    clips.see(record.grad_norm, record.max_qk_logit)
                    if record.evaluation is not None:
                        val_losses.append(record.evaluation.loss)
    except Stopped as stopped:
        say("stopped before the first step was done: there is nothing to save")
        return stopped.exit_code
    except CannotPrint as error:
        if not checkpoint.has_checkpoint(out):
            raise
        raise CannotPrint(
            f"{error}; stopped after step {step} and saved; to continue: {resume_command(out, log)}"
        ) from None
    except (LogError, checkpoint.CheckpointError) as error:
        if not is_begun or not checkpoint.has_checkpoint(out):
            raise
        raise type(error)(f"{error}; to continue once that is mended: {resume_command(out, log)}") from None
    finally:
        tracked.end()
        if is_begun and done is None and not step and not checkpoint.has_checkpoint(out):
            settings.forget_run(out)
            remove_empty(missing)
    if wish.number is None and not outside.has_stopped:
        for line in clips.list_idle() if done is None else ():
            tell(line)
        if standstill := describe_standstill(val_losses):
            tell(standstill)
        return 0
    # Only here, after the generator is closed, everything is saved.
    if step == run.train.steps:
        say(one_line(f"stopped after the last step, {step}, which is saved in {out}"))
    else:
        say(one_line(f"stopped after step {step} and saved; to continue: {resume_command(out, log)}"))
    return 0 if wish.number is None else 128 + wish.number


def resume_command(out: Path, log: str | None = None) -> str:
    """What to type to continue the run in `out`, tracked with `log`."""
    return f"nanokimi train --resume --out {shlex.quote(str(out))}" + (f" --log {log}" if log else "")
