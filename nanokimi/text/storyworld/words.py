"""The words of the storyworld: the values of facts, and the lists that stories choose from.

Commas separate the entries. FACTS are the values of lasting facts. LISTS are rules of the grammar: each use draws
one word or phrase anew. A list holds no entry twice.
"""

# Each species with its way to move, its way to speak and what it waves with.
SPECIES = """
fox trotted barked paw, rabbit hopped squeaked paw, hedgehog shuffled snuffled paw, mouse scurried squeaked paw,
bear lumbered growled paw, badger plodded grunted paw, otter slid chirped paw, squirrel scampered chattered paw,
mole shuffled mumbled paw, cat crept purred paw, puppy bounced yapped paw, pig trotted snorted trotter,
goat skipped bleated hoof, lamb skipped bleated hoof, pony galloped neighed hoof, hen strutted clucked wing,
goose waddled honked wing, duck waddled quacked wing, owl glided hooted wing, robin fluttered chirped wing,
frog hopped croaked foot, toad crawled croaked foot, tortoise crept mumbled foot, beaver paddled grunted paw,
raccoon sneaked chattered paw, panda rolled hummed paw, koala climbed yawned paw, monkey swung chattered hand,
lion strode roared paw, hamster scurried squeaked paw, hare bounded called paw, donkey plodded brayed hoof,
calf wobbled mooed hoof, fawn tiptoed whispered hoof, dormouse crept yawned paw, ferret wriggled chirped paw,
chipmunk darted chattered paw, wombat waddled grunted paw, kangaroo bounced called paw, sparrow fluttered cheeped wing,
crow flapped cawed wing, magpie glided cackled wing, wolf loped howled paw, lizard darted hissed foot,
penguin waddled honked flipper, seal flopped barked flipper, pigeon fluttered cooed wing, stork stalked clattered wing
"""

