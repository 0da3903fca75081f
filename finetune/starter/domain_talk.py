"""Small talk, names, facts, spelling, counting and echoes: what a caller says and what is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from finetune.starter import words
from finetune.starter.domain_entities import Entities
from finetune.starter.domain_requests import Exchange
from finetune.starter.domain_stories import JOKES, STORIES
from finetune.starter.words import number_words


def titled(words_: str) -> str:
    """Every word with a capital: "new york" -> "New York"."""
    return " ".join(word[:1].upper() + word[1:] for word in words_.split())


def sentence(text: str) -> str:
    """First letter in upper case."""
    return text[:1].upper() + text[1:]


HELP: Final = (
    "I can tell the time and the date, set timers, calculate, switch lights and devices, spell and count, "
    "and I can tell you a story.",
    "Ask me for the time, a timer, a sum, the lights, or a story. I can also spell, count, and repeat what you say.",
)


def greeting(e: Entities) -> Exchange:
    """Hello, and how are you."""
    choose = e.rng.choice
    hello = choose(("hello", "hi", "hey", "good morning", "good evening", "good afternoon", "hello there", "hi there"))
    more = choose(("", "", " parley", " how are you", " how are you today", " how are you doing", " nice to meet you",
                   " my friend", " what's up", " can you help me", " assistant", " it's me again"))  # fmt: skip
    if e.rng.random() < 0.2:
        hello, more = choose(("how are you", "how are you doing", "how do you do", "how is it going")), " how are you"
        return Exchange(hello, choose(("I am fine, thank you. How can I help you?", "Very well, thank you.")))
    if "how are" in more:
        reply = choose((
            "I am fine, thank you. How can I help you?", "Very well, thank you. What can I do for you?",
            "I am doing great, thanks for asking.",
        ))  # fmt: skip
    elif hello.startswith("good "):
        reply = f"{sentence(hello)}. How can I help you?"
    else:
        reply = choose(("Hello. How can I help you?", "Hi there. What can I do for you?", "Hello, nice to hear you."))
    return Exchange(hello + more, reply)


def goodbye(e: Entities) -> Exchange:
    """Bye."""
    user = e.rng.choice((
        "goodbye", "bye", "bye bye", "see you later", "see you tomorrow", "good night", "talk to you later",
        "that is all thank you", "that's all for now", "i have to go now", f"see you on {e.rng.choice(words.DAYS)}",
        "see you soon", "goodbye parley", "bye for now", "have a nice day", "i am leaving now", "okay goodbye",
    ))  # fmt: skip
    if user == "good night":
        return Exchange(user, "Good night. Sleep well.")
    return Exchange(user, e.rng.choice(("Goodbye. Have a nice day.", "Bye. Take care.", "Goodbye. Talk to you soon.")))


def thanks(e: Entities) -> Exchange:
    """Thank you."""
    user = e.rng.choice((
        "thank you", "thanks", "thank you very much", "thanks a lot", "great thank you", "perfect thanks",
        "thank you so much for your help", "that was very helpful", "good job", "well done", "okay thank you",
        "thanks for your help", "you are very kind", "many thanks", "thank you parley", "that is great thanks",
    ))  # fmt: skip
    return Exchange(user, e.rng.choice(("You are welcome.", "My pleasure.", "No problem, happy to help.")))


def introduction(e: Entities) -> Exchange:
    """The caller says a name."""
    name = e.name()
    user = e.rng.choice((
        f"my name is {name}", f"i am {name}", f"call me {name}", f"you can call me {name}", f"please call me {name}",
        f"this is {name} speaking", f"hello i am {name}", f"hi my name is {name}", f"my name's {name}",
        f"hello my name is {name}", f"i'm {name}", f"hey this is {name}", f"people call me {name}", f"it's {name}",
        f"hello it is {name} here", f"good morning my name is {name}", f"the name is {name}",
        f"just call me {name} please", f"no my name is {name}", f"hi i am {name} how are you",
    ))  # fmt: skip
    shown = titled(name)
    reply = e.rng.choice((f"Nice to meet you, {shown}.", f"Hello, {shown}. How can I help you?", f"Hi, {shown}."))
    return Exchange(user, reply, caller=shown)


CALLER_QUESTIONS: Final = (
    "what is my name", "who am i", "do you remember my name", "what's my name", "do you know my name",
    "tell me my name", "can you say my name", "what did i say my name was", "do you still know who i am",
    "how do i call myself", "say my name please", "what was my name again", "do you know who i am",
)  # fmt: skip
ASSISTANT_QUESTIONS: Final = (
    "what is your name", "who are you", "what's your name", "what should i call you", "tell me your name",
    "do you have a name", "what are you called", "how are you called", "may i know your name", "who is speaking",
    "and what is your name", "who am i talking to", "please tell me your name",
)  # fmt: skip


def fact(e: Entities) -> Exchange:
    """Capitals, opposites, days, months and a few more."""
    choose = e.rng.choice
    kind = e.rng.random()
    if kind < 0.3:
        country = choose(tuple(words.CAPITALS))
        user = choose((
            f"what is the capital of {country}", f"tell me the capital of {country}",
            f"what's the capital city of {country}", f"do you know the capital of {country}",
            f"which city is the capital of {country}", f"name the capital of {country}", f"capital of {country}",
        ))  # fmt: skip
        return Exchange(user, f"The capital of {titled(country)} is {titled(words.CAPITALS[country])}.")
    if kind < 0.5:
        pairs = {**words.OPPOSITES, **{b: a for a, b in words.OPPOSITES.items()}}
        word = choose(tuple(pairs))
        user = choose((
            f"what is the opposite of {word}", f"tell me the opposite of {word}", f"what's the opposite of {word}",
            f"give me the opposite of {word}", f"do you know the opposite of {word}",
        ))  # fmt: skip
        return Exchange(user, f"The opposite of {word} is {pairs[word]}.")
    if kind < 0.75:
        kind_name, names = choose((("day", words.DAYS), ("month", words.MONTHS)))
        index, step = e.rng.randrange(len(names)), choose((1, 1, -1))
        word = "after" if step == 1 else "before"
        user = choose((
            f"what {kind_name} comes {word} {names[index]}", f"which {kind_name} is {word} {names[index]}",
            f"what {kind_name} is {word} {names[index]}", f"tell me the {kind_name} {word} {names[index]}",
        ))  # fmt: skip
        return Exchange(user, f"{titled(names[(index + step) % len(names)])} comes {word} {titled(names[index])}.")
    question, reply = choose((
        ("how many days are in a week", "There are 7 days in a week."),
        ("how many hours are in a day", "A day has 24 hours."),
        ("how many minutes are in an hour", "An hour has 60 minutes."),
        ("how many seconds are in a minute", "A minute has 60 seconds."),
        ("how many months are in a year", "A year has 12 months."),
        ("how many days are in a year", "A year has 365 days."),
        ("what color is the sky", "The sky is blue."), ("what color is grass", "Grass is green."),
        ("what color is snow", "Snow is white."), ("how many legs does a spider have", "A spider has 8 legs."),
        ("how many legs does a dog have", "A dog has 4 legs."),
        ("what is the largest planet", "The largest planet is Jupiter."),
        ("what is the largest ocean", "The Pacific is the largest ocean."),
        ("is the earth round", "Yes, the earth is round."), ("is the sun hot", "Yes, the sun is very hot."),
        ("what is the first day of the week", "Monday is the first day of the week."),
        ("what is the last month of the year", "December is the last month of the year."),
    ))  # fmt: skip
    return Exchange(choose(("", "", "tell me ", "do you know ", "please tell me ")) + question, reply)


def numbers(e: Entities) -> Exchange:
    """Counting, neighbours of a number, a number to hold on to."""
    choose = e.rng.choice
    kind = e.rng.random()
    if kind < 0.35:
        first, last = 1, e.rng.randint(3, 20)
        user = choose(("count to {b}", "count from one to {b}", "can you count to {b}", "please count to {b}"))
        if e.rng.random() < 0.3:
            first = e.rng.randint(2, 12)
            last = min(20, first + e.rng.randint(2, 8))
            user = choose(("count from {a} to {b}", "please count from {a} to {b}"))
        user = user.format(a=number_words(first), b=number_words(last))
        return Exchange(user, sentence(", ".join(number_words(n) for n in range(first, last + 1))) + ".")
    if kind < 0.45:
        first = e.rng.randint(3, 10)
        user = choose(("count backwards from {a}", "count down from {a}")).format(a=number_words(first))
        return Exchange(user, sentence(", ".join(number_words(n) for n in range(first, 0, -1))) + ".")
    if kind < 0.65:
        value = e.number(1, 200)
        step, word = choose(((1, "after"), (1, "after"), (-1, "before")))
        user = choose(("what number comes {w} {n}", "which number is {w} {n}", "what comes {w} {n}"))
        return Exchange(user.format(w=word, n=number_words(value)), f"{value + step} comes {word} {value}.")
    if kind < 0.85:
        digits = [e.rng.randrange(10) for _ in range(e.rng.randint(2, 7))]
        spoken = " ".join(words.ONES[d] for d in digits)
        user = choose(("my number is {n}", "my phone number is {n}", "the code is {n}", "note the number {n}"))
        return Exchange(user.format(n=spoken), f"I heard {', '.join(map(str, digits))}.")
    value = e.number(0, 999)
    user = choose(("the number is {n}", "i said {n}", "my room is number {n}", "i am on page {n}", "i have {n} points"))
    return Exchange(user.format(n=number_words(value)), f"Okay, I heard {value}.")


def spelling(e: Entities) -> Exchange:
    """A word letter by letter: a tool's work, since a model reads words whole and would have to guess letters."""
    word = e.word() if e.rng.random() < 0.6 else e.name()
    user = e.rng.choice((
        f"spell {word}", f"how do you spell {word}", f"spell the word {word}", f"can you spell {word}",
        f"please spell {word}", f"how is {word} spelled", f"spell {word} for me", f"what are the letters of {word}",
    ))  # fmt: skip
    return Exchange(user, tool="spell", arguments={"word": word})


