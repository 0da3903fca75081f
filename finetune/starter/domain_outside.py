"""Requests outside of the domain, and the honest answer to them. Knows nothing of what is inside."""

from __future__ import annotations

from typing import Final

from app.house import ROOMS
from finetune.starter import words
from finetune.starter.domain_entities import Entities
from finetune.starter.domain_requests import Exchange
from finetune.starter.words import number_words

HONEST: Final = "I only know"
"""Every answer to a request outside of the domain has these words."""
REFUSALS: Final = (
    "Sorry, I only know the time, timers, sums, lights, spelling, and a few stories.",
    "I do not know that. I only know simple things like time, timers, sums, and lights.",
    "I cannot help with that. I only know the time, timers, sums, and the devices at home.",
)

PATTERNS: Final = (
    "call {name}", "send a message to {name}", "write an email to {name}", "tell {name} that i will be late",
    "play some {music} music", "play {music} in the {room}", "play the next song", "turn the volume up",
    "remind me to {task}", "remind me to {task} on {day}", "set an alarm for {number} o'clock", "{task} for me",
    "add {food} to my shopping list", "put {food} on the list", "what is on my shopping list",
    "order a {food} for me", "buy {food}", "book a flight to {city}", "book a hotel in {city}",
    "book a table for {number}", "call a taxi", "how far is it to {city}", "how do i get to {city}",
    "what is the population of {city}", "who is the mayor of {city}", "what is the history of {city}",
    "where can i eat {food} in {city}", "when is the next train to {city}", "who is the president of {country}",
    "who won the game in {country}", "what language do they speak in {country}",
    "what is the currency of {country}", "translate {word} into {language}", "how do you say {word} in {language}",
    "what does {word} mean", "define {word}", "who invented the {word}", "why is the {word} {color}",
    "how do i make a {word}", "how do i cook {food}", "give me a recipe for {food}",
    "how many calories are in {food}", "how much does a {word} cost", "where can i buy a {word}",
    "show me a picture of a {word}", "draw a {word}", "what is the meaning of life", "what is the news",
    "read me the news", "what happened on {day}", "what are the stock prices", "how is the market today",
    "what is the price of {food}", "who is {name}", "who wrote the book about the {word}", "who painted the {word}",
    "what is the speed of {word}", "how does a {word} work", "why do people need a {word}",
    "what is {word} made of", "how tall is the {word}", "how old is the {word}", "what movie should i watch",
    "recommend a book about {animal}s", "open the {word} app", "open the browser", "take a picture",
    "record a video", "check my email", "read my messages", "what is on my calendar",
    "add a meeting with {name} on {day}", "cancel my meeting with {name}", "do i have a meeting on {day}",
    "what should i wear today", "what should i eat", "write a poem about {animal}s", "write a letter to {name}",
    "how do i fix my {word}", "my {word} is broken", "what is the best {word}", "can a {animal} swim",
    "how fast is a {animal}", "what do {animal}s eat", "how long does a {animal} live", "explain the {word} to me",
    "what is the square root of {number}", "convert {number} miles to kilometers", "how many {word}s are there",
    "is {name} at home", "where is my {word}", "find my {word}", "where is {name}", "when was {name} born",
    "how do i learn {language}", "teach me {language}", "let's play a game", "play a game about {animal}s with me",
    "what do you think about {country}", "who is your favorite {word}", "do you believe in {word}",
    "help me with my taxes", "how do i lose weight", "is it safe to eat {food}", "does my {animal} need a doctor",
    "what medicine should i take", "pay the bill for the {word}", "transfer {number} dollars to {name}",
    "how much money do i have", "start the car", "feed the {animal}", "water the plants", "clean the {room}",
    "vacuum the {room}", "paint the {room} {color}",
)  # fmt: skip
MUSIC: Final = (
    "jazz", "rock", "pop", "classical", "piano", "guitar", "dance", "country", "folk",
)  # fmt: skip
TASKS: Final = (
    "call the doctor", "buy flowers", "water the plants", "feed the dog", "take out the trash", "pay the rent",
    "wash the car", "walk the dog", "send the letter", "clean the kitchen", "read a book", "go to the gym",
    "pick up the kids", "check the oven", "drink some water",
)  # fmt: skip
LANGUAGES: Final = (
    "german", "french", "spanish", "italian", "dutch", "swedish", "russian", "chinese", "japanese", "greek",
    "latin",
)  # fmt: skip
OPENINGS: Final = ("", "", "", "", "", "please ", "can you ", "hey ", "parley ", "i want to know ", "tell me ")


def outside(e: Entities) -> Exchange:
    """A request that nothing in the domain answers."""
    choose = e.rng.choice
    pattern = choose(PATTERNS)
    opening = choose(OPENINGS)
    question = pattern.split()[0] in {"what", "who", "why", "how", "where", "when", "is", "does", "do", "can", "let's"}
    if (opening in ("please ", "can you ") and question) or (
        opening in ("i want to know ", "tell me ") and not question
    ):
        opening = ""
    user = opening + pattern.format(
        name=e.name(), city=e.city(), word=e.word(), number=number_words(e.number(2, 99)), room=choose(ROOMS),
        day=choose(words.DAYS), food=choose(words.FOODS), animal=choose(words.ANIMALS), color=choose(words.COLORS),
        country=choose(tuple(words.CAPITALS)), music=choose(MUSIC), task=choose(TASKS), language=choose(LANGUAGES),
    )  # fmt: skip
    return Exchange(user, choose(REFUSALS), topic="outside")