FACTS = {
    "look": """
small, big, round, tall, tiny, plump, thin, fluffy, spotted, freckled, stripy, woolly, shaggy, sleek, rosy, silvery,
sandy, dusty, ginger, snowy, chubby, long-legged, bright-eyed, curly, sturdy, dainty, velvety, speckled, bow-legged,
scruffy, glossy, short-sighted""",
    "trait": """
brave, shy, cheerful, clever, gentle, curious, patient, sleepy, noisy, tidy, forgetful, polite, stubborn, dreamy,
generous, careful, playful, honest, restless, thoughtful, bold, merry, quiet, clumsy, hopeful, fussy, kind-hearted,
talkative, serious, daring, bashful, lively""",
    "house": """
snug burrow, round cottage, tree house, stone hut, crooked tower, log cabin, hollow stump, old windmill, cosy cave,
painted caravan, mossy den, brick house, dusty attic, straw hut, blue houseboat, warm barn, sunny farmhouse,
white lighthouse, yellow tent, upturned boat, giant teapot, dry pumpkin, railway carriage, garden shed, greenhouse,
leather boot, clay oven, toadstool, clock tower, wicker basket, bamboo house, water mill""",
    "spot": """
by the mill pond, under the old oak, above the hill, behind the bakery, beside the brook, near the bridge,
behind the wood, between two birches, near the school, below the waterfall, behind the orchard, across the meadow,
in Thimble Lane, by the seashore, under the holly, beside the railway, near the well, behind a hayfield,
below the mountain, behind the church, along the canal, beside the vineyard, above the toyshop, by the green,
beyond the hedge, among sand dunes, under the willows, near the ferry, in Button Street, beside the blacksmith,
over the shop, amid the heather""",
    "food": """
blackberry pie, buttered toast, carrot soup, honey cakes, pumpkin bread, mushroom stew, apple dumplings,
cheese sandwiches, strawberry jam, hot porridge, roasted chestnuts, pancakes, lemon tart, pea soup, cherry pudding,
baked potatoes, cinnamon rolls, plum jelly, vanilla custard, hazelnut butter, tomato salad, popcorn, gingerbread,
peach yoghurt, onion rings, banana waffles, raisin buns, noodle soup, turnip mash, cucumber slices, almond biscuits,
maple fudge, radish salad, rhubarb crumble, spinach dumplings, coconut ice, walnut loaf, raspberry sorbet,
beetroot crisps, barley broth, melon balls, garlic bread, leek pie, rice pudding, pear cake, lentil curry,
oat crackers, toffee apples""",
    "fear": """
thunder, the dark, deep water, high ladders, loud drums, spiders, north winds, getting lost, sneezing, big dogs,
shadows, creaking doors, empty rooms, lightning, steep stairs, nettles, long tunnels, fog, falling leaves,
strange hats, being late, forests, squeaky floors, fast trains, barrels, slippery ice, high bridges, sudden bangs,
crowds, wobbly chairs, geese, ghost stories, hooting, cold baths, narrow paths, wasps, scarecrows, heavy rain,
big waves, mirrors, foghorns, dark cellars""",
    "treasure": """
silver whistle, glass marble, brass button, pink seashell, wooden horse, peacock feather, gold thimble, music box,
pocket watch, lucky penny, painted fan, crystal bead, pirate map, amber necklace, tin soldier, ivory comb,
velvet ribbon, magic lamp, china cup, fossil snail, copper bracelet, snow globe, spinning top, ruby brooch,
paper dragon, postage stamp, meteor, bone flute, clockwork bird, silk glove, pearl earring, jade frog, spyglass,
carved walnut, family portrait, bronze medal, puzzle box, tin crown, toy submarine, sapphire pin, cuckoo clock,
rag doll, storybook, moonstone, birthday candle, rusty key, tiny globe, opal ring""",
    "hiding_place": """
under the bed, behind the stove, in the oven, in a drawer, inside a sock, under the floor, in the larder,
behind the curtain, in a flowerpot, under the doormat, inside the piano, in a hatbox, up the chimney, behind the bath,
in the attic, under the pillow, in the churn, behind a painting, among the firewood, inside the sofa, in the sugar,
beneath the stairs, in the cellar, behind the clock""",
    "colour": """
red, blue, green, yellow, purple, orange, pink, violet, turquoise, scarlet, lilac, crimson, lavender, emerald,
peach pink, sky blue, chestnut brown, silver grey, midnight blue, mint green""",
    "hobby": """
painting pictures, flying kites, baking bread, collecting stones, skipping rope, building dams, telling jokes,
pressing flowers, watching clouds, knitting socks, carving sticks, catching raindrops, reading poems, juggling pears,
planting seeds, doing cartwheels, polishing spoons, drawing maps, feeding pigeons, singing rounds, folding paper,
counting ladybirds, sailing paper boats, climbing fences, solving riddles, stacking pebbles, blowing bubbles,
writing letters, whittling whistles, mending clocks, making puppets, rolling downhill, weaving baskets, playing chess,
studying beetles, dancing jigs, growing sunflowers, sorting buttons, walking on stilts, sketching birds""",
    "wish": """
to sail far away, to fly a balloon, to learn juggling, to see the sea, to meet a dragon, to bake wedding cakes,
to grow melons, to win a race, to write books, to touch a cloud, to build a fort, to drive a train, to play drums,
to find gold, to learn magic, to dance on stage, to open a shop, to climb mountains, to keep bees, to paint rainbows,
to visit the moon, to hear an echo, to ride elephants, to become a baker, to invent machines, to swim well,
to discover islands, to be captain, to join a circus, to stay up late, to plant forests, to be invisible""",
    "garment": """
yellow scarf, straw hat, tartan waistcoat, woollen shawl, bow tie, leather belt, corduroy jacket, flowery apron,
knitted jumper, raincoat, velvet cap, sailor collar, silver monocle, denim overall, feathered bonnet, patchwork cloak,
paper ruff, striped pullover, linen smock, top hat, checked shirt, silk sash, bobble hat, turban, fur muff, bathrobe,
daisy chain, hooded cape, lace dress, kilt, poncho, blue tunic""",
    "instrument": """
flute, fiddle, banjo, tin drum, harp, recorder, trumpet, accordion, tambourine, mouth organ, guitar, xylophone,
triangle, cello, bagpipes, bugle, piano, ukulele, clarinet, cowbell, tuba, lute, mandolin, oboe""",
    "game": """
skittles, leapfrog, marbles, hopscotch, catch, peekaboo, dominoes, tag, snap, tiddlywinks, football, conkers, hoopla,
statues, draughts, chess, darts, ludo, charades, rounders""",
    "pet": """
snail, cricket, caterpillar, goldfish, tadpole, earthworm, woodlouse, stick insect, grasshopper, moth, water beetle,
glow-worm, ant, dragonfly, newt, centipede, firefly, mayfly, crab, canary""",
    "saying": """
Jumping jellybeans!, Oh my buttons!, Goodness gracious!, Well I never!, Great galoshes!, Heavens above!, Crumbs!,
Leaping lizards!, My stars!, Fiddlesticks!, Butter and beans!, Bless my whiskers!, Holy macaroni!, Snakes and ladders!,
Thundering turnips!, Gosh and golly!, Suffering sardines!, Wobbling puddings!, Hooray!, Upon my word!,
Blistering barnacles!, Mercy me!, Sugar and spice!, Tickle my toes!, Rattling teacups!, Yippee!, Dancing daffodils!,
Crackling crumpets!, Pickles and plums!, Dear oh dear!, Bouncing bumblebees!, Flying flapjacks!, By the moon!,
Rhubarb and custard!, Sizzling sausages!, Hot potatoes!, Woolly mammoths!, Galloping gooseberries!, Zip and zoom!,
Bubble and squeak!""",
    "elder": """
Grandma Clover, Uncle Moss, Aunt Juniper, Grandpa Thistle, Mother Fern, Father Birch, Granny Plum, Aunt Marigold,
Uncle Bramble, Grandpa Oats, Aunt Lavender, Mother Heather, Father Sorrel, Granny Nettle, Uncle Barley, Aunt Primrose,
Grandma Sage, Grandpa Burdock, Mother Myrtle, Father Linden, Aunt Saffron, Uncle Rowan, Granny Thyme, Grandpa Rye,
Mother Lilac, Father Alder, Aunt Poppyseed, Uncle Reed, Grandma Dill, Grandpa Cedar, Aunt Tansy, Granny Yarrow""",
    "teacher": """
Mr Pepper, Mrs Teasel, Miss Dumpling, Doctor Bolt, Professor Ink, Captain Salt, Mr Candlewick, Mrs Kettle, Miss Trim,
Mr Gravel, Mrs Biscuit, Miss Chalk, Doctor Plaster, Professor Comet, Captain Anchor, Mr Trowel""",
}

