"""The templates of the stories, in the notation of `grammar`.

A story has an opening, a journey with an object in the hero's hands (`obj`), a first and a second event, perhaps a
third and a fourth, and an ending. Every first event leaves something `found`, which returns later. Slots in the
singular are facts and remembered words; slots in the plural are lists to choose from.
"""

from __future__ import annotations

from functools import cache

from nanokimi.text.storyworld import words
from nanokimi.text.storyworld.grammar import Grammar
from nanokimi.text.storyworld.world import fact_values

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
- [Long|Many years|Some time] ago, {new hero} the {species} lived in {a house} {spot}.
- This is [the|a] story of {new hero}, {a look} {species} who lived {spot}.
- Everyone in the valley [knew|liked|admired|remembered] {new hero}, the {look} {species} of {village}.
- Have you [met|seen|visited] {new hero}? {He} was {a look} {species} from {village}.
- Do you [know|remember] {new hero} the {species}? {He} had {a house} {spot}.
- Listen, and I will tell you about {new hero}, {a look} {species} from {village}.
- My [grandmother|grandfather|aunt|uncle|teacher] [often|sometimes|once] told me about {new hero}, {a look} {species} from
  {village}.

likes:
- {He} loved {food} [more than anything|best of all|above all else].
- {He} always wore {a garment}, [even in summer|rain or shine|made by {elder}].
- {His} favourite colour was {colour}, [of course|and always had been|as everybody knew].
- [Day and night|Every day|Every morning|Most days] {he} was busy {hobby}.
- All day {he} played the {instrument}, [rather badly|very well|too fast|too loudly].
- {Elder} lived there too and made {food} every {weekdays}.
- Nothing made {him} [happier|prouder|merrier] than {hobby}.
- When {he} was not {hobby}, {he} [practised|tuned|polished] the {instrument}.
- [Sundays|Birthdays|Holidays] were for {food} and {game}.
- At school, {teacher} called {him} {a trait} pupil.
- People said that {he} was {verys} {trait}.

secrets:
- {He} was not afraid of anything, except {fear}.
- {He} had [one|a] secret: {he} feared {fear}.
- [More than anything|Above all|Some day], {he} wanted {wish}.
- {His} {treasure} was kept {hiding_place}, wrapped in [paper|silk|wool|moss|straw|cotton|leaves|tinsel].
- {His} best friend was {friend} the {friend.species}.
- Next door lived {neighbour} the {neighbour.species}, who loved {neighbour.food}.
- [A tame|One brave|A small] {pet} followed {him} everywhere.

way:
- One {skies} [morning|day], {hero} [took|borrowed|packed|bought] {a adjs} {things=obj} and {went} to the {places=place}.
- On {a skies} {weekdays}, {hero} {went} to the {olds} {places=place} with {a adjs} {things=obj}.
- Last {weekdays}, {hero} [brought|carried|returned] {a sizes} {adjs} {things=obj} to the {olds} {places=place}.
- "Take the {things=obj}!" called {elder} one {skies} morning, and {hero} {went} to the {places=place}.
- With {a sizes} {adjs} {things=obj}, {hero} {went} to the {olds} {places=place} one {weekdays}.
- One {weekdays} {hero} {went} to the {places=place}, carrying {a sizes} {adjs} {things=obj}.
- {His} friend {friend} needed {a adjs} {things=obj}, so {hero} {went} to the {places=place} with one.

sights:
- {A tempers} {creatures} {dids} {carefullys} {hides}.
- [Somewhere|Nearby|Far away|Close by] {a tempers} {creatures} {dids} {verys} {carefullys}.
- {Numbers} {tints} {flowers} [grew|bloomed|swayed|shone] {hides}.
- The air smelled of {snacks} and {stuffs}.
- Behind {a trees} tree {a tempers} {creatures} {dids} {carefullys}.
- Only {a tempers} {jobs} was about and {dids} {carefullys}.

first:
- There, {hides}, lay {a sizes} {adjs} {finds=found}. "{saying}" {cried} {hero}. "It belongs to {neighbour}." And
  {neighbour} the {neighbour.species} was {verys} {glads} to get it back.