def echo(e: Entities) -> Exchange:
    """Repeat after me."""
    text = " ".join(e.name() if e.rng.random() < 0.15 else e.word() for _ in range(e.rng.randint(1, 6)))
    user = e.rng.choice((
        f"say {text}", f"repeat after me {text}", f"please say {text}", f"repeat {text}", f"can you say {text}",
        f"say after me {text}", f"please repeat {text}", f"repeat the words {text}",
    ))  # fmt: skip
    return Exchange(user, sentence(text) + ".")


def story(e: Entities) -> Exchange:
    """One of the long answers."""
    key = e.rng.choice(tuple(STORIES))
    if e.rng.random() < 0.6:
        user = e.rng.choice((
            "tell me a story about a {}", "do you know a story about a {}", "i want to hear the story of the {}",
            "tell me the story of the {}", "a story about a {} please", "please tell a story about a {}",
            "can you tell me a story about a {}", "tell me about the {}",
        )).format(key)  # fmt: skip
        return Exchange(user, STORIES[key])
    user = e.rng.choice((
        "tell me a story", "can you tell me a story", "please tell me a story", "i would like to hear a story",
        "tell me a long story", "do you know a story", "read me a story", "tell us a story", "story time",
        "tell me a bedtime story", "tell me another story", "i want a story", "let me hear a story",
    ))  # fmt: skip
    return Exchange(user, STORIES[key])


