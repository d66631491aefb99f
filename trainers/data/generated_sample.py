"""Generate a small corpus of four tasks and two text sets from word lists. It is learnable and always the same."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from trainers.data.raw_rows import RawCorpus, RawSplit, RawTextSet, TextColumn
from trainers.seeds import numpy_generator
from trainers.tasks import TASKS

SIZES = {"train": 256, "dev": 128, "test": 128}
"""Number of rows in each split of each task."""
LINES = 256
"""Number of rows in each text set."""


def _items(text: str) -> list[str]:
    return text.split(", ")


SUPERB = _items("superb, masterful, brilliant, magnificent, wonderful, glorious")
GOOD = _items("pleasant, likeable, charming, amusing, engaging, touching")
BAD = _items("dull, uneven, forgettable, clumsy, bland, tired")
DREADFUL = _items("dreadful, unwatchable, insulting, horrible, worthless, hideous")
VERDICTS = [
    _items("{dreadful}, {dreadful}, {dreadful} and {bad}, utterly {bad}, not {good} at all"),
    _items("{bad}, {bad}, rather {bad}, not {good}, less than {good}"),
    _items("{good} but {bad}, {bad} yet {good}, neither {good} nor {bad}, neither {superb} nor {dreadful}"),
    _items("{good}, {good}, rather {good}, never {bad}, anything but {bad}"),
    _items("{superb}, {superb}, {superb} and {good}, utterly {good}, never {bad} and often {superb}"),
]
"""Templates of the five sentiment classes, the most negative first."""
SUBJECTS = _items(
    "the film, this comedy, the script, the acting, the last act, the direction, the story, this thriller, "
    "the dialogue, the whole picture, the music, the opening, this sequel, the camera work, the romance, the ending"
)
VERBS = _items("is, feels, seems, remains, turns out, proves")
FRAMES = _items(
    "{}, {} from start to finish, in spite of its budget {}, for a first feature {}, {} on a second viewing, "
    "{} even on a large screen, as a portrait of a marriage {}, {} for most of its two hours, "
    "next to the novel {}, to a viewer who knows the period {}, as the critics in Venice said {}"
)
FACTS = _items(
    "{subject} follows a {person} who moves to {town}, {subject} opens with a {person} on the way to {town}, "
    "{subject} was made in {town} with a {person} in the main part, {subject} is about a {person} from {town}"
)
PEOPLE = _items("teacher, young lawyer, retired boxer, nurse, widow, painter, detective, farmer, musician, soldier")
TOWNS = _items("Lisbon, a small town, Chicago, the coast, Berlin, a village in the north, Montreal, Kyoto, the desert")
OCCASIONS = _items(
    "I watched this with my brother last night, We rented it on a rainy weekend, My sister gave me the disc, "
    "I saw it at a festival years ago, A friend took me to the late show, It was on television after midnight, "
    "I had read the book before, We had no idea what to expect"
)
REVIEWS = _items(
    "{subject} {verb} {verdict} and {other} {verb} no better or worse, {subject} {verb} {verdict} if you ask me, "
    "although {other} {verb} {reverse} I found that {subject} {verb} {verdict}"
)

TOPICS = {
    "skill": _items("chess, French, Spanish, swimming, the piano, the violin, Python, photography, drawing, typing"),
    "place": _items("Paris, London, Rome, Tokyo, Vienna, Cairo, Lima, Oslo, Madrid, Boston, Delhi, Sydney"),
    "thing": _items("laptop, camera, phone, printer, bicycle, guitar, keyboard, television, coffee machine, heater"),
}
QUESTIONS = {
    "skill": [
        ("How do I learn {}?", "What is the best way to learn {}?", "How can I become good at {}?"),
        ("How long does it take to learn {}?", "How many months do I need for {}?", "Can I learn {} in a year?"),
        ("Is it worth learning {}?", "What are the benefits of {}?", "Why should I learn {}?"),
        ("How do I teach {} to a child?", "How can children be taught {}?", "How do kids best learn {}?"),
    ],
    "place": [
        ("What should I see in {}?", "Which sights in {} are worth a visit?", "In {}, what must I visit?"),
        ("What is the cheapest way to get to {}?", "How can I travel to {} cheaply?", "Are there cheap trips to {}?"),
        ("What is it like to live in {}?", "How is everyday life in {}?", "Is {} a good place to live?"),
        ("When should I visit {}?", "Which month is best for a trip to {}?", "What is the best season to see {}?"),
    ],
    "thing": [
        ("Which {} should I buy?", "What is the best {} on the market?", "Can you recommend a good {}?"),
        ("How do I repair a {}?", "My {} is broken, what can I do?", "What is the way to fix a faulty {}?"),
        ("Where can I sell my old {}?", "How do I get money for a used {}?", "Who buys a second hand {}?"),
        ("How does a {} work?", "What is inside a {} that makes it run?", "Who can explain how a {} works?"),
    ],
}
"""Kind of topic -> questions, each as a tuple of paraphrases."""

SCENE = [
    (
        1.4,
        "a man/a guy, a woman/a lady, a child/a kid, a dog/a puppy, an officer/a policeman, a singer/a vocalist, "
        "a doctor/a physician, a cook/a chef, a student/a pupil, a sailor/a seaman",
    ),
    (
        1.4,
        "is carrying/is lifting, is cleaning/is washing, is throwing/is tossing, is fixing/is repairing, "
        "is watching/is looking at, is selling/is offering, is hiding/is concealing, is drawing/is sketching",
    ),
    (
        1.4,
        "a bicycle/a bike, a sofa/a couch, a car/an automobile, a picture/a photo, a rock/a stone, a jacket/a coat, "
        "a rug/a carpet, a phone/a telephone, a little boat/a small boat, a cup/a mug",
    ),
    (
        0.8,
        "in the street/on the road, at home/in the house, in the woods/in the forest, by the sea/at the beach, "
        "in a shop/in a store, in the yard/in the garden, near the station/by the station",
    ),
]
"""Parts of a sentence: the similarity that a different meaning costs, and the meanings, each a pair of synonyms."""

Texts = tuple[str, ...]
Choice = TypeVar("Choice")


def sample_corpus() -> RawCorpus:
    """Generate the corpus. No row occurs twice in a task, and no text set contains a text of a dev or test split."""
    splits = {task: _splits(task, generate) for task, generate in GENERATORS.items()}
    held_out = [split for parts in splits.values() for name, split in parts.items() if name != "train"]
    held_out_texts = {text for split in held_out for side in split.texts for text in side}
    texts = {name: _text_set(name, generate, held_out_texts) for name, generate in TEXT_SETS.items()}
    return RawCorpus({task: TASKS[task] for task in splits}, splits, texts)


def sentiment(draw: np.random.Generator, number: int) -> tuple[Texts, float]:
    """Write a sentence about a film, of the five classes in turn; one label in ten is that of a neighbouring class."""
    true_class = number % 5
    label = true_class if draw.random() < 0.9 else min(4, max(0, true_class + _pick(draw, [-1, 1])))
    subject = _pick(draw, SUBJECTS)
    if true_class == 2 and draw.random() < 0.4:
        fact = _pick(draw, FACTS).format(subject=subject, person=_pick(draw, PEOPLE), town=_pick(draw, TOWNS))
        return (f"{fact} .",), label
    clause = f"{subject} {_pick(draw, VERBS)} {_verdict(draw, true_class)}"
    return (f"{_pick(draw, FRAMES).format(clause)} .",), label


def review(draw: np.random.Generator, number: int) -> tuple[Texts, float]:
    """Write two sentences; the second praises or criticises a film and may mention the opposite opinion first."""
    label = number % 2
    subject, other = _two(draw, SUBJECTS)
    against, favour = (_verdict(draw, int(side + draw.integers(2))) for side in (0, 3))
    verdict, reverse = (favour, against) if label else (against, favour)
    body = _pick(draw, REVIEWS).format(
        subject=subject, other=other, verb=_pick(draw, VERBS), verdict=verdict, reverse=reverse
    )
    return (f"{_pick(draw, OCCASIONS)} . {body[0].upper()}{body[1:]} .",), label


def questions(draw: np.random.Generator, number: int) -> tuple[Texts, float]:
    """Write two paraphrases of a question in two of five rows, else two similar questions with different meanings."""
    label = number % 5 < 2
    kind = _pick(draw, list(TOPICS))
    topic, other_topic = _two(draw, TOPICS[kind])
    paraphrases, other_question = _two(draw, QUESTIONS[kind])
    first, second = _two(draw, paraphrases)
    if label:
        return (first.format(topic), second.format(topic)), label
    near_misses = [first.format(other_topic), second.format(other_topic), _pick(draw, other_question).format(topic)]
    return (first.format(topic), _pick(draw, near_misses)), label


def similarity(draw: np.random.Generator, number: int) -> tuple[Texts, float]:
    """Describe a scene twice. Parts with another meaning lower the label, synonyms by 0.2; noise is up to 0.2."""
    changed = draw.permutation(len(SCENE))[: number % (len(SCENE) + 1)]
    first, second, label = [], [], 5.0
    for place, (points, meanings) in enumerate(SCENE):
        synonyms, others = (meaning.split("/") for meaning in _two(draw, _items(meanings)))
        first.append(_pick(draw, synonyms))
        second.append(_pick(draw, others if place in changed else synonyms))
        if first[-1] != second[-1]:
            label -= points if place in changed else 0.2
    label = min(5.0, max(0.0, label + draw.integers(-2, 3) / 10))
    return (f"{' '.join(first)}.", f"{' '.join(second)}."), round(label, 1)


def films(draw: np.random.Generator, number: int) -> Texts:
    """Write about a film as `sentiment` and `review` do, in turn."""
    texts, _ = (sentiment, review)[number % 2](draw, number // 2)
    return texts


def contrasts(draw: np.random.Generator, number: int) -> Texts:
    """Describe a scene, the same scene in synonyms, and a different scene that shares parts with it."""
    changed = draw.permutation(len(SCENE))[: 1 + number % len(SCENE)]
    parts: list[Texts] = []
    for place, (_, meanings) in enumerate(SCENE):
        synonyms, others = (meaning.split("/") for meaning in _two(draw, _items(meanings)))
        parts.append((*_two(draw, synonyms), _pick(draw, others if place in changed else synonyms)))
    return tuple(f"{' '.join(words)}." for words in zip(*parts, strict=True))


Generate = Callable[[np.random.Generator, int], tuple[Texts, float]]
"""(generator, row number) -> texts and label of a row."""
GENERATORS: dict[str, Generate] = {"sst": sentiment, "qqp": questions, "sts": similarity, "cfimdb": review}
TEXT_SETS: dict[str, Callable[[np.random.Generator, int], Texts]] = {"imdb": films, "snli": contrasts}
"""Text set -> its generator. The names are those of the text sets in the reports."""


def _splits(task: str, generate: Generate) -> dict[str, RawSplit]:
    draw, seen = numpy_generator(0, "sample", task), set[Texts]()
    return {split: _split(f"{task} {split}", size, partial(generate, draw), seen) for split, size in SIZES.items()}


def _split(name: str, size: int, generate: Callable[[int], tuple[Texts, float]], seen: set[Texts]) -> RawSplit:
    """Generate rows whose texts are not in `seen`; add the new texts to `seen`."""
    rows: list[tuple[Texts, float]] = []
    while len(rows) < size:
        texts, label = generate(len(rows))
        if texts not in seen:
            seen.add(texts)
            rows.append((texts, label))
    texts = tuple(TextColumn(side) for side in zip(*(texts for texts, _ in rows), strict=True))
    ids = TextColumn(_identifier(f"{name} {number}") for number in range(size))
    return RawSplit(ids, texts, np.array([label for _, label in rows], np.float32))


def _text_set(name: str, generate: Callable[[np.random.Generator, int], Texts], held_out_texts: set[str]) -> RawTextSet:
    """Generate different rows that contain none of the held-out texts."""
    draw, rows = numpy_generator(0, "sample", name), dict[Texts, None]()
    while len(rows) < LINES:
        texts = generate(draw, len(rows))
        if held_out_texts.isdisjoint(texts):
            rows[texts] = None
    return RawTextSet(tuple(TextColumn(side) for side in zip(*rows, strict=True)))


def _identifier(row: str) -> str:
    """Return an id of 25 characters, the length of the course's ids."""
    return hashlib.blake2b(row.encode()).hexdigest()[:25]


def _verdict(draw: np.random.Generator, label: int) -> str:
    """Fill a template of a sentiment class."""
    good, bad, superb, dreadful = (_pick(draw, words) for words in (GOOD, BAD, SUPERB, DREADFUL))
    return _pick(draw, VERDICTS[label]).format(good=good, bad=bad, superb=superb, dreadful=dreadful)


def _pick(draw: np.random.Generator, choices: Sequence[Choice]) -> Choice:
    return choices[int(draw.integers(len(choices)))]


def _two(draw: np.random.Generator, choices: Sequence[Choice]) -> tuple[Choice, Choice]:
    """Draw two different choices."""
    first, second = draw.permutation(len(choices))[:2].tolist()
    return choices[first], choices[second]
