"""The language a text is written in, for texts as short as a question: its script, and else its small words.

Fifteen languages are told apart. A text in the Latin script is taken for the language whose question words, articles,
prepositions and letters it holds most of; where two tie, or nothing speaks for any, it is not known. Nor is it where
most speaks for a language that gate has no texts in, such as Swedish or Czech: their commonest words count too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

_SEEN = 1000
_WORD = re.compile(r"[^\W\d_]+")
_SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff]")),  # before Han, in which Japanese is written too
    ("ko", re.compile(r"[\u1100-\u11ff\uac00-\ud7af]")),
    ("zh", re.compile(r"[\u3400-\u9fff]")),
    ("hi", re.compile(r"[\u0900-\u097f]")),
    ("ar", re.compile(r"[\u0600-\u06ff]")),
    ("ru", re.compile(r"[\u0400-\u04ff]")),
)
_OTHERS = {
    "ar": re.compile("[\u067e\u0686\u0698\u06af\u06a9\u06cc\u06ce\u06d5\u06c6\u067c\u0689\u069a]"),
    "hi": re.compile(r"\u0933|आहे|कुठे|(?<!\S)छ(?=[\s?।]|$)"),
    "ru": re.compile(
        r"[\u0402-\u040f\u0452-\u045f\u0490-\u04ff]|\b(?:къде|кой|коя|кое|кои|кога|какво|колко|защо|каде|каква|е)\b",
        re.IGNORECASE,
    ),
}
"""Letters and words by which languages there are no texts in show themselves: Persian, Urdu, Kurdish and Pashto;
Marathi and Nepali; Ukrainian, Belarusian, Serbian, Macedonian, Bulgarian and Kazakh."""
_LATIN = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u024f\u0300-\u036f\u1e00-\u1eff]")
_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "the of and to is are was were what where who when which how why does did do many much can you "
        "whose has have in on for with that this it name from by old long there",
        "de": "der die das ein eine und ist sind war wo wer wann wie viel viele was welche welcher welches warum "
        "wem den dem des von im mit auf zu nicht liegt heißt gibt es hat für wurde aus bei alt ich menschen "
        "leben wohnen",
        "fr": "le la les un une et est sont où qui quand comment quel quelle quels quelles pourquoi combien de "
        "des du au aux en dans pour que se ce cette il elle je y a été sur avec l d qu",
        "es": "el la los las un una y es son está dónde donde quién quien cuándo cuando cómo como cuál cuáles qué "
        "que cuánto cuántos cuántas por de del al en para con se hay fue su tiene",
        "it": "il lo la gli un una e è sono dove chi quando come quale quali qual che cosa perché quanto quanti "
        "quante di del della dei in nel nella per con si trova ha fu c quanta sta persone vivono si",
        "pt": "o a os as um uma e é são onde quem quando como qual quais que quanto quantos quantas por de do da "
        "dos das em no na para com se foi fica há está tem não",
        "nl": "de het een en is zijn was waar wie wanneer hoe wat welke welk waarom hoeveel van in op met voor te "
        "niet er je ligt heet aan naar bij uit dit dat heeft werd schreef hoofdstad",
        "pl": "i jest są był gdzie kto kiedy jak jaka jaki jakie co który która które dlaczego ile ilu w na z do "
        "od czy się nie to leży po przez napisał",
        "tr": "ve bir bu ne nerede nerededir neresi kim kimdir zaman nasıl kaç hangi hangisi niçin neden mi mı mu "
        "mü için ile da de nedir var en çok",
    }.items()
}
_UNTOLD: Mapping[str, tuple[frozenset[str], str]] = {
    languages: (frozenset(words.split()), letters)
    for languages, letters, words in (
        (
            "Swedish, Norwegian, Danish, Icelandic",
            "åøæðþ",
            (
                "hvor hvem hva hvad hvilken hvilket hvilke hvorfor hvordan "
                "hvornår når var vem vad när hur vilken vilket "
                "vilka varför är er ligger och og inte ikke ej att det "
                "som på av til till från fra om för i har ett skrev "
                "bor heter hedder vart finns finnes ble blev mange många mycket hvar hver hvað hvenær"
            ),
        ),
        (
            "Finnish, Estonian",
            "",
            (
                "missä mikä kuka milloin miksi miten kuinka onko on "
                "ja mitä monta montako joka sijaitsee kenen mistä mihin "
                "oli ovat kus kes mis millal miks kuidas mitu"
            ),
        ),
        (
            "Czech, Slovak, Slovene, Croatian",
            "čšžěřůťďňľýđ",
            (
                "kde kdo kdy kto kedy jak ako jaký jaká jaké aký aká proč prečo kolik koľko který která které kterém "
                "kterého kterou ktorý ktorá je jsou sú byl bol bola byla "
                "není leží napsal napísal v ve co čo to na gdje "
                "gde tko ko kada koji koja koje što šta kako zašto koliko su bio kje kdaj zakaj kakšen"
            ),
        ),
        (
            "Hungarian",
            "őű",
            "hol ki mi mikor hogyan miért melyik mennyi hány az a egy és van volt milyen mit kit ez hogy honnan írta",
        ),
        ("Romanian", "țșţă", "unde este cine ce când cum care cât câți câte sunt și în la din a unui scris"),
        ("Catalan", "", "on és qui què quan quina quin quants quantes amb els les i la de va"),
        (
            "Vietnamese",
            "ơưạảấầậắặẻếềệỉịọỏốồộớờợụủứừựỳ",
            "ở đâu là gì ai của và có những bao nhiêu khi nào",
        ),
        ("Indonesian", "", "mana siapa apa kapan bagaimana mengapa berapa yang adalah dan dari ini itu ibu kota"),
        ("Lithuanian, Latvian", "ėųūāēīģķļņ", "kur kas kada kiek kaip kodėl yra ir cik kāpēc"),
        ("Albanian", "", "ku kush çfarë kur është në sa dhe"),
        ("Swahili", "", "wapi nani nini lini kwa ya wa gani"),
        ("Filipino", "", "saan sino ano kailan ang ng mga ay sa"),
    )
}
"""The commonest words of languages there are no texts in, and letters of theirs: no text is taken for another's."""
_LETTERS = {
    "de": "äöüß",
    "fr": "çœêèàùîôûë",
    "es": "ñ¿¡áíóú",
    "it": "òìùàè",
    "pt": "ãõçâêôáíóú",
    "pl": "ąćęłńśźżó",
    "tr": "ğışİçöü",
    "nl": "ĳë",
}
_OWN = {"ß": "de", "œ": "fr", "ñ": "es", "¿": "es", "¡": "es", "ã": "pt", "õ": "pt", "ł": "pl", "ą": "pl", "ę": "pl",
        "ś": "pl", "ż": "pl", "ź": "pl", "ğ": "tr", "ı": "tr", "ş": "tr", "İ": "tr"}  # fmt: skip
