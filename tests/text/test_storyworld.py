"""The story grammar: exact probabilities, unambiguous texts, the same bytes everywhere, readable English."""

import hashlib
import os
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from fractions import Fraction
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanokimi.text.storyworld import (
    ROLES,
    Grammar,
    GrammarError,
    World,
    default_grammar,
    derivations,
    entropy,
    every_story,
    fact_values,
    generate,
    words,
    write,
)
from nanokimi.text.storyworld.grammar import Choice, Fact, Recall, Text, article, inflect
from nanokimi.text.storyworld.world import names

ROLE = {name: i for i, name in enumerate(ROLES)}
TOKENS = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]")

# Everything that the notation can do, small enough to write down every story.
SMALL_RULES = {
    "story": [
        "{new hero} the {species} [had|saw] {a toys=toy}. {more}{newline}[The|That] {toy} [fell.|broke.]",
        "One [hot|cold [day|night]], {new hero} found {a toys=toy}. {He} liked {food}.",
        "One warm {trees} tree stood near {new hero} and {friend}.",
    ],
    "more": [
        "{He} met {new guest}, {a guest.species}.",
        "{He} met {friend}, {a friend.species}.",
        "{Friend} came.",
    ],
    "toys": ["red ball", "red kite", "apple"],
    "trees": ["oak", "elm"],
}


@pytest.fixture(scope="module")
def small():
    return Grammar(SMALL_RULES, fact_values())


@pytest.fixture(scope="module")
def few():
    return World(seed=3, n_characters=8)


@pytest.fixture(scope="module")
def enumerated(small, few):
    return list(every_story(small, few))


@pytest.fixture(scope="module")
def world():
    return World(seed=0, n_characters=400)


@pytest.fixture(scope="module")
def stories(world):
    return list(generate(world, 2000, seed=11, workers=1))


# ---- exact probabilities, on a grammar small enough to enumerate ------------------------------------------


def test_probabilities_of_all_stories_sum_to_one(enumerated):
    assert len(enumerated) > 150
    assert sum(p for _, p in enumerated) == Fraction(1)


def test_no_two_derivations_give_one_text(enumerated):
    texts = Counter(story.text for story, _ in enumerated)
    assert [t for t, n in texts.items() if n > 1] == []


def test_bits_of_a_story_are_its_surprise(enumerated):
    for story, p in enumerated:
        assert story.bits.sum() == pytest.approx(-log2(p), abs=1e-5)


def test_bits_stand_where_the_surprise_is_and_all_other_words_are_forced(enumerated):
    """The conditional probability of every word, from the enumeration alone, against roles and bits."""
    mass = defaultdict(float)
    for story, p in enumerated:
        for end in [0, *(m.end() for m in TOKENS.finditer(story.text))]:
            mass[story.text[:end]] += float(p)
    checked = 0
    for story, _ in enumerated:
        for m in TOKENS.finditer(story.text):
            surprise = log2(mass[story.text[: m.start()]] / mass[story.text[: m.end()]])
            assert story.bits[m.start() : m.end()].sum() == pytest.approx(surprise, abs=1e-5), story.text
            assert (story.roles[m.start() : m.end()] == ROLE["choice"]).all() == (surprise > 1e-9)
            checked += surprise > 1e-9
    assert checked > 1000


def test_exact_entropy_equals_the_enumerated_one(small, few, enumerated):
    expected = sum(float(p) * -log2(p) for _, p in enumerated)
    assert entropy(small, few) == pytest.approx(expected, abs=1e-9)


