"""What the drawn people say: sentences whose subjects, length and fillers follow the text cues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

SUBJECTS = ("social", "kind", "worry", "work", "ideas", "plain")
PLAIN_WEIGHT = 0.5  # sentences about nothing in particular are always among the others

# `{a|b}` is a choice. Every clause can stand alone or be joined to others.
CLAUSES: dict[str, tuple[str, ...]] = {
    "social": (
        "I {love|enjoy} going out with {my friends|a big crowd|the whole gang}",
        "we {danced|laughed|talked} all night at the {party|club|festival}",
        "{everybody|the whole street|half the town} came over to {our place|my birthday|the barbecue}",
        "I met {loads of|so many} {new people|fun strangers} at the {game|concert|party}",
        "{my friends|the girls|the guys} and I {meet|celebrate|go dancing} every weekend",
        "come and {join us|hang out with us|say hello to the gang}",
    ),
    "kind": (
        "I am so {grateful|thankful} for {your kindness|your lovely letters|all the support}",
        "{my mother|my sister|my neighbour} is the {sweetest|kindest|most caring} person",
        "please be {gentle|kind|patient} with {each other|your family|yourself}",
        "it {warms my heart|makes me happy} to {help|care for|hug} {someone|a child|my grandmother}",
        "thank you {dearly|so much} for {sharing|caring|listening}",
        "we {forgive|trust|comfort} each other and that is {beautiful|lovely|sweet}",
    ),
    "worry": (
        "I am {afraid|scared|worried} that {something|everything} goes wrong",
        "I {hate|dread} this {awful|terrible|horrible} {feeling|mess|trouble}",
        "I {could not sleep|was crying|panicked} because of the {stress|pain|fight}",
        "{nothing|nobody} {helps|listens} and I feel {sad|lost|alone}",
        "I get {nervous|anxious|upset} when {they stare|it is late|the phone rings}",
        "it was my {fault|worst mistake} and I feel {guilty|ashamed|terrible}",
    ),
    "work": (
        "I {finished|planned|organised} my {project|schedule|report} {before the deadline|on time|this morning}",
        "the {first|next} {step|task|goal} is to {measure|prepare|check} {the results|every detail|the budget}",
        "I {study|train|work} {every day|two hours daily} to {reach my goals|pass the exam|earn the degree}",
        "you need a {clear|careful} {plan|list|routine} and {discipline|practice|effort}",
        "our {team|company|office} {delivers|improves|completes} the {product|work|plan} step by step",
        "{always|first} {write it down|do your homework|keep your files in order}",
    ),
    "ideas": (
        "I {imagine|wonder about|dream of} {other worlds|strange colours|the stars}",
        "this {novel|painting|poem} {changed|opened} {my mind|how I see beauty}",
        "{art|music|philosophy} lets us {explore|discover|invent} {unknown|curious|wild} {ideas|places}",
        "what if {time|language|the universe} is only a {story|dream|metaphor}",
        "I {travelled|wandered} through {deserts|old temples|foreign cities} to {paint|think|learn}",
        "{creativity|imagination} is the most {fascinating|mysterious|original} thing",
    ),
    "plain": (
        "this is {the second part|my new video|a short update} of the {day|week|month}",
        "it is {Tuesday|cold outside|about noon} {today|here|right now}",
        "I {bought|found|tried} {a bag|some soap|a chair} at the {store|corner|market}",
        "{here|there} is the {box|table|camera} I told you about",
        "so that is what {happened|we had|I did} {yesterday|on Monday|last week}",
        "you can {see|find} the {link|number|list} below",
    ),
}
CLAUSE_WORDS = 8  # about as long as a clause with its joint is
JOINTS = ("and", "because", "so", "but", "and then", "while")
FILLERS = ("um", "uh", "like", "you know", "I mean", "well")

_CHOICE = re.compile(r"\{([^{}]*)\}")
_VOWELS = re.compile(r"[aeiouy]+")


def syllables(word: str) -> int:
    """How many syllables an English word has, by its vowel groups; at least 1."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    groups = len(_VOWELS.findall(letters))
    silent_e = letters.endswith("e") and not letters.endswith("le") and groups > 1
    return max(1, groups - silent_e)


def write_transcript(cues: Mapping[str, float], syllable_count: int, rng: np.random.Generator) -> str:
    """Write what a person says.

    Args:
        cues: Values of the text cues by name; others are ignored.
        syllable_count: Length to reach; the last sentence may be cut.
        rng: Source of randomness.

    Returns:
        Sentences with capital letters and full stops.
    """
    subjects = _subjects(cues, rng)
    sentences: list[str] = []
    said = 0
    while said < syllable_count:
        words = _sentence(subjects, cues["sentence_length"], rng)
        words = _with_fillers(words, cues["filler_rate"], rng)
        kept: list[str] = []
        for word in words:
            if said >= syllable_count:
                break
            kept.append(word)
            said += syllables(word)
        text = " ".join(kept)
        sentences.append(text[0].upper() + text[1:] + ".")
    return " ".join(sentences)


def _subjects(cues: Mapping[str, float], rng: np.random.Generator) -> Iterator[str]:
    """Subjects in the cues' proportions: each time the one that lags most behind its share."""
    share = np.array([PLAIN_WEIGHT if s == "plain" else cues[f"words_{s}"] for s in SUBJECTS])
    share /= share.sum()
    owed = rng.uniform(0.0, 0.5, len(SUBJECTS)) * share
    while True:
        owed += share
        chosen = int(owed.argmax())
        owed[chosen] -= 1.0
        yield SUBJECTS[chosen]


def _sentence(subjects: Iterator[str], length: float, rng: np.random.Generator) -> list[str]:
    """Clauses joined until the sentence has about `length` words."""
    words: list[str] = []
    while not words or len(words) + CLAUSE_WORDS / 2 < length:
        clauses = CLAUSES[next(subjects)]
        clause = _CHOICE.sub(lambda match: _one_of(match[1].split("|"), rng), _one_of(clauses, rng)).split()
        words += [*_one_of(JOINTS, rng).split(), *clause] if words else clause
    return words


def _one_of(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _with_fillers(words: list[str], rate: float, rng: np.random.Generator) -> list[str]:
    """Fillers at an even rate with a random start, so that a short text already shows the rate."""
    filled: list[str] = []
    owed = rng.random()
    for word in words:
        owed += rate
        if owed >= 1.0:
            owed -= 1.0
            filled += _one_of(FILLERS, rng).split()
        filled.append(word)
    return filled