"""Letters and marks that one of the languages alone has."""
_OWN |= {letter: languages for languages, (_, letters) in _UNTOLD.items() for letter in letters}
_SHARED = {language: frozenset(letters) for language, letters in _LETTERS.items()}
_NONE: frozenset[str] = frozenset()
_SPOKEN: dict[str, tuple[str, ...]] = {}
"""The languages each word is of."""
for _language, _known in (*_WORDS.items(), *((name, known) for name, (known, _) in _UNTOLD.items())):
    for _word in _known:
        _SPOKEN[_word] = (*_SPOKEN.get(_word, ()), _language)


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of one of the fifteen languages; None where it cannot be told. Looks at 1000 characters."""
    seen = text[:_SEEN]
    if not seen.isascii():
        letters = sum(map(str.isalpha, seen))
        for language, script in _SCRIPTS:
            found = len(script.findall(seen))
            if found and (5 if language == "ja" else 2) * found >= letters:
                other = _OTHERS.get(language)
                return None if other and other.search(seen) else language
        if 2 * sum(letter.isalpha() for letter in _LATIN.findall(seen)) < letters:
            return None  # Greek, Hebrew, Thai and whatever else there are no texts in
    scores = _scores(seen)
    first, second = (*sorted(scores.values(), reverse=True), 0.0, 0.0)[:2]
    likeliest = max(scores, key=lambda language: scores[language], default="")
    return likeliest if first > second and likeliest in _WORDS else None


def _scores(text: str) -> Mapping[str, float]:
    """How much speaks for each language; of those for which nothing does, nothing."""
    folded = text.casefold()
    letters = {*text, *folded}
    found = Counter(language for word in _WORD.findall(folded) for language in _SPOKEN.get(word, ()))
    if not text.isascii():
        found.update(_OWN[letter] for letter in letters if letter in _OWN)
    # letters that several languages have say nothing by themselves
    return {language: count + 0.4 * len(letters & _SHARED.get(language, _NONE)) for language, count in found.items()}