def test_sampled_frequencies_follow_the_probabilities(small, few, enumerated):
    n = 10_000
    seen = Counter(write(small, few, 0, i).text for i in range(n))
    expected = np.array([float(p) * n for _, p in enumerated])
    counts = np.array([seen[story.text] for story, _ in enumerated])
    assert counts.sum() == n
    chi2 = ((counts - expected) ** 2 / expected).sum()
    freedom = len(expected) - 1
    assert abs(chi2 - freedom) < 4 * (2 * freedom) ** 0.5


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ({"story": ["A [red|red big] ball"]}, "begins another one"),
        ({"story": ["A [red|red] ball"]}, "begins another one"),
        ({"story": ["{colours} ball", "red dog"], "colours": ["red", "blue"]}, "can go on with 'red'"),
        ({"story": ["{new hero} [saw {food}|saw {friend.food}]"]}, "two alternatives can go on with"),
        ({"story": ["{new hero} [saw {food}|saw pancakes]"]}, "can go on with 'pancakes'"),
        ({"story": ["{new hero}. [{He}|She] ran"]}, "can go on with 'She'"),
        (
            {"story": ["{new hero} [saw {toys=toy}|sang]. {toy}"], "toys": ["ball", "kite"]},
            "{toy} is used on a path",
        ),
        ({"story": ["{hero} ran"]}, "{hero} is used on a path"),
        ({"story": ["a {more}"], "more": ["b", "c {more}"]}, "needs itself"),
        ({"story": ["{toys}s"], "toys": ["ball", "kite"]}, "touches a letter"),
        ({"story": ["{new hero} ate {fodo.x}"]}, "nothing is known of {fodo.x}"),
        ({"story": ["{a more}"], "more": ["[b|c] d", "e"]}, "only a list of plain words"),
        ({"story": ["[a|b"]}, "never closed"),
        ({"story": ["{more}x"], "more": ["", "y"]}, "empty|touches"),
    ],
)
def test_a_grammar_that_cannot_be_read_back_is_refused(rules, complaint):
    with pytest.raises(GrammarError, match=re.escape(complaint) if "|" not in complaint else complaint):
        Grammar(rules, fact_values())


# ---- the full grammar -------------------------------------------------------------------------------------


def test_a_search_finds_exactly_the_derivation_that_wrote_a_story(world):
    for i in range(4):
        story = write(default_grammar(), world, 5, i)
        (one,) = derivations(default_grammar(), world, story.text)
        assert story.bits.sum() == pytest.approx(-log2(one[1].numerator) + log2(one[1].denominator), abs=1e-3)


def test_a_text_from_elsewhere_has_no_derivation(world):
    text = write(default_grammar(), world, 5, 0).text
    assert derivations(default_grammar(), world, text + "!") == []
    assert derivations(default_grammar(), World(1, 400), text) == []


@pytest.mark.parametrize("n_characters", [20, 400])
def test_sampled_mean_surprise_agrees_with_the_exact_entropy(n_characters):
    w = World(seed=2, n_characters=n_characters)
    bits = np.array([s.bits.sum(dtype=np.float64) for s in generate(w, 3000, seed=1)])
    error = bits.std(ddof=1) / len(bits) ** 0.5
    assert abs(bits.mean() - entropy(default_grammar(), w)) < 3.5 * error
    assert error < 1


def test_every_possible_story_has_80_to_200_words():
    """Bounds over all derivations and all worlds, not over a sample."""
    grammar = default_grammar()

    def blanks(nodes) -> tuple[int, int]:
        low = high = 0
        for node in nodes:
            if isinstance(node, Text):
                counts = [sum(c in " \n" for c in node.text)]
            elif isinstance(node, Choice):
                spans = [blanks(option) for option in node.options]
                counts = [min(a for a, _ in spans), max(b for _, b in spans)]
            elif isinstance(node, Fact) and node.attr != "name":
                counts = [inflect(v, node.form).count(" ") for v in grammar.facts[node.attr]]
            elif isinstance(node, Recall):
                counts = [inflect(v, node.form).count(" ") for v in grammar.memory[node.name]]
            else:
                counts = [0]
            low, high = low + min(counts), high + max(counts)
        return low, high

    low, high = blanks(grammar.start)
    assert low + 1 >= 80 and high + 1 <= 200


def test_the_corpus_is_worth_learning(stories):
    n_bytes = sum(len(s.text) for s in stories)
    share = np.bincount(np.concatenate([s.roles for s in stories]), minlength=4) / n_bytes
    assert share[ROLE["fact"]] > 0.10 and share[ROLE["copy"]] > 0.06
    assert 0.2 < sum(s.bits.sum() for s in stories) / n_bytes < 0.8
    vocabulary = {w for s in stories for w in re.findall(r"\b[a-z]+\b", s.text)}
    assert len(vocabulary) > 1500, "words in lower case, names left out"
    assert len({s.text for s in stories}) == len(stories)
    plots = [
        line for rule in ("first", "second", "third", "fourth") for line in default_grammar().rules[rule]
    ]
    assert len(plots) >= 30
    events = Counter(s.text.count("\n") for s in stories)  # opening, first, second, (third, fourth,) ending
    assert set(events) == {3, 4, 5}