LISTS = {
    "sizes": """
small, big, tiny, huge, heavy, light, little, large, enormous, giant, gigantic, miniature, massive, modest,
medium-sized, pocket-sized""",
    "adjs": """
shiny, wooden, bright, soft, crooked, pretty, plain, smooth, sparkling, rusty, polished, ancient, ordinary, beautiful,
strange, mysterious, lovely, faded, colourful, patched, magnificent, battered, sticky, neat, fancy, elegant, peculiar,
simple, splendid, dented, gleaming, muddy, borrowed, brand-new, second-hand, handmade, well-loved, scratched, foreign,
wonderful, funny, worn-out, quaint, humble, handsome, extraordinary, grubby, spotless, wobbly, sweet-smelling, unusual,
creaky, delicate, royal, silver, golden, painted, striped, spotted, dusty, old, new, cheap, precious, useful,
useless, clean, dirty, warm, cold, rough, spiky, homemade,
expensive, magic, mended, tattered, squeaky, glittering, yellow, green, blue, purple, pink, orange, white,
black, brown, grey, scarlet, checked, flowery, starry, cherished,
modern, hollow, stylish, framed, frosted, glossy, secret, lacy, lopsided, curly, pointed, rounded,
rare""",
    "things": """
basket, lantern, rope, bucket, umbrella, drumstick, blanket, spoon, jam jar, telescope, compass, notebook, ball, bell,
candle, broom, fishing net, wheelbarrow, toy boat, paper crown, teapot, mirror, magnet, hammer, paintbrush, cushion,
saucepan, kite, suitcase, parcel, picture frame, hourglass, rolling pin, watering can, bottle, sack, hoop, yo-yo, sledge,
feather duster, sieve, ladle, pillow, flag, megaphone, magnifying glass, walking stick, lunch box, thermos, bicycle pump,
deck chair, tennis racket, cricket bat, beach ball, hairbrush, trowel, rake, torch, abacus, cookbook, birdcage, ruler,
satchel, skateboard, scooter, pencil case, piggy bank, butter dish, soap dish, clothes peg, egg timer, kettle,
pepper mill, nutcracker, corkscrew, sponge, towel, handkerchief, hot-water bottle, alarm clock, horseshoe, weathervane,
doorbell, garden gnome, bird feeder, tape measure, toolbox, pincushion, inkwell, quill, calendar, scrapbook, vase,
napkin, tray, colander, hammock, pocketknife, rucksack, saddle, screwdriver, mousetrap, doorstop, chessboard,
typewriter, barometer, camera, rocking chair, footstool, lampshade, coat hanger, bathtub, whisk, toaster, stepladder,
flowerpot, tent peg, paddle, lifebelt, wagon wheel, gong, gramophone, teacup, milk jug, sewing box, bookcase, mattress,
tablecloth""",
    "finds": """
feather, key, coin, button, acorn, shell, pebble, letter, hat, glove, ribbon, bead, pencil, postcard, whistle, marble,
thimble, photograph, ticket, purse, scarf, teaspoon, locket, badge, needle, pine cone, playing card, sock,
lollipop, mushroom, bracelet, wand, crystal, arrow, puppet, bookmark, cork, map, thermometer, kazoo, fan, domino, dice cup,
chess piece, fishhook, paper plane, candlestick, door handle, duck egg, music sheet, pinwheel, walnut shell, medal,
seed packet, toy train, teddy, snowshoe, brooch, tassel, bow, treasure chest, pirate flag,
birthday card, toothbrush, honey pot, matchbox, lace collar, patchwork quilt, clay pipe, stamp, shoelace,
jumping bean, chestnut, star map, sugar lump, safety pin, paper lantern, wishbone, mitten, zip, buckle, wig, moustache comb,
tea cosy, egg cup, jigsaw piece, snow shovel, model ship, puzzle, tuning fork, stopwatch, diary, recipe, riddle book,
sundial, seashell necklace, tulip bulb""",
    "places": """
market, river, hill, beach, library, meadow, harbour, cornfield, station, pond, playground, forest, toyshop, castle,
wood, mountain, museum, fairground, bandstand, garden, quarry, blacksmith, boathouse, farm, picnic field, cliff path,
bakery, bus stop, orchard, skating rink, post office, town hall, strawberry field, vineyard, canal, rock pool,
sheepfold, barn, crossroads, marsh, bell tower, fountain, waterfall, dairy, sawmill, observatory, theatre, ferry,
allotment, well, bridge, pier, zoo, school, lighthouse, heath, swimming pool, paper mill, cave, wheat field, circus,
airport, hotel, tea room""",
    "creatures": """
beetle, ladybird, butterfly, bumblebee, slug, gull, swallow, shrew, vole, weasel, starling, cuckoo, swan, heron,
kingfisher, bat, kitten, gosling, duckling, chick, foal, piglet, cub, woodpecker, nightingale, thrush, blackbird, blue tit,
skylark, turkey, rooster, peacock, parrot, salamander, gecko, chameleon, snake, camel, llama, reindeer, moose, ostrich,
flamingo, pelican, puffin, walrus, sloth, anteater, armadillo, marmot, mongoose, jackdaw, partridge, pheasant, quail,
finch, lobster, ox, zebra, bison, yak, lynx, guinea pig, mule""",
    "tempers": """
sleepy, friendly, hungry, young, elderly, cheerful, grumpy, polite, clever, silly, dignified, thirsty, busy, lazy, lost,
lonely, jolly, nervous, proud, shy, wet, chatty, dreamy, limping, handsome, greedy, sneezing, whistling, dancing, curious,
cross, smiling, frowning, yawning, well-dressed, bearded, barefoot, travelling, snoring, giggling, homeless, noble, tired,
plump, skinny, singing, muddy, blushing""",
    "dids": """
bowed, laughed, nodded, sneezed, yawned, blushed, smiled, danced, hummed, winked, whistled, clapped, waved, shivered,
giggled, hiccuped, jumped, stretched, sighed, coughed, grinned, beamed, stumbled, twirled, chuckled, cheered, shrugged,
listened, gulped, hopped, saluted, curtsied""",
    "saids": """
said, whispered, murmured, called, sang, mumbled, announced, declared, remarked, exclaimed, muttered, cried, shouted,
hummed, giggled, breathed""",
    "moans": """
sighed, sobbed, whispered, moaned, murmured, mumbled, said, groaned, whimpered, muttered, breathed, wailed, sniffed,
stammered, admitted, confessed""",
    "softlys": """
kindly, gently, gravely, brightly, calmly, eagerly, shyly, proudly, warmly, wisely, firmly, happily, politely, boldly,
dreamily, breathlessly, solemnly, sweetly, patiently, hoarsely, timidly, excitedly, thoughtfully, earnestly, simply,
sternly, tenderly, hopefully, merrily, nervously, modestly, seriously, absent-mindedly, cheekily, generously, anxiously,
bashfully, graciously, sleepily, fondly""",
    "carefullys": """
carefully, bravely, cheerfully, patiently, eagerly, slowly, quickly, happily, proudly, silently, swiftly, cleverly,
neatly, steadily, nimbly, skilfully, merrily, clumsily, joyfully, gracefully, hurriedly, calmly, cautiously, promptly,
lovingly, boldly, kindly, elegantly, smartly, briskly, solemnly, gladly""",
    "glads": """
happy, proud, pleased, delighted, cheerful, relieved, thankful, glad, excited, joyful, grateful, contented, jolly, hopeful,
merry, calm, lucky, peaceful, satisfied, amused, encouraged, thrilled, carefree, light-hearted, charmed, comforted,
impressed, playful, lively, fortunate, gleeful, moved""",
    "sads": """
sad, worried, lonely, gloomy, miserable, unhappy, upset, puzzled, cross, weary, disappointed, homesick, tearful, grumpy,
ashamed, confused, nervous, jealous, hurt, heartbroken, frightened, sorry, bored, embarrassed, pale, helpless, hopeless,
discouraged, forlorn, flustered, shaken, guilty""",
    "flowers": """
daisies, bluebells, poppies, buttercups, snowdrops, tulips, violets, roses, lilies, daffodils, sunflowers, forget-me-nots,
foxgloves, pansies, cornflowers, primroses, irises, marigolds, hyacinths, crocuses, dandelions, orchids, peonies,
carnations""",
    "tints": """
red, blue, yellow, purple, white, pink, pale, dark, wild, fresh, tall, striped, sweet, withered, early, perfect""",
    "trees": """
oak, willow, birch, beech, elm, maple, chestnut, pine, cherry, apple, pear, plum, ash, lime, rowan, fir, hazel, poplar,
sycamore, larch, walnut, mulberry, holly, hawthorn""",
    "skies": """
sunny, windy, rainy, misty, frosty, foggy, cloudy, breezy, snowy, warm, chilly, golden, quiet, drizzly, stormy, hot,
crisp, dewy, grey, sparkly, blustery, clear, lazy, damp, silent, bright blue, icy, mild, gloomy, sweltering, fresh, fine""",
    "weekdays": "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday",
    "snacks": """
ginger biscuits, plum cake, ripe cherries, sugared almonds, currant buns, cream pie, boiled eggs, sliced peaches,
toasted marshmallows, jam tarts, wild strawberries, crunchy carrots, salty crackers, sticky toffee, sponge cake,
dried apricots, fresh figs, blueberries, sunflower seeds, sweet corn, oatcakes, cream cheese, dumplings, chocolate drops,
muffins, scones, treacle tart, fruit salad, pretzels, ice cream, roast apples, meringues, green grapes, egg sandwiches,
sweet chestnuts, celery sticks, doughnuts, potato cakes, apple rings, marzipan""",
    "drinks": """
milk, lemonade, apple juice, hot chocolate, peppermint tea, elderflower juice, rosehip tea, cocoa, ginger beer, water,
buttermilk, grape juice, cold tea, orange squash, soda water, plum juice""",
    "bangs": """
bang, splash, crash, thump, pop, clang, whoosh, plop, rattle, crunch, squelch, boing, clatter, swish, snap, thud, bump,
fizz, ping, creak, rumble, ding-dong, tick-tock, clip-clop""",
    "numbers": "two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, twenty",
    "jobs": """
sailor, carpenter, postman, gardener, tailor, fisherman, miller, clockmaker, shepherd, painter, knight, explorer, doctor,
juggler, pilot, farmer, cook, teacher, shoemaker, librarian, king, queen, wizard, pirate, acrobat, detective, inventor,
astronaut, drummer, poet, beekeeper, conductor""",
    "stuffs": """
glue, string, paint, flour, wool, sand, butter, mud, soap, salt, honey, sawdust, wax, clay, straw, cotton, ink, chalk,
sugar, moss, snow, foam, custard, tinsel, pepper, vinegar, rubber, velvet, seaweed, tar, mustard, cardboard""",
    "skythings": """
moon, first star, evening star, Milky Way, crescent moon, full moon, dark sky, silver clouds, northern lights,
bright stars, pale moonlight, summer stars, old moon, twinkling stars, new moon, starry sky""",
    "voices": """
kind, gruff, squeaky, tiny, deep, friendly, trembling, cheerful, sleepy, cross, husky, familiar, musical, faint, gentle,
booming""",
    "verys": """
very, rather, quite, really, truly, fairly, terribly, unusually, surprisingly, remarkably, wonderfully, extremely,
especially, particularly, awfully, amazingly""",
    "behinds": """
behind, beside, beneath, under, near, below, by, underneath""",
    "spots": """
bench, wheelbarrow, boat, hedge, haystack, tree stump, cart, rock, statue, signpost, ladder, tent, rosebush, gatepost,
toadstool, barrel, fence, table, tractor, arbour, beehive, lamp post, trough, wagon, boulder, clothes line, thistle,
swing, slide, trampoline, letter box, scarecrow, woodpile, mushroom, gooseberry bush, sunflower, cabbage, snowman,
sandcastle, canoe, bicycle, bus, lorry, parasol, market stall, flagpole, cactus, palm tree, fern, trellis, pillar,
kennel, henhouse, drainpipe, dandelion, washtub, weeping willow, archway, puddle, jetty, sailing ship, steamroller, seesaw,
blackboard""",
    "olds": """
old, windy, quiet, busy, new, famous, little, crowded, sunny, shady, lonely, secret, royal, open, merry, nearby""",
    "sadlys": """
sadly, tearfully, hoarsely, glumly, anxiously, bravely, gently, nervously, miserably, slowly, wearily, hopelessly,
bitterly, timidly, unhappily, helplessly, shyly, politely, honestly, grimly, breathlessly, sleepily, desperately, weakly""",
}

