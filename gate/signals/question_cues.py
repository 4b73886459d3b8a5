"""The phrases that `gate.signals.question` looks for in a question. Words are spelt as `gate.evidence.phrases` does.

``TODAY`` and ``CHANGING`` are in English, Spanish, German, French, Portuguese, Italian and Chinese, the others in
English.
"""

from __future__ import annotations

from gate.evidence.phrases import Phrases

TODAY = Phrases(
    (
        # English
        "today", "tonight", "tomorrow", "yesterday", "now", "nowadays", "these days", "at the moment", "currently",
        "current", "latest", "most recent", "most recently", "newest", "up to date", "this morning", "this week",
        "this weekend", "this month", "this year", "this season", "last night", "last week", "last month", "last year",
        "next week", "next month", "next year", "breaking news", "in the news", "the weather", "weather in",
        "weather forecast", "temperature in", "stock price", "share price", "price of", "exchange rate", "live score",
        "the score of", "who is winning", "who won the game", "trending", "what time is it", "what day is it",
        "what date is it", "what year is it", "still alive", "open right now", "traffic on",
        # Spanish
        "hoy", "ahora", "mañana por", "ayer", "actualmente", "el actual", "la actual",
        "última noticia", "últimas noticias",
        "más reciente", "esta semana", "este mes", "este año", "esta temporada", "el tiempo en", "qué hora es",
        "precio de", "precio del", "cotización", "el clima en",
        # German
        "heute", "jetzt", "morgen früh", "gestern", "derzeit", "zurzeit", "momentan", "aktuell", "aktuelle",
        "aktueller", "aktuellen", "aktuelles", "neueste", "neuesten", "diese woche", "dieser woche", "diesen monat",
        "dieses jahr", "dieses jahres", "diese saison", "das wetter", "wie spät ist es", "aktienkurs", "wechselkurs",
        "preis von",
        # French
        "aujourd'hui", "maintenant", "en ce moment", "hier soir", "demain", "actuellement", "actuel", "actuelle",
        "le plus récent", "la plus récente", "dernières nouvelles", "cette semaine", "ce mois-ci", "cette année",
        "cette saison", "la météo", "quel temps fait-il", "quelle heure est-il", "le prix de", "le prix du",
        "taux de change",
        # Portuguese and Italian
        "hoje", "agora mesmo", "amanhã", "ontem", "atualmente", "este ano", "esta semana", "o preço de", "oggi",
        "adesso",
        "ieri", "domani", "attualmente", "attuale", "quest'anno", "questa settimana", "il prezzo di", "che ore sono",
        # Chinese
        "今天", "今日", "今晚", "明天", "昨天", "现在", "現在", "目前", "当前", "當前", "最新", "最近", "本周", "这周",
        "本月", "今年", "天气", "天氣", "股价", "股價", "汇率", "匯率", "价格", "價格", "比分", "几点",
    ),
    unless=(
        "direct current", "alternating current", "electric current", "electrical current", "ocean current",
        "current flows", "current through", "market price of", "weather window", "what is now", "now known as",
        "now called", "now part of", "at the time",
    ),
)  # fmt: skip
"""What can only be answered with facts of these days."""

CHANGING = Phrases(
    (
        "who is the president", "who is president", "who is the prime minister", "who is the chancellor",
        "who is the king", "who is the queen", "who is the pope", "who is the ceo", "who is the head of",
        "who is the mayor", "who is the governor", "who is the coach", "who is the captain", "who is the minister",
        "who is the leader of", "who is the owner of", "who owns", "who runs", "who holds the record", "world record",
        "how old is", "population of", "net worth", "the richest", "reigning", "defending champion", "who plays for",
        "how many followers", "how many subscribers", "how much does", "recent", "recently", "so far",
        "quién es el presidente", "quién es la presidenta", "quién es el rey", "cuántos años tiene", "la población de",
        "wer ist der präsident", "wer ist präsident", "wer ist bundeskanzler", "wer ist der bundeskanzler",
        "wie alt ist", "wie viele einwohner", "qui est le président", "qui est la présidente",
        "qui est le premier ministre", "quel âge a", "la population de", "quem é o presidente", "chi è il presidente",
        "总统是谁", "總統是誰", "谁是总统", "首相是谁", "主席是谁", "多少岁", "人口",
    )
)  # fmt: skip
"""What changes over months and years: holders of offices and records, ages, counts of people."""