- {new guest} the {guest.species} sat {hides}, looking {verys} {sads}. "I lost my {adjs} {finds=found}," {guest.he}
  {moans} {sadlys}. {hero} {carefullys} looked [everywhere|around] and found it under the {obj}!
- {His} friend {friend} was waiting {hides}. "Race you to the {trees} tree!" {friend.cried} {friend}. {hero} tripped
  over {a adjs} {finds=found}, but {friend} stopped and {carefullys} helped {him} up.
- {A tempers} {creatures=helper} was selling {snacks} and {drinks}. "One {finds=found} for your {obj}!" the {helper} {saids}
  {softlys}. "You may borrow it," {cried} {hero}. The {helper} {dids}.
- Suddenly, [something|somebody] went {bangs}. {hero} thought of {fear}. But it was only {a tempers} {creatures=helper}
  with {a adjs} {finds=found}. "I am {verys} sorry," the {helper} {moans} {sadlys}.
- Oh [dear|no]! The {obj} fell into a [puddle|ditch|hole|pond] with a {bangs}. {A tempers} {creatures=helper}
  {carefullys} pulled it out and found {a adjs} {finds=found} too. "Keep both," the {helper} {saids} {softlys}.
- Somebody had left {a sizes} heap of {stuffs} there. {hero} {carefullys} dug out {a adjs} {finds=found}, even
  [finer|older|lovelier|stranger] than {his} {treasure}. "{saying}" {he} {cried}, {verys} {glads}.
- On {a trees} tree there was a note: "Please bring {a adjs} {finds=found} to {neighbour} next door." {hero} found
  {a sizes} {found} {hides}, {dids} and {carefullys} did so.
- To pass the time, {hero} played the {instrument} for {a tempers} {creatures=helper}. "That was {verys}
  [lovely|loud|splendid|short]," the {helper} {saids} {softlys} and paid with {a sizes} {adjs} {finds=found}.
- {His} neighbour {neighbour} the {neighbour.species} was [painting|dyeing] {a sizes} {adjs} {finds=found} {colour}. "Do you like it?"
  {neighbour} asked {softlys}. "{saying} {Colour} is my favourite!" {cried} {hero}, {verys} {glads}.
- {hero} picked {numbers} {tints} {flowers} for {elder}. Under the last one sat {a tempers} {creatures=helper} with
  {a adjs} {finds=found}. "Please hold it," the {helper} {saids} {softlys}. "Gladly," {cried} {hero}.
- Soon {his} friend {friend} came to play {friend.game}. The prize was {a sizes} {adjs} {finds=found}. {friend}
  {carefullys} won it, {dids} and {saids} {softlys}, "Let us share it."
- "Help!" called {a voices} voice. {A tempers} {creatures=helper} was stuck {hides}. {hero} {carefullys}
  pulled it out. The {helper} {dids} and gave {him} {a sizes} {adjs} {finds=found}.
- The wind blew {a sizes} {adjs} {finds=found} past {his} nose. {hero} ran after it over {numbers} fences, and there stood
  {new guest} the {guest.species}, {verys} {glads}, who had {carefullys} caught it.
- "Hello!" {cried} {hero}. "Hello!" answered {a voices} voice. It was {new guest} the {guest.species}, {hides}, with
  {a adjs} {finds=found}. "Let us be friends," {guest.he} {saids} {verys} {softlys}.
- {Teacher} was there, {verys} [busy|cross|tired]. "Hold this {adjs} {finds=found} while I count the {tints} {flowers}."
  {hero} held the {found} {carefullys} and got {snacks} and {drinks}.
- {hero} told {a tempers} {creatures=helper} how much {he} wanted {wish}. "Then take this {adjs} {finds=found}," the
  {helper} {saids} {softlys}. "It brings [luck|courage|joy]." And the {helper} {dids}.

links:
- Later that day,
- After lunch,
- On the way home,
- Some time later,
- At [two|three|four|five] o'clock,
- In the afternoon,
- Just around the corner,
- By and by,
- Before long,
- After a [short|long|little] [rest|nap|walk],
- When the [wind|rain|noise] [stopped|ended|ceased],

