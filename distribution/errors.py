"""Errors that the distribution layer raises, and the base that the whole stack shares.

    QkdError                      never raised itself
    +- ParameterError             you passed something impossible (names it, its value, the bound)
    +- TagFormatError             a tag file or stream is not what it says it is (offset given)
    +- ClockNotFound              the two recordings show no correlation: no pairs, or a wrong search range
    +- FeedError                  a tagger's live stream ended or could not be reached

`qkd.errors` adds the protocol and key-management branches. Every error may carry a `hint`: what to do next.
"""

from __future__ import annotations


class QkdError(Exception):
    """Base of everything this stack raises on purpose; never raised itself.

    Args:
        message: what went wrong, with the numbers.
        hint: what the user can do about it, or "" if the message says it.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ParameterError(QkdError, ValueError):
    """You passed something impossible; the message names it, its value and the bound."""


class TagFormatError(QkdError):
    """A tag file or stream is not what it says it is.

    Args:
        message: what is wrong.
        offset: byte offset of the first record that is wrong, or None when the whole is.
        hint: what to do next.
    """

    def __init__(self, message: str, *, offset: int | None = None, hint: str = "") -> None:
        super().__init__(message if offset is None else f"{message} (at byte {offset})", hint=hint)
        self.offset = offset


class ClockNotFound(QkdError):
    """No common offset stands out of the accidental background: the two streams share no visible pairs."""


class FeedError(QkdError):
    """A live tag stream could not be reached, broke off or spoke another protocol."""
