"""Write transcripts of synthetic people, whose subjects, sentence length and fillers follow the text cues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

SUBJECTS = ("social", "kind", "worry", "work", "ideas", "plain")
PLAIN_WEIGHT = 0.5  # weight of sentences about nothing in particular

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
CLAUSE_WORDS = 8  # typical length of a clause with its conjunction
CONJUNCTIONS = ("and", "because", "so", "but", "and then", "while")
FILLERS = ("um", "uh", "like", "you know", "I mean", "well")

_CHOICE = re.compile(r"\{([^{}]*)\}")
_VOWELS = re.compile(r"[aeiouy]+")


def count_syllables(word: str) -> int:
    """Return the number of syllables of an English word, at least 1, from its vowel groups."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    groups = len(_VOWELS.findall(letters))
    silent_e = letters.endswith("e") and not letters.endswith("le") and groups > 1
    return max(1, groups - silent_e)


def write_transcript(cues: Mapping[str, float], syllable_count: int, rng: np.random.Generator) -> str:
    """Write a transcript.

    Args:
        cues: Values of the text cues by name; others are ignored.
        syllable_count: Number of syllables to reach; the last sentence may be cut short.
        rng: Source of randomness.

    Returns:
        Sentences with capital letters and full stops.
    """
    subjects = _subjects(cues, rng)
    sentences: list[str] = []
    syllables = 0
    while syllables < syllable_count:
        words = _sentence(subjects, cues["sentence_length"], rng)
        words = _insert_fillers(words, cues["filler_rate"], rng)
        sentence: list[str] = []
        for word in words:
            if syllables >= syllable_count:
                break
            sentence.append(word)
            syllables += count_syllables(word)
        text = " ".join(sentence)
        sentences.append(text[0].upper() + text[1:] + ".")
    return " ".join(sentences)


def _subjects(cues: Mapping[str, float], rng: np.random.Generator) -> Iterator[str]:
    """Yield subjects in the proportions of the cues: each time the one that lags most behind its share."""
    share = np.array([PLAIN_WEIGHT if s == "plain" else cues[f"words_{s}"] for s in SUBJECTS])
    share /= share.sum()
    owed = rng.uniform(0.0, 0.5, len(SUBJECTS)) * share
    while True:
        owed += share
        index = int(owed.argmax())
        owed[index] -= 1.0
        yield SUBJECTS[index]


def _sentence(subjects: Iterator[str], length: float, rng: np.random.Generator) -> list[str]:
    """Join clauses until the sentence has about `length` words."""
    words: list[str] = []
    while not words or len(words) + CLAUSE_WORDS / 2 < length:
        clauses = CLAUSES[next(subjects)]
        clause = _CHOICE.sub(lambda match: _choose(match[1].split("|"), rng), _choose(clauses, rng)).split()
        words += [*_choose(CONJUNCTIONS, rng).split(), *clause] if words else clause
    return words


def _choose(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _insert_fillers(words: list[str], rate: float, rng: np.random.Generator) -> list[str]:
    """Insert fillers at an even rate with a random start, so that even a short text shows the rate."""
    filled: list[str] = []
    owed = rng.random()
    for word in words:
        owed += rate
        if owed >= 1.0:
            owed -= 1.0
            filled += _choose(FILLERS, rng).split()
        filled.append(word)
    return filled
