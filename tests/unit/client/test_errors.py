"""Every text of the API has a class of its own."""

import pytest

from pykvd.client import errors
from pykvd.client.errors import BY_TEXT, EtcdError, from_status
from pykvd.client.retry import translate
from pykvd.client.transport import CallError
from pykvd.errors import Failure
from pykvd.status import Code

#: What our server words for itself, and no client has to tell apart.
_GENERIC = {Failure.UNKNOWN_METHOD}


@pytest.mark.parametrize("failure", [one for one in Failure if one not in _GENERIC])
def test_what_our_server_says_is_typed(failure: Failure) -> None:
    error = from_status(failure.code, failure.text)
    assert type(error).text == failure.text
    assert (error.code, error.message, str(error)) == (failure.code, failure.text, failure.text)


def test_texts_are_unique() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    texts = [kind.text for kind in kinds if issubclass(kind, EtcdError) and kind.text]
    assert len(texts) == len(set(texts)) > 60


@pytest.mark.parametrize("text", sorted(BY_TEXT))
def test_the_text_decides_whatever_the_code(text: str) -> None:
    """Errors inside of the lock service, and some others, arrive as Unknown."""
    assert type(from_status(Code.UNKNOWN, text)) is BY_TEXT[text]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.UNAVAILABLE, errors.Unavailable),
        (Code.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (Code.RESOURCE_EXHAUSTED, errors.ResourceExhausted),
        (Code.UNKNOWN, EtcdError),
        (99, EtcdError),
    ],
)
def test_other_texts_go_by_their_code(code: int, kind: type[EtcdError]) -> None:
    error = from_status(code, "anything")
    assert type(error) is kind
    assert error.code == code


def test_no_answer_is_a_timeout_and_a_lost_server() -> None:
    error = from_status(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
    assert isinstance(error, TimeoutError)
    assert isinstance(error, errors.Unavailable)


@pytest.mark.parametrize(
    ("failure", "repeatable", "uncertain"),
    [
        (CallError(Code.UNAVAILABLE, "lost"), False, True),
        (CallError(Code.UNAVAILABLE, "lost"), True, False),
        (CallError(Code.UNAVAILABLE, "lost", sent=False), False, False),
        (CallError(Code.DEADLINE_EXCEEDED, "late"), False, True),
        (CallError(Code.UNAVAILABLE, errors.RequestTimedOut.text), False, True),
        (CallError(Code.UNKNOWN, errors.TooManyRequests.text), False, False),
        (CallError(Code.INVALID_ARGUMENT, errors.DuplicateKey.text), False, False),
    ],
)
def test_errors_say_whether_it_may_have_happened(
    failure: CallError, repeatable: bool, uncertain: bool
) -> None:
    assert translate(failure, repeatable=repeatable).maybe_applied is uncertain
