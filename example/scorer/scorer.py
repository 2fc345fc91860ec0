"""Scores texts by how many of a language's commonest words they have. The words are read once."""
import re
import time

from redcall_process import Error, progress

COMMON = {
    "en": set("the of and to in is that it for was on with as be this".split()),
    "de": set("der die das und in zu den ist nicht mit von es ein auf".split()),
}
time.sleep(0.2)  # as a model that takes its time to load: each job after the first finds it there


def score(text, language="en"):
    """How much of `text` is common words, from 0 to 1."""
    if language not in COMMON:
        raise Error(f"no words of `{language}`; there are {', '.join(COMMON)}", -32006)
    words = re.findall(r"\w+", text.lower())
    return {"score": sum(word in COMMON[language] for word in words) / max(len(words), 1)}


def guess(texts):
    """The likeliest language of each text, one after the other."""
    for at, text in enumerate(texts):
        scores = {language: score(text, language)["score"] for language in COMMON}
        progress({"at": at, "language": max(scores, key=scores.get)}, "chunk")
    return len(texts)