VILLAGES = (
    "Honey Thimble Bramble Acorn Willow Pebble Clover Button Feather Puddle Biscuit Maple Lantern Otter Barley Copper "
    "Daisy Ember Fern Gooseberry Hazel Juniper Kettle Linden Meadow Nutmeg Oat Pepper Quince Rook",
    "Hill Green Bottom Hollow Bridge Corner Cross End Field Ford Gate Marsh Mill Row Well Wood",
)

# Real names come first; a larger world makes more from the syllables below.
GIRLS = """
Ada Agnes Alma Amy Anna Annie Audrey Bella Bertha Bess Betty Biddy Birdie Blanche Bonnie Bridget Carla Cecily Celia Clara
Cora Daphne Della Dinah Dolly Dora Dottie Edie Edith Effie Elena Elsa Elsie Emma Esther Etta Eva Fiona Flora Freda
Gemma Gerda Gina Greta Gwen Hanna Hattie Heidi Helga Hetty Hilda Ida Ingrid Iris Isla Ivy Jenny Jessie Josie Judy Julia
Kate Katya Kitty Lena Leona Lila Lottie Louisa Lucy Lulu Mabel Maggie Maisie Mara Martha Maud Mena Millie Mimi Minna
Minnie Mira Molly Nancy Nell Nettie Nina Nora Olga Olive Pam Patty Peggy Petra Polly Prue Queenie Rhoda Rita Roberta
Rosa Roxy Ruth Sadie Sally Selma Sophie Stella Susie Tessa Tilda Tilly Topsy Trudy Ursula Vera Vicky Wanda Wendy Wilma
Winnie Yara Yolanda Zelda Zoe
""".split()
BOYS = """
Abel Alec Alfie Angus Archie Arlo Arnold Arthur Barney Basil Benji Bernard Bertie Boris Bruno Buster Caleb Carl Casper
Cedric Clement Clive Cosmo Cuthbert Cyril Dexter Digby Dougal Duncan Eddie Edgar Edmund Egbert Elmer Ernest Ezra Felix
Fergus Finn Freddie Fritz George Gilbert Giles Godfrey Gregor Gus Hamish Hank Harold Harvey Hector Henry Herbert Horace
Hubert Hugo Humphrey Ignaz Igor Ivan Jasper Jerome Jonas Julius Kasimir Kenny Kurt Lars Leo Leopold Linus Lionel Lorenzo
Louis Ludwig Luther Magnus Malcolm Marvin Max Milo Monty Morris Mungo Murray Ned Nelson Nigel Norbert Olaf Oliver Orson
Oscar Osbert Oswald Otis Otto Owen Percy Peter Pip Quentin Ralph Reggie Rex Roger Roland Rollo Rufus Rupert Samson Seymour
Sidney Silas Stanley Sven Ted Theo Toby Tom Ulric Victor Vincent Waldo Walter Wilbur Wilfred Winston Xavier Yorick Zack
""".split()
SYLLABLES = (
    "B Bl Br D Dr F Fl G Gr H J K L M N P Pl R S Sn T Tr W".split(),
    "a e i o u".split(),
    "bb dd lk ll ln mm nn rl rm rn rr sk st".split(),
    "a el ette i ik in o ola".split(),
)
NOT_NAMES = {"Barrel", "Hello", "Kennel", "Sorrel"}  # words of the stories that the syllables would also make


def entries(source: str) -> list[str]:
    """The entries of a comma-separated list; line breaks in it do not matter."""
    return [" ".join(e.split()) for e in source.split(",")]