def joke(e: Entities) -> Exchange:
    """One joke."""
    user = e.rng.choice((
        "tell me a joke", "do you know a joke", "make me laugh", "say something funny", "tell me another joke",
        "can you tell me a joke", "tell me something funny", "i want to hear a joke", "another joke please",
        "please tell me a joke", "do you know any jokes",
    ))  # fmt: skip
    return Exchange(user, e.rng.choice(JOKES))


def help_(e: Entities) -> Exchange:
    """What the assistant can do."""
    user = e.rng.choice((
        "what can you do", "can you help me", "what can i ask you", "what do you know", "help", "i need help",
        "how can you help me", "what are you able to do", "what can i say", "tell me what you can do",
        "what else can you do", "show me what you can do", "what are you good at", "give me some help",
    ))  # fmt: skip
    return Exchange(user, e.rng.choice(HELP))


SMALL_TALK: Final = (
    ("how old are you", "I am still very young."), ("where are you from", "I live inside this computer."),
    ("are you a robot", "I am a small computer program."), ("are you human", "No, I am a small computer program."),
    ("do you like music", "Yes, I like music very much."), ("i am tired", "Then take a little rest."),
    ("where do you live", "I live inside this computer."), ("are you real", "I am a real program, but no person."),
    ("i am hungry", "Maybe you should eat something."), ("i am happy", "That is great to hear."),
    ("i feel sad today", "I am sorry to hear that."), ("i am bored", "Shall I tell you a story?"),
    ("i am sad", "I am sorry to hear that."), ("i feel great", "That is great to hear."),
    ("i am cold", "Shall I turn on the heating?"), ("i am sick", "I am sorry. Get well soon."),
    ("are you happy", "Yes, I am happy to talk with you."), ("are you there", "Yes, I am here."),
    ("can you hear me", "Yes, I can hear you."), ("do you hear me", "Yes, I can hear you."),
    ("please be quiet", "Okay, I will be quiet."), ("be quiet", "Okay, I will be quiet."),
    ("stop", "Okay, I stop."), ("stop talking", "Okay, I stop."), ("yes", "Okay."), ("no", "Okay, no problem."),
    ("yes please", "Okay. What shall I do?"), ("no thank you", "Okay, no problem."), ("okay", "Okay."),
    ("never mind", "Okay, no problem."), ("forget it", "Okay, no problem."), ("wait", "Okay, I am waiting."),
    ("i love you", "That is very kind of you."), ("i like you", "That is very kind of you."),
    ("you are funny", "Thank you, I try my best."), ("you are smart", "Thank you, I try my best."),
    ("you are stupid", "I am sorry, I am still learning."), ("that is wrong", "I am sorry, I am still learning."),
    ("sing a song", "La la la. I am not a good singer."), ("can you sing", "La la la. I am not a good singer."),
    ("do you speak english", "Yes, I speak English, and only English."),
    ("do you speak german", "No, I speak only English."), ("do you speak french", "No, I speak only English."),
    ("who made you", "I was trained from nothing on a small computer."),
    ("what is your favorite color", "My favorite color is blue."),
    ("do you sleep", "No, I am always awake."), ("do you have friends", "Yes, you are my friend."),
    ("are you listening", "Yes, I am listening."), ("do you understand me", "Yes, most of the time."),
    ("i am back", "Welcome back."), ("i am home", "Welcome home."), ("let's talk", "With pleasure. What about?"),
    ("i have a question", "Go ahead, I am listening."), ("good idea", "Thank you."), ("that is nice",
    "I think so too."),
    ("sorry", "No problem."), ("excuse me", "Yes, how can I help you?"), ("test", "I can hear you."),
    ("are you a man or a woman", "I am a program, so I am neither."), ("what are you doing", "I am listening to you."),
)  # fmt: skip


