"""The stories do not change: equal settings and an equal `storyworld.VERSION` give equal bytes on every machine.

The digests come from two sides. One is over stories with their roles and bits. The other is over the words, plots,
facts and names that any story can use, so it also sees a change that no story of the sample happens to show.
"""

import hashlib
import json
import textwrap

import numpy as np

from nanokimi.text.storyworld import VERSION, World, default_grammar, fact_values, generate, write
from nanokimi.text.storyworld.world import names

GOLDEN = {
    "VERSION": 1,
    "200 stories": "217ba187f67e998dcbbf038cbcc2c7ccbcd829d24ea01b2474c79382fe1653e1",
    "words and plots": "f9eca093879cdec820f3aaa47f8647eec9021c48a0ee34d8e901e8f74bce73f0",
}
RENEW = (
    "The stories are no longer those of this VERSION. Not intended? Undo the change. Intended? Count VERSION in "
    "nanokimi/text/storyworld/__init__.py up, and renew the golden values in this file. Every prepared corpus is then "
    "made again, runs on the old stories cannot be resumed, and published results are those of the old stories. "
    "The values are now: "
)

# Wrapped; an empty line separates paragraphs.
FIRST_STORY = """\
<Have> you <seen> <Oswald>? {He} was {a silvery} {duck} from {Daisy Cross}. <At> school, {Captain Anchor}
called (him) {a quiet} pupil. <He> <was> not afraid of anything, except {big waves}.

<With> <a> <little> <colourful> <mirror>, (Oswald) {waddled} to the <royal> <barn> one <Thursday>. <Only> <a>
<blushing> <tailor> was about and <yawned> <skilfully>. <Suddenly>, <something> went <bang>. (Oswald) thought
of (big waves). But it was only <a> <nervous> <moose> with <a> <glossy> <clay> pipe. "I am <extremely> sorry,"
the (moose) <whispered> <sadly>.

<After> <a> <long> <walk>, <Oswald> <met> <a> <tired> <bumblebee> that wanted to become <a> <beekeeper>. "But
I am <extremely> <shy>," the (bumblebee) <sniffed> <unhappily>. "Even (a beekeeper) starts small," {quacked}
(Oswald).

<On> <a> <frosted> bench <Dralli> the {pigeon} played the {bagpipes}. (Oswald) felt <unusually> <moved>.

<Everybody> was <very> <hopeful>, most of all (Oswald) with the <creaky> (clay pipe) and the (mirror)."""
OTHER_STORY = """\
Listen, and I will tell you about Reggie, a dusty pigeon from Gooseberry Mill. At school, Captain Salt called
him a restless pupil. His glass marble was kept in the attic, wrapped in leaves.

"Take the cookbook!" called Father Alder one sunny morning, and Reggie fluttered to the cliff path. A
dignified duckling hiccuped proudly underneath a sunflower. "Help!" called a kind voice. A snoring chick was
stuck near a bicycle. Reggie carefully pulled it out. The chick saluted and gave him a modest lopsided
birthday card.

By and by, Prue bravely showed him a tiny mysterious butter dish. "I want to be a juggler," she muttered
wisely, "and eat baked potatoes every Sunday." "I want to ride elephants," cooed Reggie.

So the day ended well. Reggie took the cookbook home and dreamed of a giant royal birthday card."""


def wrap(text: str) -> str:
    return "\n\n".join(textwrap.fill(paragraph, 110) for paragraph in text.split("\n"))


def digest_stories(world: World, n: int) -> str:
    digest = hashlib.sha256()
    for story in generate(world, n, seed=0):
        digest.update(story.text.encode() + story.roles.tobytes())
        # In thousandths: the last digits of log2 may differ between two machines.
        digest.update(np.rint(story.bits * 1000).astype("<i4").tobytes())
    return digest.hexdigest()


def digest_words_and_plots() -> str:
    material = [dict(default_grammar().rules), fact_values(), names()]
    return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()


def test_the_stories_are_those_of_this_version(world):
    found = {
        "VERSION": VERSION,
        "200 stories": digest_stories(world, 200),
        "words and plots": digest_words_and_plots(),
    }
    assert found == GOLDEN, RENEW + json.dumps(found, indent=4)


def test_two_stories_word_for_word(world):
    first = write(default_grammar(), world, seed=0, index=0)
    assert wrap(first.marked()) == FIRST_STORY, RENEW + wrap(first.marked())
    assert round(float(first.bits.sum()), 2) == 209.56, RENEW + str(first.bits.sum())
    other = write(default_grammar(), World(seed=5, n_characters=20), seed=7, index=10**6)
    assert wrap(other.text) == OTHER_STORY, RENEW + wrap(other.text)
