"""The exercises of notebook 01: text, tokens, and what a loss is measured in."""

from lab_utils.course.chapters.ch01_text import cases, hunts, mistakes
from lab_utils.course.exercise import Exercise, Property, call_with_gradients, run_test
from nanokimi.loss import next_token_loss
from nanokimi.text.bpe import merge_most_frequent
from nanokimi.text.corpus import windows
from nanokimi.text.tokenizer import token_bytes

EXERCISES = (
    Exercise(
        name="merge_most_frequent",
        notebook="01",
        core=merge_most_frequent,
        cases=cases.merge_cases,
        observe=cases.merged_and_pair,
        mistakes=mistakes.MERGE_MOST_FREQUENT,
        hints=(
            "Three steps: count the pairs, choose one, go through the list once and replace it.",
            "Counter(pairwise(ids)) counts. min takes a key: the most frequent first, then the smallest pair.",
            "min(counts, key=lambda pair: (-counts[pair], pair)); then i goes on by 2 after the pair, else by 1.",
        ),
        moral="A tokenizer is its list of merges, in order: the same merges cut any other text in the same way.",
    ),
    Exercise(
        name="token_bytes",
        notebook="01",
        core=token_bytes,
        cases=cases.encodings,
        observe=cases.sizes,
        mistakes=mistakes.TOKEN_BYTES,
        hints=(
            "A token may be a part of a character. Which method gives its bytes without turning them into text?",
            "encoding.decode_single_token_bytes(i), for all i below encoding.n_vocab.",
            "The separator, encoding.eot_token, stands for no text: 0.",
        ),
        moral="Bytes are the common measure: losses of different tokenizers can be compared only in bits per byte.",
    ),
    Exercise(
        name="next_token_loss",
        notebook="01",
        core=next_token_loss,
        cases=cases.loss_cases,
        observe=call_with_gradients,
        mistakes=mistakes.NEXT_TOKEN_LOSS,
        properties=(
            Property("the loss is never negative", lambda parts, *_: float(parts["result"]) >= -1e-6),
        ),
        hints=(
            "Minus the logarithm of the probability that the model gave to the right token, as a mean.",
            "F.cross_entropy takes logits (n, vocab) and targets (n,): flatten batch and sequence.",
            "F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())",
        ),
        moral="ln(vocab) nats per token is knowing nothing. Divided by ln 2 and bytes per token it is bits per byte.",
    ),
    Exercise(
        name="windows",
        notebook="01",
        core=windows,
        cases=cases.window_cases,
        observe=cases.named_windows,
        mistakes=mistakes.WINDOWS,
        hints=(
            "n windows of seq_len inputs need n · seq_len + 1 tokens: the last target is one token further on.",
            "Window i begins at i · seq_len; its targets begin one token later. How many windows fit?",
            "n = min(n, (len(split) - 1) // seq_len); index = torch.arange(1, n * seq_len + 1).view(n, seq_len).",
        ),
        moral="Fixed windows side by side: every evaluation sees the same tokens, each of them once.",
    ),
    Exercise(
        name="test_sound_pairs",
        notebook="01",
        core=hunts.test_sound_pairs,
        cases=hunts.pairs_cases,
        observe=run_test,
        mistakes=mistakes.PAIRS_TESTS,
        hints=(
            "What relation do inputs and targets have, token by token?",
            "Take a text in which you know what follows what: torch.arange(30).",
            "There every target must be its input plus 1.",
        ),
        moral="A model whose loss falls to 0 within minutes has usually seen the answers.",
    ),
    Exercise(
        name="test_sound_split",
        notebook="01",
        core=hunts.test_sound_split,
        cases=hunts.split_cases,
        observe=run_test,
        mistakes=mistakes.SPLIT_TESTS,
        hints=(
            "What must never be true of a document that the model is tested on?",
            "Give every document a different text, and compare the two sides as sets.",
            "set(training) & set(validation) must be empty.",
        ),
        moral="A validation loss on training text measures memory, and looks like understanding.",
    ),
)