second:
- {hero} came to {his} friend {friend}'s {friend.house} {friend.spot}. {friend} was {carefullys} making {friend.food}.
  "Taste it!" {friend} {saids} {softlys}. "{Verys} good," {cried} {hero}, "with {drinks}."
- {new pal} the {pal.species} came by in {a pal.garment}, {verys} {sads}. "Have you seen my {pal.treasure}?" {pal.he} asked
  {sadlys}. "Look {pal.hiding_place}," {cried} {hero}.
- it began to rain, so {hero} and {a tempers} {creatures=mate} crept {hides}. They shared {snacks} and {drinks}, and the
  {mate} {carefullys} told a story about {a tempers} {jobs}.
- {he} told {his} neighbour {neighbour} the {neighbour.species} about the {found}. {neighbour} {dids}. "I found one {hides},"
  {neighbour.he} {saids} {softlys}, "full of {stuffs}."
- {hero} met {a tempers} {creatures=mate} that wanted to become {a jobs=job}. "But I am {verys} [small|shy|young|slow]," the
  {mate} {moans} {sadlys}. "Even {a job} starts small," {cried} {hero}.
- {elder} needed {numbers} spoons of {stuffs} to mend {a sizes} {adjs} {things}. {hero} fetched them {carefullys} and got
  {food} with {drinks}. "You are {verys} [kind|clever|strong]," {elder} {saids} {softlys}.
- {his} friend {friend} and {his} neighbour {neighbour} were quarrelling about {a adjs} {things}. "Mine!" {friend.cried}
  {friend}. "No, mine!" {neighbour.cried} {neighbour}. "Take turns," {hero} {saids} {softlys}, and they {dids}.
- the {obj} [broke|burst|vanished|cracked]. {hero} was {verys} {sads}. But {neighbour} the {neighbour.species}
  {carefullys} made a new one out of {stuffs} and {a adjs} {things}. "Good as gold," {neighbour} {saids} {softlys}.
- {a jobs=job} rode by on {a tempers} {creatures} and asked the way to the {olds} {places}. "Left at the {trees}
  tree," {hero} {saids} {softlys}. The {job} {dids} and {carefullys} rode on.
- {hero} thought of {fear} and felt {verys} {sads}. "I am afraid of {friend.fear}," {his} friend {friend} {moans} {sadlys}.
  {friend} {carefullys} held {his} {paw}, and both felt {glads}.
- {his} pet {pet} got away and vanished {hides}. "Come back!" {cried} {hero}, {verys} {sads}. {A tempers} {creatures}
  {carefullys} brought the {pet} home on {a adjs} {things}.
- {his} friend {friend} played the {friend.instrument} and {hero} the {instrument}. It sounded like {a adjs} {things} going
  {bangs}. "Bravo!" {saids} {a tempers} {creatures} {softlys}, {hides}.
- {neighbour} next door had a party. There was {neighbour.food}, and {hero} gave {neighbour} {a adjs} {things}
  full of {flowers}. "How {verys} [kind|pretty|funny]," {neighbour} {saids} {softlys}.
- {his} friend {friend} [tried|began] to build a boat out of {stuffs} and {a adjs} {things}. It went {bangs} and
  {carefullys} sank. "Next time we will use {stuffs}," {friend} {saids} {softlys}, wet but {glads}.
- somebody with {a voices} voice asked a riddle: "What is {verys} {adjs} and goes {bangs}?" {hero} {dids}. "{A tempers}
  {creatures} with {a sizes} {things}?" "Right!" {saids} {new pal} the {pal.species} {softlys}.
- {new pal} {carefullys} showed {him} {a sizes} {adjs} {things}. "I want to be {a jobs}," {pal.he} {saids} {softlys}, "and
  eat {pal.food} every {weekdays}." "I want {wish}," {cried} {hero}.

