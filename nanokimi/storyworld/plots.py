"""The templates of the stories, in the notation of `grammar`.

A story is an opening, a way somewhere with a thing carried along (`obj`), a first and a second event, perhaps
a third and a fourth, and an ending. Every first event leaves something that it `found`, to return later.
Slots in the singular are facts and remembered words, slots in the plural are lists to choose from.
"""

from __future__ import annotations

from functools import cache

from nanokimi.storyworld import words
from nanokimi.storyworld.grammar import Grammar
from nanokimi.storyworld.world import fact_values

SOURCE = """
story:
- {opening} {likes} {secrets}{newline}{way} {sights} {first}{newline}{links} {second}{newline}{rest}

rest:
- {ending}
- {third}{newline}{remainder}

remainder:
- {ending}
- {fourth}{newline}{ending}

hides:
- {behinds} {a spots}

opening:
- Once upon a time, {new hero} the {look} {species} lived in {a house} {spot}.
- Long ago, when [wishes came true|kings were young|winters were white|time ran slower], {new hero} the {species} lived
  in {a house} {spot}.
- This is [the|a] story of {new hero}, {a look} {species} who lived in {a house} {spot}.
- Everyone in the valley [knew|liked|admired|remembered] {new hero}, the {look} {species} of {village}.
- Have you [met|seen|visited] {new hero}? {He} was {a look} {species} and lived in {a house} {spot}.
- Do you [know|remember] {new hero} the {species}? {He} had {a house} {spot}.
- Listen, and I will tell you about {new hero}, {a look} {species} from {village}.
- My [grandmother|grandfather|aunt|uncle|teacher] [often|sometimes|once] told me about {new hero}, {a look} {species} from
  {village}.

likes:
- {He} loved {food} [more than anything|best of all|with all {his} heart|above all else].
- {He} always wore {a garment}, [even in summer|rain or shine|made by {elder}].
- {His} favourite colour was {colour}, [of course|and always had been|as everybody knew].
- [Day and night|Every day|Every morning|Most days] {he} was busy {hobby}.
- All day long {he} played the {instrument}, [rather badly|very well|with closed eyes|too loud].
- {Elder} lived there too and made {food} every {weekdays}.
- Nothing made {him} [happier|prouder|merrier] than {hobby}.
- When {he} was not {hobby}, {he} [practised|tuned|dusted|polished] the {instrument}.
- [Sundays|Birthdays|Holidays] were for {food} and {game}.
- At school, {teacher} called {him} {a trait} pupil.
- People said that {he} was {verys} {trait}.

secrets:
- {He} was not afraid of anything, except {fear}.
- But {he} had [one|a] secret: {he} was afraid of {fear}.
- [More than anything|Above all|Some day], {he} wanted {wish}.
- {His} {treasure} was kept {hiding_place}[, safe from thieves|, wrapped in {stuffs}].
- {His} best friend was {friend} the {friend.species}.
- Next door lived {neighbour} the {neighbour.species}, who loved {neighbour.food}.
- [A|Only a] pet {pet} lived with {him}.

way:
- One {skies} [morning|day], {hero} [packed|took|borrowed|found] {a sizes} {adjs} {things=obj} and {went} to the
  {olds} {places=place}.
- On {a skies} {weekdays}, {hero} {went} to the {olds} {places=place} with {a sizes} {adjs} {things=obj}.
- Last {weekdays}, {hero} had to [bring|carry|return|deliver] {a sizes} {adjs} {things=obj} to the {olds} {places=place}.
- "Do not forget the {things=obj}!" called {elder} one {skies} morning, and {hero} {went} to the {places=place}.
- With {a sizes} {adjs} {things=obj}, {hero} {went} to the {olds} {places=place} one {skies} [morning|day].
- It was {a skies} {weekdays} when {hero} {went} to the {places=place}, carrying {a sizes} {adjs} {things=obj}.
- {Friend} had lent {him} {a adjs} {things=obj}, and so {hero} {went} to the {places=place} to try it.

sights:
- {A tempers} {creatures} {dids} {verys} {carefullys} {hides}.
- [Somewhere|Nearby|Far away|Close by] {a tempers} {creatures} {dids} {verys} {carefullys}.
- {Numbers} {tints} {flowers} [grew|bloomed|swayed|shone] {hides}.
- The air smelled of {snacks} and {stuffs}.
- Behind {a sizes} {trees} tree {a tempers} {creatures} {dids} {carefullys}.
- [Almost nobody|Only {a jobs}] had come, because {a jobs} was getting [married|famous].

first:
- There, {hides}, lay {a sizes} {adjs} {finds=found}. "{saying}" {cried} {hero}. "It belongs to {neighbour}." {He}
  {carefullys} took it to {neighbour} the {neighbour.species}, who was {verys} {glads}.
- {new guest} the {guest.species} sat {hides}, looking {verys} {sads}. "I lost my {adjs} {finds=found}," {guest.he}
  {saids} {softlys}. {hero} {carefullys} looked [everywhere|around|up and down] and found it under the {obj}!
- {His} friend {friend} was waiting {hides}. "Race you to the {trees} tree!" {friend.cried} {friend}. {hero} tripped
  over {a adjs} {finds=found}, but {friend} stopped and {verys} {carefullys} helped {him} up.
- {A tempers} {creatures=helper} was selling {snacks} and {drinks}. "One {finds=found} for your {obj}!" it {saids}
  {softlys}. "No," said {hero}, "but you may borrow it." The {helper} {dids} {carefullys}.
- Suddenly, [something|somebody] went {bangs}. {hero} thought of {fear} and held the {obj} tight. But it was only
  {a tempers} {creatures=helper} with {a adjs} {finds=found}. "I am {verys} sorry," it {saids} {softlys}.
- Oh [dear|no]! The {obj} fell into a [puddle|ditch|hole|pond] with a {bangs}. {A tempers} {creatures=helper}
  {carefullys} pulled it out and found {a adjs} {finds=found} too. "Keep both," it {saids} {verys} {softlys}.
- Somebody had left {a sizes} heap of {stuffs} there. {hero} {verys} {carefullys} dug out {a adjs} {finds=found}, even
  [finer|older|lovelier|stranger] than {his} {treasure}. "{saying}" {he} {cried}.
- On {a trees} tree there was a note: "Please bring {a sizes} {adjs} {finds=found} to {neighbour} before
  {weekdays}." {hero} found one {hides}, {dids} and {carefullys} did so.
- Nobody was about, so {hero} played the {instrument} for {a tempers} {creatures=helper}. "That was {verys}
  [lovely|loud|splendid|short]," it {saids} {softlys} and paid with {a sizes} {adjs} {finds=found}.
- {Neighbour} the {neighbour.species} was [painting|dyeing] {a sizes} {adjs} {finds=found} {colour}. "Do you like it?"
  {neighbour} asked {softlys}. "{saying} {Colour} is my favourite!" said {hero}, {verys} {glads}.
- {hero} picked {numbers} {tints} {flowers} for {elder}. Under the last one sat {a tempers} {creatures=helper} with
  {a adjs} {finds=found}. "Please hold this," it {saids} {verys} {softlys}. "Gladly," said {hero}.
- Soon {his} friend {friend} came to play {friend.game}. The prize was {a sizes} {adjs} {finds=found}. {friend}
  {carefullys} won it, {dids} and {saids} {verys} {softlys}, "Let us share it."
- "Help!" called {a voices} voice. {A tempers} {creatures=helper} was stuck {hides}. {hero} {carefullys}
  pulled it out. The {helper} {dids} {verys} {softlys} and gave {him} {a sizes} {adjs} {finds=found}.
- The wind blew {a sizes} {adjs} {finds=found} past {his} nose. {hero} ran after it over {numbers} fences, and there stood
  {new guest} the {guest.species}, {verys} {glads}, who had {carefullys} caught it.
- "Hello!" {cried} {hero}. "Hello!" answered {a voices} voice. It was {new guest} the {guest.species}, {hides}, with
  {a sizes} {adjs} {finds=found}. "Let us be friends," {guest.he} {saids} {verys} {softlys}.
- {Teacher} was there, {verys} [busy|cross|tired]. "Hold this {adjs} {finds=found} while I count the {tints} {flowers}."
  {hero} held it {verys} {carefullys} and got {snacks} and {drinks}.
- {hero} told {a tempers} {creatures=helper} how much {he} wanted {wish}. "Then take this {adjs} {finds=found}," it {saids}
  {softlys}. "It brings [luck|courage|joy]." And it {dids} {verys} {carefullys}.

links:
- Later that day,
- After lunch,
- On the way home,
- Some time later,
- When the clock struck [two|three|four|five],
- In the afternoon,
- Just around the corner,
- By and by,
- Before long,
- After a [short|long|little] [rest|nap|walk],
- As soon as the [wind|noise|dust] dropped,

second:
- {hero} came to {friend}'s {friend.house} {friend.spot}. {friend} was {carefullys} making {friend.food}. "Taste it!"
  {friend} {saids} {softlys}. "{Verys} good," said {hero}, "with {snacks} and {drinks}."
- {new pal} the {pal.species} came with {a adjs} {things}. "Have you seen my {pal.treasure}?" {pal.he} asked {softlys}.
  "You always keep it {pal.hiding_place}," said {hero} and {verys} {carefullys} found it.
- it began to rain, so {hero} and {a tempers} {creatures=mate} crept {hides}. They shared {snacks} and {drinks}, and the
  {mate} {carefullys} told a story about {a tempers} {jobs} who lost {a adjs} {things}.
- {he} told {neighbour} the {neighbour.species} about the {found}. {neighbour} {dids} {carefullys}. "I found one {hides},"
  {neighbour.he} {saids} {verys} {softlys}, "but it was full of {stuffs} and {snacks}."
- {hero} met {a tempers} {creatures=mate} that wanted to become {a jobs=job}. "But I am {verys} [small|shy|young|slow]," it
  {saids} {softlys}. "Even {a job} starts small," said {hero}. The {mate} {dids} {carefullys}.
- {elder} needed {numbers} spoons of {stuffs} to mend {a sizes} {adjs} {things}. {hero} fetched them {carefullys} and got
  {food} with {drinks}. "You are {verys} [kind|clever|strong]," {elder} {saids} {softlys}.
- {friend} and {neighbour} were quarrelling about {a sizes} {adjs} {things} full of {snacks}. "Mine!" {friend.cried}
  {friend}. "No, mine!" {neighbour.cried} {neighbour}. "Take turns," {hero} {saids} {verys} {softlys}, and they {dids}.
- the {obj} [broke|burst|vanished|cracked]. {hero} was {verys} {sads}. But {neighbour} the {neighbour.species}
  {carefullys} made a new one out of {stuffs} and {a adjs} {things}. "Good as gold," {neighbour} {saids} {softlys}.
- {a tempers} {jobs=job} rode by on {a tempers} {creatures} and asked the way to the {olds} {places}. "Left at the {trees}
  tree," {hero} {saids} {verys} {softlys}. The {job} {dids} and {carefullys} rode on.
- {hero} thought of {fear} and was {verys} {sads}. "I am afraid of {friend.fear}," {friend} {saids} {softlys}. {friend}
  {carefullys} held {his} {paw} and gave {him} {snacks} and {drinks}, and both felt {glads}.
- {his} pet {pet} got away and vanished {hides}. "Come back!" {cried} {hero}, {verys} {sads}. {A tempers} {creatures=mate}
  {carefullys} brought it home on {a sizes} {adjs} {things} and {dids}.
- {friend} played the {friend.instrument} and {hero} the {instrument}. It sounded like {a sizes} {adjs} {things} going
  {bangs}. "Bravo!" {saids} {a tempers} {creatures} {verys} {softlys}, {hides}.
- {neighbour} had a party. There was {neighbour.food} and {drinks}, and {hero} gave {neighbour} {a sizes} {adjs} {things}
  full of {tints} {flowers}. "How {verys} [kind|pretty|funny]," {neighbour} {saids} {softlys}, {glads}.
- {friend} [tried|began] to build a boat out of {stuffs} and {a sizes} {adjs} {things}. It went {bangs} and {carefullys}
  sank. "Next time we will use {stuffs}," {friend} {saids} {verys} {softlys}, wet but {glads}.
- somebody with {a voices} voice asked a riddle: "What is {verys} {adjs} and goes {bangs}?" {hero} {dids}. "{A tempers}
  {creatures} with {a sizes} {things}?" "Quite right!" said {new pal} the {pal.species} {softlys}.
- {new pal} {carefullys} showed {him} {a sizes} {adjs} {things}. "I want to be {a jobs}," {pal.he} {saids} {softlys}, "and
  eat {pal.food} every {weekdays}." "I only want {wish}," said {hero}.

third:
- Then {a tempers} {creatures=mate} asked for {snacks}. {hero} shared {carefullys}, and the {mate} {dids}.
- Then {he} picked {numbers} {tints} {flowers} for {elder}, tied with {stuffs}.
- Next came {new visitor} the {visitor.species} with {snacks} and {drinks}. "Eat," {visitor.he} {saids} {verys} {softlys}.
- A {tempers} {jobs} {dids} {carefullys} and gave {hero} {snacks} in {a adjs} napkin.
- Suddenly the air smelled of {friend.food}. "{friend} is cooking," {hero} {saids} {verys} {softlys} and {dids}.
- Beneath {a trees} tree {he} napped and dreamed of {a tempers} {jobs} in {a garment}.
- Outside the school, {teacher} asked, "How much is {numbers} times {numbers}?" "{Adjs}!" {hero} {saids} {softlys}.
- {neighbour} opened a window. "Let us play {neighbour.game} on {weekdays}," {neighbour.he} {saids} {verys} {softlys}.
- Somebody sold {snacks} and {drinks}. It was {new visitor} the {visitor.species}, who {dids} {carefullys}.
- For a while {he} sat {hides} and watched {a tempers} {creatures} {carefullys} carry {stuffs}.
- On {a sizes} {adjs} bench {new visitor} the {visitor.species} played the {visitor.instrument}. {hero} felt {verys} {glads}.

fourth:
- Back home, {elder} had prepared {snacks} and {drinks}. "Eat up," {elder} {saids} {softlys}.
- Before supper, {hero} found {a tempers} {creatures} next to the {treasure} {hiding_place}.
- Towards evening {he} played the {instrument}. {A tempers} {creatures} {dids} {verys} {carefullys}.
- Over the hill came {new caller} the {caller.species} with {caller.food} and {drinks}, {verys} {glads}.
- When evening came, {hero} and {friend} sat on {a sizes} {adjs} wall and talked about {friend.hobby}.
- Somewhere, somebody sang about {a adjs} {things} and {a tempers} {creatures}. {hero} {dids}.
- {Elder} asked, "Where were you?" "At the {place}," {hero} {saids} {softlys}, "with {a tempers} {creatures}."
- {friend} pointed at {a adjs} cloud. "{A tempers} {creatures} with {a things}!" {friend.he} {saids} {softlys}.
- Supper was ready, but first {he} {carefullys} swept up {stuffs} that {a tempers} {creatures} had dropped.

ending:
- That night, {hero} put the {obj} beside the bed and dreamed of {a adjs} {found} that {dids}.
- At bedtime, {hero} told {elder} about the {obj} and the {found}, {dids} and fell asleep, {verys} {glads}.
- Under the {skythings}, {hero} {carefullys} carried the {obj} home. "Good night, {friend}!" {he} {saids} {softlys}.
- In the end, {hero} wrote in {a adjs} diary, "I was {verys} {glads}. Remember the {found}!"
- So the day ended well. {hero} took the {obj} home and dreamed of {a sizes} {adjs} {found}.
- Tired but {verys} {glads}, {hero} took the {obj} home. If you go to the {place}, look {hides}.
- Last of all, {hero} {carefullys} hid the {obj} {hiding_place}. "Good night, {found}," {he} {saids} {softlys}.
- From that day on, whenever {hero} saw {a adjs} {found}, {he} {dids} and felt {verys} {glads}.
- Everybody was {verys} {glads}, most of all {hero}, who slept with the {obj} next to {his} pillow.
- "What a day!" {cried} {hero} and put down the {obj}. {He} ate {food} and dreamed of the {adjs} {found}.
"""


def rules(source: str) -> dict[str, list[str]]:
    """Read `name:` lines and the `- alternative` lines below them; an indented line goes on with the last one."""
    found: dict[str, list[str]] = {}
    for line in source.splitlines():
        if line.startswith("- "):
            alternatives.append(line[2:])
        elif line.startswith("  "):
            alternatives[-1] += " " + line.strip()
        elif line.endswith(":"):
            found[line[:-1]] = alternatives = []
        elif line:
            raise ValueError(f"cannot read the line {line!r}: expected `name:`, `- text` or an indented line")
    return found


@cache
def default_grammar() -> Grammar:
    """The grammar of all stories, compiled (0.1 s)."""
    lists = {name: words.entries(source) for name, source in words.LISTS.items()}
    return Grammar(lists | rules(SOURCE), fact_values())
