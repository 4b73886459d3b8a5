"""The phrases that `gate.evidence.assurance` looks for in an answer, spelt as `gate.evidence.phrases` does.

In English, Spanish, French, German, Italian, Portuguese, Dutch, Russian, Chinese and Japanese.
"""

from __future__ import annotations

from gate.evidence.phrases import Phrases

UNKNOWING = Phrases(
    (
        # English
        "i don't know", "i do not know", "i dont know", "don't actually know", "don't really know", "i'm not sure",
        "i am not sure", "not sure about the answer", "i'm unsure", "i am unsure", "i'm not certain",
        "i am not certain", "i have no idea", "no idea", "i can't answer", "i cannot answer", "can't be answered",
        "cannot be answered", "unable to answer", "i can't say", "i cannot say", "can't determine", "cannot determine",
        "cannot be determined", "can't be determined", "unable to determine", "unable to find", "unable to verify",
        "unable to provide", "cannot provide", "can't provide", "cannot verify", "can't verify", "cannot confirm",
        "can't confirm", "not enough information", "insufficient information", "enough information to",
        "no information", "don't have information", "do not have information", "don't have any information",
        "do not have any information", "don't have access", "do not have access", "don't have enough",
        "do not have enough", "don't have specific", "do not have specific", "not aware of", "not familiar with",
        "could not find", "couldn't find", "does not mention", "do not mention", "doesn't mention", "don't mention",
        "does not specify", "is not specified", "not mentioned in", "is unknown", "it is not known", "answer unknown",
        "i don't remember", "i do not remember", "i don't recall", "i do not recall", "as an ai",
        # Spanish
        "no lo sé", "no sé", "no estoy seguro", "no estoy segura", "no tengo información", "no puedo responder",
        "no tengo idea", "se desconoce", "no se sabe",
        # French
        "je ne sais pas", "je l'ignore", "je ne suis pas sûr", "je ne suis pas sûre", "je ne suis pas certain",
        "je n'ai pas d'information", "je n'ai pas d'informations", "je ne peux pas répondre", "aucune idée",
        # German
        "ich weiß nicht", "ich weiß es nicht", "das weiß ich nicht", "weiß ich nicht", "bin mir nicht sicher",
        "ich bin nicht sicher", "keine ahnung", "keine information", "keine informationen", "kann ich nicht sagen",
        "kann nicht beantwortet werden", "kann ich nicht beantworten",
        # Italian, Portuguese and Dutch
        "non lo so", "non so", "non sono sicuro", "non sono sicura", "non ho informazioni", "não sei",
        "não tenho certeza", "não tenho informações", "não posso responder", "weet ik niet", "ik weet het niet",
        "ik weet niet", "niet zeker", "geen idee",
        # Russian
        "я не знаю", "не знаю", "не уверен", "не уверена", "нет информации", "не могу ответить",
        # Chinese and Japanese
        "我不知道", "不知道", "我不确定", "不确定", "不清楚", "无法回答", "无法确定", "没有信息", "沒有資訊", "不確定",
        "無法回答", "わかりません", "分かりません", "知りません", "不明です",
    ),
    unless=("don't know jack", "i don't know how to love him"),
)  # fmt: skip
"""What says that the answer is not known."""

HEDGES = Phrases(
    (
        # English
        "probably", "perhaps", "maybe", "possibly", "presumably", "supposedly", "apparently", "might", "may be",
        "may have", "could be", "could have been", "i think", "i believe", "i guess", "i suppose", "i assume",
        "i would say", "i'd say", "my best guess", "best guess", "it seems", "seems to", "appears to", "likely",
        "if i recall", "if i remember", "as far as i know", "to my knowledge", "to the best of my", "in my opinion",
        "it is possible", "it's possible", "not entirely", "not completely sure", "not 100", "uncertain", "unclear",
        "not clear", "i may be wrong", "i could be wrong", "something like", "or so", "fairly sure", "pretty sure",
        "please verify", "double check",
        # Spanish
        "quizás", "quizá", "tal vez", "probablemente", "posiblemente", "creo que", "supongo", "podría ser",
        "puede que", "parece que",
        # French
        "peut-être", "probablement", "sans doute", "je crois", "je pense", "il semble", "il se peut", "pourrait être",
        "possiblement",
        # German
        "vielleicht", "wahrscheinlich", "vermutlich", "möglicherweise", "eventuell", "ich glaube", "ich denke",
        "ich vermute", "könnte", "dürfte", "anscheinend", "scheint",
        # Italian, Portuguese and Dutch
        "forse", "probabilmente", "credo che", "penso che", "potrebbe", "talvez", "provavelmente", "acho que",
        "acredito que", "poderia ser", "misschien", "waarschijnlijk", "ik denk", "ik geloof", "mogelijk",
        # Russian
        "возможно", "вероятно", "наверное", "может быть", "я думаю", "кажется", "скорее всего",
        # Chinese and Japanese
        "可能", "也许", "也許", "大概", "或许", "或許", "我认为", "我認為", "我想", "似乎", "好像", "たぶん", "多分",
        "おそらく", "かもしれ", "と思います", "でしょう",
    )
)  # fmt: skip
"""What takes part of an answer back."""

BUT = Phrases(("but", "pero", "mais", "aber", "ma", "mas", "maar", "но", "但", "但是", "ですが", "けど"))
"""After which an answer comes that was not known."""

NO_ANSWERS = frozenset(
    ("unknown", "n a", "unsure", "not sure", "no answer", "unanswerable", "not known", "not available",
     "not applicable", "idk", "dont know", "don t know", "desconocido", "inconnu", "unbekannt", "sconosciuto",
     "desconhecido", "неизвестно", "未知", "不明")
)  # fmt: skip
"""Whole answers that give none ("N/A", but not "Na")."""