third:
- Then {a tempers} {creatures=mate} asked for {snacks}. {hero} shared {carefullys}, and the {mate} {dids}.
- Then {he} {carefullys} picked {numbers} {tints} {flowers} for {elder}, tied with [string|ribbon|straw|grass|wool|raffia|lace|twine].
- Next came {new visitor} the {visitor.species} with {snacks} and {drinks}. "Have some," {visitor.he} {saids} {softlys}.
- {A tempers} {jobs} {dids} {carefullys} and gave {hero} {snacks} in {a adjs} napkin.
- Suddenly the air smelled of {friend.food}. "{friend} is cooking," {hero} {saids} {softlys} and {dids}.
- Beneath {a trees} tree {he} napped and dreamed of {a tempers} {jobs} in {a garment}.
- Outside the school, {teacher} asked, "How much is {numbers} times {numbers}?" "{Adjs}!" {hero} {saids} {softlys}.
- {His} neighbour {neighbour} opened a window. "Let us play {neighbour.game} on {weekdays}," {neighbour.he} {saids} {softlys}.
- There stood {new visitor} the {visitor.species}, {carefullys} selling {snacks} and {drinks} out of {a things}.
- For a while {he} sat {hides} and watched {a tempers} {creatures} {carefullys} carry {stuffs}.
- On {a adjs} bench {new visitor} the {visitor.species} played the {visitor.instrument}. {hero} felt {verys} {glads}.

fourth:
- {Elder} had prepared {snacks} and {drinks}. "Eat up," {elder} {saids} {softlys}.
- Back in the {house}, {a tempers} {creatures} sat next to the {treasure} {hiding_place}.
- Towards evening {he} played the {instrument}. {A tempers} {creatures} {dids} {verys} {carefullys}.
- Over the hill came {new caller} the {caller.species} with {caller.food} and {drinks}, {verys} {glads}.
- When evening came, {hero} and {his} friend {friend} sat {hides} and talked about {friend.hobby}.
- Somewhere, somebody sang about {a adjs} {things} and {a tempers} {creatures}. {hero} {dids}.
- {Elder} asked, "Where were you?" "At the {place}, with {a tempers} {creatures}," {cried} {hero}.
- {His} friend {friend} pointed at a cloud. "{A tempers} {creatures} with {a things}!" {friend.he} {saids}.
- Before supper, {he} {carefullys} swept up {stuffs} that {a tempers} {creatures} had dropped.

ending:
- That night, {hero} put the {obj} beside the bed and dreamed of {a adjs} {found} that {dids}.
- At bedtime, {hero} told {elder} about the {obj} and the {found}, {dids} and fell asleep.
- Under the {skythings}, {hero} carried the {obj} home. "Good night, friend {friend}!" {he} {saids} {softlys}.
- In the end, {hero} wrote in {a adjs} diary, "I was {verys} {glads}. Remember the {found}!"
- So the day ended well. {hero} took the {obj} home and dreamed of {a sizes} {adjs} {found}.
- Tired but {verys} {glads}, {hero} took the {obj} home. If you find the {place}, look {hides}.
- Last of all, {hero} hid the {obj} {hiding_place}. "Good night, {found}," {he} {saids} {softlys}.
- From that day on, whenever {hero} saw {a adjs} {found}, {he} {dids} and felt {verys} {glads}.
- Everybody was {verys} {glads}, most of all {hero} with the {adjs} {found} and the {obj}.
- "What a day!" {cried} {hero}, put down the {obj}, ate {food} and dreamed of the {adjs} {found}.
"""


def read_rules(source: str) -> dict[str, list[str]]:
    """The alternatives under each name, from `name:` lines and `- alternative` lines; an indented line continues."""
    found: dict[str, list[str]] = {}
    alternatives: list[str] = []
    for line in source.splitlines():
        if line.startswith("- "):
            alternatives.append(line[2:])
        elif line.startswith("  "):
            alternatives[-1] += " " + line.strip()
        elif line.endswith(":"):
            alternatives = found[line[:-1]] = []
        elif line:
            raise ValueError(f"cannot read the line {line!r}: expected `name:`, `- text` or an indented line")
    return found


@cache
def default_grammar() -> Grammar:
    """The grammar of all stories, compiled (0.1 s)."""
    lists = {name: words.entries(source) for name, source in words.LISTS.items()}
    return Grammar(lists | read_rules(SOURCE), fact_values())
