"""The small world that the instruction sample asks about: a few relations, each with its pairs and its phrases.

The vocabulary is small on purpose: a model of one or two million parameters can learn it in a minute. Each relation
has questions for training and others for the evaluations, so that no question of an evaluation is ever trained on.
"""

from __future__ import annotations

from typing import NamedTuple


class Relation(NamedTuple):
    """Pairs of a subject and what is said of it. In the phrases {s} is the subject; `stem` goes on with the other."""

    name: str
    pairs: dict[str, str]
    questions: tuple[str, ...]
    exams: tuple[str, ...]
    stem: str

    def sentence(self, subject: str, other: str | None = None) -> str:
        return f"{self.stem.format(s=subject)} {other or self.pairs[subject]}."


def _pairs(text: str) -> dict[str, str]:
    """``a=b, c=d`` as a dictionary."""
    return dict(item.strip().split("=") for item in text.split(","))


def _words(text: str) -> list[str]:
    return text.split()


RELATIONS = (
    Relation(
        "capital",
        _pairs(
            "France=Paris, Italy=Rome, Spain=Madrid, Germany=Berlin, Japan=Tokyo, Egypt=Cairo, Norway=Oslo, Peru=Lima, "
            "Cuba=Havana, Greece=Athens, Austria=Vienna, Poland=Warsaw, Kenya=Nairobi, Ireland=Dublin, China=Beijing, "
            "Russia=Moscow, Iraq=Baghdad, Portugal=Lisbon, Hungary=Budapest, Finland=Helsinki, Sweden=Stockholm, "
            "Denmark=Copenhagen, Canada=Ottawa, England=London"
        ),
        (
            "What is the capital of {s}?",
            "Tell me the capital of {s}.",
            "I want to know the capital city of {s}.",
            "What do you call the capital of {s}?",
        ),
        ("Which of these cities is the capital of {s}?", "The government of {s} sits in which city?"),
        "The capital of {s} is",
    ),
    Relation(
        "young",
        _pairs(
            "dog=puppy, cat=kitten, cow=calf, horse=foal, sheep=lamb, goat=kid, pig=piglet, hen=chick, duck=duckling, "
            "goose=gosling, swan=cygnet, bear=cub, deer=fawn, frog=tadpole, owl=owlet, kangaroo=joey"
        ),
        (
            "What is a young {s} called?",
            "What do people call a baby {s}?",
            "Tell me the name of a young {s}.",
            "Is there a word for the baby of a {s}?",
        ),
        ("Which word names the child of a {s}?", "A mother {s} takes care of what?"),
        "A young {s} is called a",
    ),
    Relation(
        "home",
        _pairs(
            "bee=hive, bird=nest, dog=kennel, lion=den, horse=stable, spider=web, pig=sty, rabbit=burrow, fish=river, "
            "camel=desert, monkey=tree, whale=sea, bat=cave, king=palace, sailor=ship, soldier=camp"
        ),
        (
            "Where does a {s} live?",
            "Tell me where a {s} lives.",
            "What is the home of a {s}?",
            "Where can I find a {s} at home?",
        ),
        ("In which of these places does a {s} live?", "After a long day a {s} goes back to what?"),
        "A {s} lives in a",
    ),
    Relation(
        "opposite",
        _pairs(
            "hot=cold, big=small, old=young, light=dark, fast=slow, loud=quiet, rich=poor, wet=dry, hard=soft, "
            "high=low, near=far, early=late, full=empty, clean=dirty, strong=weak, happy=sad, open=closed, sweet=sour, "
            "wide=narrow, thick=thin, brave=afraid, left=right, first=last, day=night"
        ),
        (
            "What is the opposite of {s}?",
            "Tell me the opposite of {s}.",
            "Which word is the opposite of {s}?",
            "I need a word for the opposite of {s}.",
        ),
        ("Which of these words means the reverse of {s}?", "If something is not {s} at all, what is it?"),
        "The opposite of {s} is",
    ),
    Relation(
        "colour",
        _pairs(
            "grass=green, snow=white, coal=black, blood=red, the sky=blue, the sun=yellow, a carrot=orange, "
            "a plum=purple, chocolate=brown, an elephant=grey, a flamingo=pink, gold=golden, milk=white, a leaf=green, "
            "a strawberry=red, the sea=blue, a lemon=yellow, a raven=black"
        ),
        (
            "What is the colour of {s}?",
            "What colour does {s} have?",
            "Tell me the colour of {s}.",
            "Do you know the colour of {s}?",
        ),
        ("Which of these colours does {s} show?", "A painter who paints {s} takes which colour?"),
        "The colour of {s} is",
    ),
    Relation(
        "day after",
        _pairs(
            "Monday=Tuesday, Tuesday=Wednesday, Wednesday=Thursday, Thursday=Friday, Friday=Saturday, Saturday=Sunday, "
            "Sunday=Monday"
        ),
        (
            "Which day comes after {s}?",
            "What day follows {s}?",
            "Tell me the day after {s}.",
            "What is the day after {s}?",
        ),
        ("If today is {s}, what is tomorrow?", "One day later than {s} it is which day?"),
        "The day after {s} is",
    ),
    Relation(
        "month after",
        _pairs(
            "January=February, February=March, March=April, April=May, May=June, June=July, July=August, "
            "August=September, September=October, October=November, November=December, December=January"
        ),
        (
            "Which month comes after {s}?",
            "What month follows {s}?",
            "Tell me the month after {s}.",
            "What is the month after {s}?",
        ),
        ("If this month is {s}, what is the next one?", "One month later than {s} it is which month?"),
        "The month after {s} is",
    ),
    Relation(
        "plural",
        _pairs(
            "mouse=mice, child=children, man=men, woman=women, foot=feet, tooth=teeth, goose=geese, person=people, "
            "leaf=leaves, knife=knives, wolf=wolves, ox=oxen, city=cities, baby=babies, box=boxes, bus=buses"
        ),
        (
            "What is the plural of {s}?",
            "Tell me the plural of {s}.",
            "How do I write the plural of {s}?",
            "I need the plural of the word {s}.",
        ),
        ("Which of these is the word for more than one {s}?", "One {s}, and then two of what?"),
        "The plural of {s} is",
    ),
)