# ---- the world --------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**63), half=st.integers(4, 120))
def test_friends_and_neighbours_are_mutual_and_live_in_one_village(seed, half):
    w = World(seed, 2 * half)
    assert len({c.name for c in w.characters}) == 2 * half
    for i, c in enumerate(w.characters):
        friend, neighbour = w.characters[c.friend], w.characters[c.neighbour]
        assert c.index == i and friend.friend == i and neighbour.neighbour == i
        assert len({i, c.friend, c.neighbour}) == 3
        assert c.facts["village"] == friend.facts["village"] == neighbour.facts["village"]
        assert all(c.facts[attr] in values for attr, values in fact_values().items())


def test_heroes_follow_zipfs_law(world, stories):
    heroes = Counter(
        min(
            (s.text.index(c.name), c.index)
            for c in world.characters[:60]
            if re.search(rf"\b{c.name}\b", s.text)
        )[1]
        for s in stories
        if any(re.search(rf"\b{c.name}\b", s.text.split("\n")[0]) for c in world.characters[:60])
    )
    harmonic = sum(1 / r for r in range(1, 401))
    for rank in (1, 2, 4):
        expected = len(stories) / rank / harmonic
        assert abs(heroes[rank - 1] - expected) < 5 * expected**0.5


@pytest.mark.parametrize("n", [0, 6, 9, 10**6])
def test_an_impossible_world_is_refused_by_name(n):
    with pytest.raises(ValueError, match=f"n_characters={n} must be an even number"):
        World(0, n)


def test_thousands_of_characters():
    w = World(0, 5000)
    assert len({c.name for c in w.characters}) == 5000
    assert 80 <= len(write(default_grammar(), w, 0, 0).text.split()) <= 200


def test_no_name_is_a_word_of_the_grammar():
    source = " ".join(line for lines in default_grammar().rules.values() for line in lines)
    source += " ".join(v for attr, values in fact_values().items() for v in values)
    taken = set(re.findall(r"[A-Za-z]+", source)) | {"She", "Her", "A", "An"}
    taken |= {w.capitalize() for w in taken}
    assert sorted({name for name, _ in names()} & taken) == []
    assert len(names()) == len({name for name, _ in names()}) > 6000
    assert all(re.fullmatch(r"[A-Z][a-z]+", name) for name, _ in names())


def test_no_list_has_a_value_twice():
    for source in [*words.LISTS.values(), *words.FACTS.values(), words.SPECIES]:
        values = words.entries(source)
        assert len(values) == len(set(values)) and all(values), [
            v for v, n in Counter(values).items() if n > 1
        ]


def test_no_adjective_repeats_the_noun_that_it_may_meet():
    """No "magic magic bean" and no "small small"."""
    opens = {name: {entry.split()[0] for entry in words.entries(s)} for name, s in words.LISTS.items()}
    closes = {name: {entry.split()[-1] for entry in words.entries(s)} for name, s in words.LISTS.items()}
    for left, right in [("sizes", "adjs"), ("sizes", "things"), ("adjs", "things"), ("adjs", "finds")]:
        assert closes[left] & opens[right] == set(), (left, right)
    for left, right in [
        ("tempers", "creatures"),
        ("tempers", "jobs"),
        ("tints", "flowers"),
        ("olds", "places"),
    ]:
        assert closes[left] & opens[right] == set(), (left, right)


def test_article_goes_by_the_sound():
    an = [
        "apple",
        "egg timer",
        "ice",
        "old kite",
        "umbrella",
        "unusual hat",
        "upturned boat",
        "hourglass",
        "honest cook",
    ]
    a = ["ball", "useful rope", "useless egg", "unicorn", "one-eyed cat", "yo-yo", "huge owl", "European map"]
    assert {article(noun) for noun in an} == {"an"} and {article(noun) for noun in a} == {"a"}


# ---- the same bytes everywhere ----------------------------------------------------------------------------


GOLDEN = "8dc6729af1640304a9cdaa079002465209131c8f840824e03ee5de761d68aaba"


def fingerprint(stories) -> str:
    return hashlib.sha256(b"".join(s.text.encode() + s.roles.tobytes() for s in stories)).hexdigest()


def test_the_same_seed_gives_the_same_bytes_on_every_machine(world):
    """A new value means another corpus for everybody: change it knowingly, and every figure taken on it."""
    assert fingerprint(generate(world, 100, seed=0)) == GOLDEN


def test_any_number_of_workers_gives_the_same_stories():
    w = World(4, 50)
    one, three = (list(generate(w, 701, seed=9, workers=k)) for k in (1, 3))
    assert len(one) == len(three) == 701
    assert fingerprint(one) == fingerprint(three)
    assert all(
        (a.bits == b.bits).all() and a.bits.dtype == np.float32 for a, b in zip(one, three, strict=True)
    )


