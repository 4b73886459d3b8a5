"""The language of short texts: right for questions in fifteen languages, and silent rather than wrong about others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.routes.language import language_of
from gate.routes.wording import wordings

QUESTIONS = {
    "en": (
        "Where is Springfield?",
        "Who won?",
        "How old is the pope?",
        "Where is 東京?",
        "WHAT IS THE CAPITAL OF PERU",
    ),
    "de": ("Wo liegt Springfield?", "Wie viele Menschen leben in Lagos?", "Wer hat gewonnen?", "Wo ist Lagos"),
    "fr": ("Où se trouve Springfield ?", "Quelle est la capitale du Nigeria ?", "Qui a gagné ?"),
    "es": ("¿Dónde está Springfield?", "¿Llueve en Roma?", "cuando terminó la guerra"),
    "it": ("Dove si trova Springfield?", "Qual è la capitale della Nigeria?", "Chi ha vinto?"),
    "pt": ("Onde fica Springfield?", "Quantos anos tem o papa?", "Quem ganhou?"),
    "nl": ("Waar ligt Springfield?", "Wie schreef Faust?", "Regent het in Rome?"),
    "pl": ("Gdzie leży Springfield?", "Kto wygrał?", "Ile lat ma papież?"),
    "ru": ("Где находится Спрингфилд?", "Кто написал «Фауста»?"),
    "tr": ("Springfield nerede?", "Lagos'ta kaç kişi yaşıyor?", "Kim kazandı?"),
    "ar": ("أين تقع سبرينغفيلد؟", "من كتب فاوست؟"),
    "hi": ("स्प्रिंगफील्ड कहाँ है?",),
    "zh": ("斯普林菲尔德在哪里？", "尼日利亚的首都是哪里？"),
    "ja": ("スプリングフィールドはどこですか？", "東京の人口は？"),
    "ko": ("스프링필드는 어디에 있나요?",),
}


def test_there_is_a_wording_in_every_language_that_is_told() -> None:
    assert set(QUESTIONS) == set(wordings())


@pytest.mark.parametrize(("language", "text"), [(name, text) for name, texts in QUESTIONS.items() for text in texts])
def test_the_language_of_a_question_is_told(language: str, text: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    "text", ["", " ", "Lagos?", "12", "Milloin sota päättyi?", "Springfield کجاست؟", "Де знаходиться Київ?", "🦁"]
)
def test_what_cannot_be_told_is_not_guessed(text: str) -> None:
    assert language_of(text) is None


OTHERS = {
    "Swedish": ("Var ligger Oslo?", "Vem skrev Faust?", "Vad är huvudstaden i Peru?", "Hur många bor i Lagos?"),
    "Norwegian": ("Hvor er Oslo?", "Hvem skrev Faust?", "Hva er hovedstaden i Peru?", "Når døde Mozart?"),
    "Danish": ("Hvor ligger Oslo?", "Hvad er hovedstaden i Peru?", "Hvornår døde Mozart?", "Hvem er præsident i USA?"),
    "Finnish": ("Missä on Oslo?", "Kuka kirjoitti Faustin?", "Mikä on Perun pääkaupunki?"),
    "Estonian": ("Kus on Oslo?", "Kes kirjutas Fausti?"),
    "Czech": ("Kde je Oslo?", "Kdo napsal Fausta?", "Jaké je hlavní město Peru?", "Co je to demokracie?"),
    "Slovak": ("Kde leží Oslo?", "Kto napísal Fausta?", "Kto je prezident USA?"),
    "Croatian": ("Gdje je Oslo?", "Tko je napisao Fausta?", "Koji je glavni grad Perua?"),
    "Hungarian": ("Hol van Budapest?", "Ki írta a Faustot?", "Mi Peru fővárosa?", "Mi a neve?"),
    "Romanian": ("Unde este Oslo?", "Cine a scris Faust?", "Care este capitala României?", "Cum se numește râul?"),
    "Catalan": ("On és Oslo?", "Quina és la capital de Perú?"),
    "Vietnamese": ("Oslo ở đâu?", "Ai là tổng thống Mỹ?"),
    "Indonesian": ("Di mana letak Oslo?", "Siapa yang menulis Faust?"),
    "Lithuanian": ("Kur yra Oslas?",),
    "Greek": ("Πού βρίσκεται το Όσλο;", "Ποιος έγραψε το De Profundis;", "Ποιος σκηνοθέτησε το La La Land;"),
    "Hebrew": ("איפה נמצאת אוסלו?", "מי כתב את The Who?"),
    "Thai": ("ออสโลอยู่ที่ไหน",),
    "Bulgarian": ("Къде се намира Осло?", "Кой е написал Фауст?"),
    "Serbian": ("Где се налази Њујорк?", "Ко је написао Фауста?"),
    "Marathi": ("ओस्लो कुठे आहे?",),
}


@pytest.mark.parametrize(("language", "text"), [(name, text) for name, texts in OTHERS.items() for text in texts])
def test_a_language_without_texts_is_not_taken_for_another(language: str, text: str) -> None:
    assert language_of(text) is None, language


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("tr", "Lagos'ta kaç ülke var?"),
        ("tr", "Oslo nerede var?"),
        ("nl", "Waar is er water?"),
        ("nl", "Wie is de koning van Nederland?"),
        ("pl", "Kto jest prezydentem USA?"),
        ("pl", "Co to jest demokracja?"),
        ("en", "Who was on Apollo 11?"),
        ("en", "How far is it to Malmø?"),
        ("fr", "Où est Tromsø ?"),
        ("fr", "Qui a écrit Faust ?"),
        ("es", "¿Cuál es la capital de Perú?"),
        ("it", "Chi ha scritto la Divina Commedia?"),
        ("pt", "Qual é a capital do Peru?"),
        ("de", "Wo liegt Århus?"),
        ("ru", "Какая столица у Перу?"),
        ("hi", "दिल्ली में क्या है?"),
    ],
)
def test_words_that_such_a_language_shares_do_not_hide_one_with_texts(language: str, text: str) -> None:
    assert language_of(text) == language


@given(st.text())
def test_any_text_has_one_of_the_languages_or_none(text: str) -> None:
    assert language_of(text) in {*QUESTIONS, None}
