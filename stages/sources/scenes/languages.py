"""The languages of captions and questions: the grammar is one, a language puts its phrases into words.

Choices are drawn before they are put into words, so a scene has the same statements in each language.
"""

from collections.abc import Sequence

from stages.sources.scenes.chinese import PHRASES


class English:
    """The phrases as the grammar has them."""

    def phrase(self, english: str) -> str:
        """Put a phrase, a template or an answer of the grammar into words."""
        return english

    def name(self, words: Sequence[str], form: str) -> str:
        """Name an object by its looks; `form` is `a`, `the`, or `plural`."""
        noun = " ".join(words)
        if form == "plural":
            return f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s"
        return with_article(noun) if form == "a" else f"the {noun}"

    def sentence(self, text: str) -> str:
        """Write a statement as a sentence."""
        return f"{text[0].upper()}{text[1:]}."

    def question(self, text: str) -> str:
        """Write a question as a sentence."""
        return f"{text[0].upper()}{text[1:]}?"


class Chinese(English):
    """The same in Chinese: no spaces, articles, plurals or capitals."""

    def phrase(self, english: str) -> str:
        """Look a phrase up."""
        return PHRASES[english]

    def name(self, words: Sequence[str], form: str) -> str:
        """Name an object by its looks."""
        return {"a": "一个", "the": "那个", "plural": ""}[form] + "".join(map(self.phrase, words))

    def sentence(self, text: str) -> str:
        """Write a statement as a sentence."""
        return f"{text}。"

    def question(self, text: str) -> str:
        """Write a question as a sentence."""
        return f"{text}？"


LANGUAGES = {"en": English(), "zh": Chinese()}


def with_article(name: str) -> str:
    """Put "a" or "an" before a name."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