def test_workers_end_when_the_reader_stops(monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    running = generate(World(0, 20), 10**7, seed=0, workers=2)
    first = next(running)
    assert [child.poll() for child in started] == [None, None]
    running.close()
    assert first.text == write(default_grammar(), World(0, 20), 0, 0).text
    assert all(child.poll() is not None for child in started)


def test_a_worker_that_dies_is_reported(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="worker ended with code"):
        list(generate(World(0, 20), 1000, workers=2))


@pytest.mark.parametrize(("arguments", "message"), [((-1, 0, 1), "n_stories=-1"), ((5, 0, 0), "workers=0")])
def test_impossible_amounts_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(World(0, 8), *arguments)


def test_workers_need_neither_torch_nor_a_guarded_script(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys\nfrom nanokimi.text.storyworld import World, generate\n"
        "print(sum(1 for _ in generate(World(0, 20), 450, workers=2)), 'torch' in sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.split() == ["450", "False"]


def test_a_thousand_stories_take_no_more_than_two_seconds_of_a_core(world):
    start = time.process_time()
    assert sum(1 for _ in generate(world, 1000, seed=3)) == 1000
    assert time.process_time() - start < 2


# ---- every story, whatever the seed -----------------------------------------------------------------------


@settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**63),
    index=st.integers(0, 10**9),
    world_seed=st.integers(0, 3),
    n=st.sampled_from([8, 40]),
)
def test_a_story_is_plain_correct_english(seed, index, world_seed, n):
    w = World(world_seed, n)
    story = write(default_grammar(), w, seed, index)
    text = story.text
    assert text.isascii() and len(story.roles) == len(story.bits) == len(text)
    assert set(story.roles.tolist()) <= set(ROLE.values())
    assert np.isfinite(story.bits).all() and (story.bits >= 0).all() and story.bits.sum() > 50
    assert (story.roles[story.bits > 0] == ROLE["choice"]).all()
    assert 80 <= len(text.split()) <= 200
    assert not re.search(r"  |\n\n| \n|\n | [.,!?]|[{}\[\]|_]|\.\.|,,", text) and text == text.strip()
    for paragraph in text.split("\n"):
        assert re.match(r'"?[A-Z]', paragraph) and re.search(r'[.!?]"?$', paragraph), paragraph
        assert paragraph.count('"') % 2 == 0
    for a, word in re.findall(r"\b([Aa]n?) (\w+)", text):
        consonant = word in ("useful", "useless", "unicorn") or word[0] not in "aeiou"
        assert (a.lower() == "a") == (consonant and word not in ("honest", "hourglass")), (a, word)
    doubled = re.findall(r"\b(\w+) \1\b", text)
    assert doubled == [], doubled
    for c in w.characters:
        for look, species in re.findall(rf"\b{c.name} the (?:([a-z-]+) )?([a-z]+)", text):
            if species in fact_values()["species"]:
                assert species == c.facts["species"] and look in ("", c.facts["look"]), (
                    c.name,
                    look,
                    species,
                )


def test_roles_tell_first_mentions_from_returns(world, stories):
    """A name is first chosen or known, and a copy ever after; other copies have stood in the text before."""
    everybody = {c.name for c in world.characters}
    pronouns = {"he", "she", "him", "her", "his", "himself", "herself"}
    copies = 0
    for story in stories[:300]:
        seen = set()
        for m in re.finditer(r"\w+", story.text):
            if m[0] in everybody:
                is_copy = (story.roles[m.start() : m.end()] == ROLE["copy"]).all()
                chosen = (story.roles[m.start() : m.end()] == ROLE["choice"]).all()
                assert (is_copy or chosen) if m[0] in seen else not is_copy, story.marked()
                seen.add(m[0])
        at = 0
        for role, text, _ in story.segments():
            plain = re.sub(r"^(an?) ", "", text.lower())
            if role == "copy" and plain not in pronouns:
                assert plain in story.text[:at].lower(), (plain, story.text)
                copies += 1
            at += len(text)
        assert at == len(story.text)
    assert copies > 2000


def test_marked_shows_every_role_and_loses_no_text(stories):
    marked = stories[0].marked()
    assert all(mark in marked for mark in "<{(")
    assert re.sub(r"[<>{}()]", "", marked) == stories[0].text