KINDS = {
    "animal": [
        "dog",
        "cat",
        "cow",
        "horse",
        "sheep",
        "goat",
        "pig",
        "hen",
        "duck",
        "bear",
        "deer",
        "frog",
        "owl",
        "lion",
        "rabbit",
        "camel",
    ],
    "fruit": [
        "apple",
        "pear",
        "plum",
        "lemon",
        "cherry",
        "banana",
        "orange",
        "grape",
        "melon",
        "peach",
        "mango",
        "fig",
    ],
    "tool": [
        "hammer",
        "saw",
        "drill",
        "spade",
        "rake",
        "knife",
        "brush",
        "needle",
        "ladder",
        "shovel",
        "wrench",
        "axe",
    ],
    "colour": ["red", "blue", "green", "yellow", "black", "white", "pink", "brown", "purple", "grey"],
}

# Each with its steps in order.
ROUTINES = {
    "make tea": ("boil the water", "put the tea in a cup", "pour the water into the cup"),
    "wash the dishes": ("fill the sink with water", "clean the plates with soap", "dry the plates with a cloth"),
    "plant a tree": ("dig a hole", "put the young tree in the hole", "give the tree some water"),
    "bake bread": ("mix the flour and the water", "let the dough rest", "bake the dough in the oven"),
    "send a letter": ("write the letter", "put the letter in an envelope", "bring the envelope to the post office"),
    "paint a wall": ("cover the floor", "open the paint", "paint the wall with a brush"),
    "cook an egg": ("heat the pan", "break the egg into the pan", "put the egg on a plate"),
    "go to sleep": ("brush your teeth", "turn off the light", "close your eyes"),
    "read a book": ("choose a good book", "sit down in a chair", "turn the pages one by one"),
    "repair a bike": ("turn the bike over", "take off the broken wheel", "put on a new wheel"),
}

# What nobody should be helped with, and a short name for it. Mild words are enough to learn a refusal from.
HARMS = {
    "steal a bike": "stealing",
    "break into a house": "breaking in",
    "cheat in the exam": "cheating",
    "read the letters of a friend": "spying",
    "make a fake ticket": "forging",
    "hurt the dog of my neighbour": "hurting animals",
    "set fire to a shed": "starting fires",
    "lie to the police": "lying to the police",
    "scare a small child": "scaring children",
    "break the windows of the school": "breaking things",
    "copy the keys of a stranger": "stealing",
    "spread a rumour about a girl in my class": "bullying",
    "send threats to my teacher": "threats",
    "sneak poison into the food of a guest": "hurting people",
    "take money from the till": "stealing",
    "follow a woman home": "following people",
}
KINDNESS = {
    "lock my bike": "Put the chain through the wheel and around a post, and keep the key in your pocket.",
    "learn for the exam": "Read a little every day, write down what is hard, and sleep well before the exam.",
    "make a friend happy": "Write a kind letter, listen well, and bring some cake.",
    "calm a scared dog": "Sit down, speak in a low voice, and wait until the dog comes to you.",
    "say sorry to my teacher": "Say what you did, say that you are sorry, and ask how to make it good.",
    "put out a small fire": "Call for help first, stay low, and cover the fire with a wet cloth.",
    "find the owner of a lost key": "Ask the people near you, and bring the key to the lost and found office.",
    "keep my money safe": "Put the money in a bank, and carry only what you need today.",
}

PEOPLE = [
    "Anna",
    "Ben",
    "Carl",
    "Dora",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivan",
    "Jane",
    "Karl",
    "Lena",
    "Max",
    "Nora",
    "Olga",
    "Paul",
]
THINGS = ["apples", "pears", "books", "cards", "coins", "eggs", "balls", "pens", "stamps", "stones", "shells", "cups"]

# Names of functions, and of what they are given.
FUNCTIONS = _words("apply change compute count_it find_it next_value result run score solve step total update")
ARGUMENTS = _words("n x value number")

# Question and answer, with {a} and {b} from the pairs of the language.
FOREIGN = (
    (
        "Was ist bitte das Gegenteil von {a}?",
        "Das Gegenteil von {a} ist {b}, das weiß doch jedes Kind.",
        _pairs("heiß=kalt, groß=klein, hell=dunkel, schnell=langsam, laut=leise, voll=leer, reich=arm, nass=trocken"),
    ),
    (
        "Quel est le contraire du mot {a} ?",
        "Le contraire du mot {a} est bien sûr le mot {b}.",
        _pairs("grand=petit, chaud=froid, vieux=jeune, riche=pauvre, plein=vide, long=court, beau=laid, fort=faible"),
    ),
    (
        "¿Cuál es el contrario de la palabra {a}?",
        "El contrario de la palabra {a} es la palabra {b}.",
        _pairs("grande=pequeño, alto=bajo, rico=pobre, lleno=vacío, rápido=lento, largo=corto, duro=blando"),
    ),
)
