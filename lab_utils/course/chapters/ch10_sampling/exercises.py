"""The exercises of notebook 10: from logits to text."""

from lab_utils.course.chapters.ch10_sampling import cases, hunts, mistakes
from lab_utils.course.exercise import Exercise, Property, run_test
from nanokimi.cache import SequenceCache
from nanokimi.generate import generate, next_token_probs

EXERCISES = (
    Exercise(
        name="next_token_probs",
        notebook="10",
        core=next_token_probs,
        cases=cases.probs_cases,
        observe=cases.observe_probs,
        mistakes=mistakes.NEXT_TOKEN_PROBS,
        properties=(
            Property("the probabilities sum to 1", cases.sums_to_one),
            Property("no more than top_k tokens are left", cases.as_many_as_k),
        ),
        hints=(
            "Divide by the temperature, sort, cut, put back. Temperature 0 and wrong settings come first.",
            "With the logits sorted from large to small, top-k is a slice, and top-p a comparison with a running sum.",
            "A token stays in the nucleus while the sum of those before it is below p; then divide by what is left.",
        ),
        moral="Temperature, then top-k, then top-p: each works on the distribution that the step before has left.",
    ),
    Exercise(
        name="SequenceCache",
        notebook="10",
        core=SequenceCache,
        cases=cases.cache_cases,
        observe=cases.observe_cache,
        writes_into_arguments=True,
        mistakes=mistakes.SEQUENCE_CACHE,
        hints=(
            "Begin with torch.cat along dimension -2; get `length` and `nbytes` right; then make it cheap.",
            "torch.cat copies the whole past for every token. Keep a larger tensor, write into it, return a slice.",
            "When the room is too small take twice as much as is needed; then a token costs constant time on average.",
        ),
        moral="The core doubles its room, so appending is cheap on average; `nbytes` counts what is stored.",
    ),
    Exercise(
        name="generate",
        notebook="10",
        core=generate,
        cases=cases.generate_cases,
        observe=cases.observe_generate,
        mistakes=mistakes.GENERATE,
        hints=(
            "Give the model the prompt once, with model.new_cache(); afterwards give it only the new token.",
            "The last row of logits predicts the next token: next_token_probs, then torch.multinomial, one generator.",
            "When cache[0].length + len(new) passes max_seq_len: a new cache, and the newest half of the text is new.",
        ),
        moral="Every token goes through the model once; the cache holds what later tokens need of it.",
    ),
    Exercise(
        name="test_sound_sampling",
        notebook="10",
        core=hunts.test_sound_sampling,
        cases=hunts.sampling_cases,
        observe=run_test,
        mistakes=mistakes.SAMPLING_TESTS,
        hints=(
            "Three settings, three steps. Is their order that of the docstring of next_token_probs?",
            "Choose few logits, a temperature other than 1 and a top_p, and count the tokens that are left.",
            "Logits 2, 1, 0 at temperature 2: the first two have 0.814 together. What must p = 0.82 leave?",
        ),
        moral="A high temperature needs a larger nucleus. If top-p comes first, the temperature loses half its effect.",
    ),
    Exercise(
        name="test_sound_top_k",
        notebook="10",
        core=hunts.test_sound_top_k,
        cases=hunts.top_k_cases,
        observe=run_test,
        mistakes=mistakes.TOP_K_TESTS,
        hints=(
            "Which logits make `smaller than the k-th` and `not among the first k` different things?",
            "Give the second place to several tokens and ask for top_k=2.",
            "Count the tokens with a probability above 0: it must be exactly 2.",
        ),
        moral="A threshold keeps all tokens that tie with it. In bfloat16, with its few digits, ties are common.",
    ),
)