FUTURE = Phrases(
    (
        "in the future", "the future of", "in 50 years", "in 100 years", "in a hundred years", "years from now",
        "years into the future", "will happen", "going to happen", "who will win", "when will", "will we ever",
        "will there ever", "will humans", "will humanity", "will people", "will the world", "will it ever", "will ai",
        "can we ever", "will we be able", "ever be possible", "ever be able", "someday", "one day", "predict",
        "end of the world", "what would happen", "what would have happened", "what will",
    ),
    unless=("used to predict", "predicted by"),
)  # fmt: skip
"""What has not happened yet, or did not."""

PHILOSOPHICAL = Phrases(
    (
        "meaning of life", "purpose of life", "purpose of our", "the meaning of existence", "why do we exist",
        "why are we here", "why does anything exist", "free will", "consciousness", "conscious", "afterlife",
        "after death", "after we die", "when we die", "after you die", "does god exist", "is there a god",
        "who created god", "god exist", "heaven", "reincarnation", "the soul", "a soul", "fate", "destiny",
        "is reality", "nature of reality", "is it possible to", "is it possible that", "how do we know",
        "how do you know", "how can we know", "how can we be sure", "is there such a thing", "the universe",
        "parallel universe", "multiverse", "is time travel", "travel back in time", "why is it that", "how come",
        "what if", "truly", "happiness", "true love", "is love", "what is love", "what is truth", "morally",
        "immortal", "infinite",
    )
)  # fmt: skip
"""What is argued about rather than known."""

OPINION = Phrases(
    (
        "do you think", "do you believe", "do you feel", "your opinion", "your favorite", "your favourite",
        "your thoughts", "would you rather", "if you could", "if you had to", "if you were", "would you like",
        "would you prefer", "would you ever", "would you be willing",
        "should i", "should we", "should people", "should there be", "should the", "is it better", "better than",
        "is it worth", "worth it", "is it right to", "is it wrong to", "is it ok", "is it okay", "is it ethical",
        "best", "worst", "greatest", "most beautiful", "most interesting", "most fun", "overrated", "underrated",
        "the coolest", "favorite", "favourite",
    ),
    unless=("best known", "best selling", "best picture", "best actor", "best actress", "best director", "at best"),
)  # fmt: skip
"""What depends on who is asked."""

PERSONAL = Phrases(
    (
        "am i",
        "do i",
        "did i",
        "will i",
        "can i",
        "why am i",
        "my life",
        "my wife",
        "my husband",
        "my boss",
        "my friend",
        "my friends",
        "my mother",
        "my father",
        "my mom",
        "my dad",
        "my son",
        "my daughter",
        "my dog",
        "my cat",
        "my name",
        "my house",
        "my car",
        "my phone",
        "my boyfriend",
        "my girlfriend",
        "about me",
        "are you",
        "do you",
        "have you",
        "did you",
        "can you feel",
        "your life",
        "your name",
    )
)
"""What only the asker, or nobody, knows of themselves."""

VAGUE = Phrases(
    (
        "best", "good", "better", "nice", "great", "cool", "cheap", "affordable", "famous", "popular", "important",
        "interesting", "some", "several", "a few", "a couple of", "near me", "nearby", "around here", "in my area",
        "simple", "easy", "healthy", "fun", "unique", "quick", "recent", "big", "soon", "a long time", "stuff",
        "things", "the one", "something", "someone", "somewhere", "anything",
    ),
    unless=("great britain", "best known", "best selling", "good friday", "great wall", "big bang", "big ben"),
)  # fmt: skip
"""Words whose measure lies with the asker."""

OPEN_ENDED = Phrases(
    (
        "give me", "suggest", "recommend", "tell me about", "tell me something", "ideas", "an idea", "list of",
        "name some", "name a few", "what are some", "write a", "write an", "write me", "describe a", "plan a",
        "create a", "make a", "come up with", "tips", "advice", "ways to", "how do i", "how can i", "how should i",
        "what should i", "help me", "how to", "itinerary", "brainstorm", "what kind of", "what type of",
    )
)  # fmt: skip
"""Requests that many different answers would meet."""

PRONOUNS = frozenset(
    "he she it they him her his hers its their theirs them this these those himself herself itself".split()  # noqa: SIM905
)
"""Words that stand for something said before."""

DUMMY = (
    " is it ", " does it take ", " did it take ", " it takes ", " does it mean ", " it is ", " it was ", " was it ",
    " does it cost ", " makes it ", " make it ", " time is it ",
)  # fmt: skip
"""Where "it" stands for nothing, as in "is it possible"."""
