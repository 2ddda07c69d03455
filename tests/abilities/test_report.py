"""All measures together, on each kind of text: what is there, what is left out, and the same numbers again."""

import json
from dataclasses import asdict, replace

import pytest

from nanokimi.abilities.report import measure_abilities
from nanokimi.config import DataConfig, TrainConfig
from nanokimi.evaluate import evaluate
from nanokimi.model import build_model
from nanokimi.text.corpus import Corpus, load_corpus
from tests import tiny
from tests.abilities.scripted import Scripted

CFG = TrainConfig(batch_size=8, seq_len=64, eval_windows=4)


def prepare(folder, **changes) -> tuple[DataConfig, Corpus]:
    data = DataConfig(n_characters=8, vocab_size=400, cache_dir=str(folder), **changes)
    return data, load_corpus(data)


def small_model(corpus: Corpus):
    return build_model(tiny.gpt(vocab_size=corpus.tokenizer.n_vocab, max_seq_len=64)).eval()


def test_of_stories_all_is_measured_and_again(tmp_path):
    data, corpus = prepare(tmp_path, n_stories=300)
    heard = []
    model = small_model(corpus)
    found = measure_abilities(model, corpus, data, CFG, 3, 0, lambda *each: heard.append(each))
    assert found.evaluation == evaluate(model, corpus, CFG)
    assert None not in (found.facts, found.copying, found.grammar) and found.knowledge is None
    assert found.left_out == () and found.samples.n == 3
    assert found.grammar is not None and found.grammar.true.stories == 0
    assert {stage for stage, _, _ in heard} == {
        "loss", "facts", "copying", "writing", "grammar", "memorisation"
    }  # fmt: skip
    assert all(0 <= done <= total for _, done, total in heard)
    json.dumps(asdict(found), allow_nan=False)
    assert measure_abilities(model, corpus, data, CFG, 3, 0) == found


def test_one_who_has_learnt_the_training_text_by_heart(tmp_path):
    """It writes stories of the training text: all of them true, and all of them memorised."""
    data, corpus = prepare(tmp_path, n_stories=300)
    end, stories = corpus.tokenizer.n_vocab - 1, []
    for token in corpus.train.tokens[: 200 * 100].tolist():
        if not stories or stories[-1][-1:] == [end]:
            stories.append([])
        stories[-1].append(token)
    following = {}
    for story in stories[:20]:
        for at, token in enumerate(story):
            following.setdefault(tuple(story[:at]), {})[token] = 1.0
    model = Scripted(corpus.tokenizer.n_vocab, lambda begun: following.get(begun, {}))
    found = measure_abilities(model, corpus, data, replace(CFG, seq_len=256), 5, 0)
    written = found.samples.memorisation.written
    assert written.windows == 1.0 and written.longest > 100
    assert found.samples.memorisation.held_out.windows < 0.9
    assert found.grammar is not None
    assert found.grammar.true.sentences == found.grammar.possible.sentences == 1.0


def test_of_an_almanac_facts_are_asked_in_both_kinds_of_phrasings(tmp_path):
    data, corpus = prepare(tmp_path, source="almanac", n_exposures=20)
    found = measure_abilities(small_model(corpus), corpus, data, CFG, 2)
    assert found.knowledge is not None and list(found.knowledge) == ["seen", "held out"]
    assert all(each.n_facts == 96 for each in found.knowledge.values())
    assert (found.facts, found.copying, found.grammar) == (None, None, None)
    (line,) = found.left_out
    assert line.startswith("copying and grammar are left out")


def test_of_another_text_only_what_any_text_has(tmp_path):
    path = tmp_path / "tales.txt"
    path.write_text("\n".join(f"The {a} saw the owl {b} times." for a in ("cat", "fox") for b in range(400)))
    data, corpus = prepare(tmp_path, source=str(path))
    found = measure_abilities(small_model(corpus), corpus, data, CFG, 2)
    assert (found.facts, found.knowledge, found.copying, found.grammar) == (None, None, None, None)
    assert found.evaluation.floor_bits_per_byte is None and found.samples.longest == 256
    (line,) = found.left_out
    assert line.startswith("facts, copying and grammar are left out")


def test_facts_that_no_window_holds_are_told(tmp_path):
    data, corpus = prepare(tmp_path, n_stories=300)
    found = measure_abilities(small_model(corpus), corpus, data, replace(CFG, seq_len=4), 1)
    assert found.facts is None
    (line,) = found.left_out
    assert "seq_len=4" in line


@pytest.mark.parametrize("seq_len", [65, 10_000])
def test_a_window_that_the_model_cannot_read_is_refused(tmp_path, seq_len):
    data, corpus = prepare(tmp_path, n_stories=300)
    with pytest.raises(ValueError, match=f"seq_len={seq_len}"):
        measure_abilities(small_model(corpus), corpus, data, replace(CFG, seq_len=seq_len), 1)
