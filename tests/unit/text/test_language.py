"""Language of a transcript."""

from __future__ import annotations

import pytest

from crnet.text.language import guess_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I have been thinking about what it is that you want to do with this.", "English"),
        ("Hola, me llamo Ana y quiero hablar de lo que es importante para mí en la vida.", "Spanish"),
        ("Bonjour, je suis très content de vous voir et je vais parler de la musique avec vous.", "French"),
        ("Hallo, ich bin die Anna und ich möchte euch heute etwas über das Leben auf dem Land erzählen.", "German"),
        ("Ciao, sono Marco e oggi parlo di come si fa la pasta che mi piace più di tutte.", "Italian"),
        ("Olá, eu sou a Maria e hoje vou falar sobre o que é mais importante para mim, muito obrigada.", "Portuguese"),
        ("Hallo, ik ben Jan en ik ga het vandaag hebben over wat er in de stad te doen is.", "Dutch"),
        ("Здравствуйте, меня зовут Анна", "Cyrillic script"),
        ("こんにちは、わたしはあんなです", "Hiragana script"),
        ("bin blue at f two now", None),
        ("", None),
        ("12 34 !!", None),
        ("zzz yyy xxx www vvv uuu ttt sss rrr", None),
    ],
)
def test_language_follows_from_common_words(text: str, language: str | None) -> None:
    assert guess_language(text) == language
