"""Text from others, before it becomes part of a unit, a log line, a table or a topic.

A file name, a label or a value of a configuration may hold a line break, a terminal's
escape sequence or a character that turns the direction of the text. Where a value must
be right, such text is refused; where it is only shown, it is escaped.
"""

from __future__ import annotations

# Unicode categories: control, format (such as U+202E), surrogate (bytes that are no
# UTF-8), line and paragraph separator.
_CONTROL = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))
# Format characters that words are written with: the joiners of Persian, Kurdish, Indic
# scripts and emoji, the soft hyphen, and the signs around numbers and verses.
_OF_WORDS = frozenset(
    "\u200c\u200d\u00ad\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891"
    "\u08e2\U000110bd\U000110cd"
)


def has_control(text: str) -> bool:
    """Returns whether a text has characters that control instead of showing."""
    if text.isascii() and text.isprintable():
        return False
    from unicodedata import category  # here: seldom needed

    return any(
        category(character) in _CONTROL and character not in _OF_WORDS
        for character in text
    )


def refuse_control(text: str, what: str, error: type[Exception]) -> str:
    """Returns the text if all of it shows.

    Args:
        text: From a user, a file or the network.
        what: Its name in the message, such as ``"a path"``.
        error: What is raised.

    Raises:
        Exception: ``error``, if a control character is in the text.
    """
    if has_control(text):
        raise error(
            f"expected {what} without line breaks and other control characters, got"
            f" {text[:200]!a}"
        )
    return text


def one_line(text: str) -> str:
    r"""Returns a text with control characters escaped, as ``\n`` or ``\x1b``."""
    if not has_control(text):
        return text
    return "".join(
        ascii(character)[1:-1] if has_control(character) else character
        for character in text
    )