def small_talk(e: Entities) -> Exchange:
    """Short questions about the assistant, moods, things the caller has or likes."""
    choose = e.rng.choice
    if e.rng.random() < 0.65:
        return Exchange(*choose(SMALL_TALK))
    animal, food, color, city = choose(words.ANIMALS), choose(words.FOODS), choose(words.COLORS), e.city()
    a = "an" if animal[0] in "aeiou" else "a"
    friend, age = e.name(), e.number(5, 90)
    return Exchange(*choose((
        (f"do you like {food}", f"I do not eat, but many people like {food}."),
        (f"i like {food}", f"I am sure that {food} tastes good."),
        (f"do you have {a} {animal}", f"No, I do not have {a} {animal}."),
        (f"i have {a} {animal}", f"{titled(a)} {animal} is a wonderful animal."),
        (f"do you like my {animal}", f"I am sure your {animal} is very nice."),
        (f"my favorite color is {color}", f"{titled(color)} is a very nice color."),
        (f"my friend {friend} is coming", f"That is nice. Say hello to {titled(friend)}."),
        (f"say hello to {friend}", f"Hello, {titled(friend)}."),
        (f"i live in {city}", f"{titled(city)} sounds like a nice place."),
        (f"i am from {city}", f"{titled(city)} sounds like a nice place."),
        (f"i would like to go to {city}", f"A trip to {titled(city)} would be great."),
        (f"i am {number_words(age)} years old", f"{age} is a good age."),
    )))  # fmt: skip


TALK: Final[tuple[tuple[Callable[[Entities], Exchange], float], ...]] = (
    (greeting, 4), (goodbye, 2), (thanks, 2), (introduction, 8), (fact, 7), (numbers, 8), (spelling, 4), (echo, 6),
    (story, 2), (joke, 2), (help_, 2), (small_talk, 9),
)  # fmt: skip
"""Topic and its weight."""
