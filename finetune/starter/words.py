"""Word lists of the starter's domain and the numbers in words. Knows no sentence, no model and no speech."""

from __future__ import annotations

import hashlib
from typing import Final

from app.cities import TIME_ZONES


def _listed(text: str) -> tuple[str, ...]:
    """The words of a list with commas."""
    return tuple(word.strip() for word in text.split(","))


ONES: Final = _listed("""
    zero, one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, fourteen, fifteen,
    sixteen, seventeen, eighteen, nineteen
""")
TENS: Final = _listed("""
    zero, ten, twenty, thirty, forty, fifty, sixty, seventy, eighty, ninety
""")
ORDINALS: Final = _listed("""
    first, second, third, fourth, fifth, sixth, seventh, eighth, ninth, tenth
""")
DAYS: Final = _listed("""
    monday, tuesday, wednesday, thursday, friday, saturday, sunday
""")
MONTHS: Final = _listed("""
    january, february, march, april, may, june, july, august, september, october, november, december
""")

NAMES: Final = _listed("""
    adam, alan, albert, alex, alice, amanda, amy, andrea, andrew, angela, anna, anne, anthony, arthur, barbara,
    ben, beth, bob, brian, carl, carla, carol, caroline, catherine, charles, charlotte, chloe, chris, claire,
    clara, daniel, david, dennis, diana, donald, dora, dorothy, edith, edward, elena, eli, elizabeth, ella, ellen,
    emily, emma, eric, erica, esther, ethan, eva, felix, finn, fiona, florence, frances, frank, fred, gabriel,
    george, gloria, grace, greg, hannah, harold, harry, heather, helen, henry, hugo, ian, ingrid, irene, isaac,
    isabel, ivan, jack, jacob, james, jane, janet, jason, jean, jenny, jessica, joan, joe, john, jonas, joseph,
    joyce, judith, julia, julian, karen, kate, keith, kelly, kevin, kim, larry, laura, leah, leo, leon, lewis,
    linda, lisa, louis, louise, lucas, lucy, luke, lydia, margaret, maria, marie, mark, martha, martin, mary,
    matthew, max, megan, michael, mia, miriam, molly, monica, nancy, naomi, nathan, neil, nicole, nina, noah,
    nora, norman, oliver, olivia, oscar, pamela, patricia, patrick, paul, paula, peter, philip, quinn, rachel,
    ralph, ray, rebecca, richard, rita, robert, robin, roger, rosa, rose, roy, russell, ruth, ryan, sally, sam,
    samuel, sandra, sara, sarah, scott, sean, sharon, simon, sofia, sophie, stella, stephen, steve, susan, sylvia,
    teresa, theo, theodore, thomas, tim, tina, tom, tony, tracy, valerie, vera, victor, victoria, vincent, violet,
    virginia, walter, wanda, wendy, william, yvonne, zoe
""")

CITIES: Final = tuple(TIME_ZONES)
COLORS: Final = _listed("""
    red, blue, green, yellow, white, orange, purple, pink, black, brown, gray, silver
""")
FOODS: Final = _listed("""
    milk, bread, eggs, butter, cheese, apples, bananas, coffee, tea, sugar, rice, pasta, tomatoes, potatoes,
    chicken, fish, salt, water, juice, onions, honey, soup, pizza, salad, cake, chocolate
""")
ANIMALS: Final = _listed("""
    dog, cat, horse, cow, bird, fish, lion, tiger, elephant, mouse, rabbit, bear, fox, wolf, sheep, duck
""")
CAPITALS: Final = {
    "france": "paris", "germany": "berlin", "spain": "madrid", "italy": "rome", "austria": "vienna",
    "ireland": "dublin", "japan": "tokyo", "norway": "oslo", "portugal": "lisbon", "russia": "moscow",
    "greece": "athens", "egypt": "cairo", "england": "london", "india": "delhi", "sweden": "stockholm",
    "denmark": "copenhagen", "finland": "helsinki", "poland": "warsaw", "hungary": "budapest", "belgium": "brussels",
    "canada": "ottawa", "china": "beijing", "cuba": "havana", "kenya": "nairobi", "peru": "lima", "chile": "santiago",
    "turkey": "ankara", "thailand": "bangkok", "switzerland": "bern", "iceland": "reykjavik",
}  # fmt: skip
OPPOSITES: Final = {
    "hot": "cold", "big": "small", "up": "down", "left": "right", "day": "night", "black": "white", "fast": "slow",
    "happy": "sad", "open": "closed", "early": "late", "hard": "soft", "old": "young", "full": "empty", "wet": "dry",
    "good": "bad", "long": "short", "high": "low", "light": "dark", "loud": "quiet", "rich": "poor", "strong": "weak",
    "thick": "thin", "true": "false", "clean": "dirty", "near": "far", "inside": "outside", "always": "never",
}  # fmt: skip
COMMON: Final = _listed("""
    apple, arm, baby, bag, ball, bank, basket, beach, bed, bell, bird, boat, book, bottle, box, boy, branch,
    bread, bridge, brother, brush, bucket, bus, button, camera, candle, car, card, carpet, chair, child, church,
    circle, clock, cloud, coat, coin, corner, country, crown, cup, dance, desk, dinner, doctor, door, dream,
    dress, drum, ear, earth, engine, evening, eye, face, family, farm, father, feather, field, finger, fire,
    floor, flower, fly, foot, forest, friend, fruit, game, garden, gate, girl, glass, gold, grass, green, guitar,
    hair, hammer, hand, happy, hat, heart, hill, home, honey, hour, house, ice, island, jacket, key, king, kite,
    ladder, lake, leaf, leg, lemon, letter, library, light, line, lion, little, love, magic, map, market, mirror,
    money, moon, morning, mother, mountain, mouth, music, nail, neck, needle, nest, night, north, nose, ocean,
    orange, page, paint, paper, park, pencil, piano, picture, pillow, planet, plant, plate, pocket, pond, queen,
    question, rain, ring, river, road, rock, roof, room, rope, round, salt, sand, school, sea, season, shadow,
    ship, shirt, shoe, shoulder, silver, sister, sky, smile, smoke, snow, soap, song, south, spoon, spring,
    square, stairs, star, station, stone, storm, story, street, summer, sun, table, teacher, tent, thunder,
    ticket, tiger, tower, town, train, tree, turtle, umbrella, uncle, valley, village, violin, voice, wall, water,
    wave, west, wheel, white, wind, window, winter, wood, world, yellow, young
""")


def number_words(value: int) -> str:
    """A whole number in spoken English, for instance 342 -> "three hundred and forty two"."""
    if value < 0:
        return "minus " + number_words(-value)
    if value < 20:
        return ONES[value]
    if value < 100:
        return TENS[value // 10] + (" " + ONES[value % 10] if value % 10 else "")
    if value < 1000:
        return ONES[value // 100] + " hundred" + (" and " + number_words(value % 100) if value % 100 else "")
    return number_words(value // 1000) + " thousand" + (" " + number_words(value % 1000) if value % 1000 else "")


def bucket(text: str) -> int:
    """0..99, the same on every machine: what decides over splits."""
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:4], "big") % 100


def is_kept_out(entity: str | int) -> bool:
    """Whether a name, city, word or number is kept out of all training: one in ten; numbers only from 21 on.

    The capitals of the facts and the name of the core sentences are never kept out, since those are taught.
    """
    if isinstance(entity, int):
        return entity > 20 and entity % 10 != 0 and bucket(f"number {entity}") < 10
    return bucket(f"entity {entity}") < 10 and entity not in {*CAPITALS.values(), "anna"}
