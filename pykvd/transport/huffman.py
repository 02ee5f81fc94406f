"""Huffman decoding of HPACK strings (RFC 7541 5.2 and Appendix B).

The code is canonical: sorted by (length, symbol) the code words count upwards, so the lengths
alone define it. Decoding goes byte by byte through an automaton whose states are the inner nodes
of the code tree. A state is a dict from input byte to (text, next state) that fills itself when a
byte is met for the first time, so that import costs nothing and the loop is one lookup a byte. All
states together are bounded (256 x 256 entries).
"""

from __future__ import annotations

_END_OF_STRING = 256
_MAX_PADDING_BITS = 7

# Length in bits of the code word of each symbol 0..255 and of EOS.
_CODE_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b"
    "080606060505050606060606060607080f060c0a0d0607070707070707070707070707070707070707070707"
    "0807080d130d0e060f05060506050606060507070606060506070605050607070707070f0b0e0d1c14161414"
    "1616161716171717171718171818161718171717171516171617171816151416161717151716161815161717"
    "151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a"
    "1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)


class HuffmanError(ValueError):
    """The string holds EOS or ends in bits that are not a prefix of EOS."""


class _State(dict[int, tuple[str, "_State"]]):
    """One automaton state: input byte -> (decoded text, next state)."""

    __slots__ = ("accepting", "node")

    def __init__(self, node: _Node) -> None:
        self.node = node
        self.accepting = node.ones_depth <= _MAX_PADDING_BITS

    def __missing__(self, byte: int) -> tuple[str, _State]:
        node = self.node
        text = ""
        for shift in range(7, -1, -1):
            step = node.children[byte >> shift & 1]
            if isinstance(step, int):
                if step == _END_OF_STRING:
                    raise HuffmanError("EOS in a Huffman-coded string")
                text += chr(step)
                node = _ROOT
            else:
                assert step is not None
                node = step
        self[byte] = entry = (text, node.state())
        return entry


class _Node:
    """An inner node of the code tree; a child is another node or a symbol."""

    __slots__ = ("_state", "children", "ones_depth")

    def __init__(self, ones_depth: int) -> None:
        self.children: list[_Node | int | None] = [None, None]
        # Depth when the path here is all ones (a valid padding), else more than any padding.
        self.ones_depth = ones_depth
        self._state: _State | None = None

    def state(self) -> _State:
        """The automaton state that stands at this node."""
        if self._state is None:
            self._state = _State(self)
        return self._state


def _build_tree() -> _Node:
    root = _Node(0)
    code = previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_CODE_LENGTHS)):
        code <<= length - previous
        previous = length
        node = root
        for shift in range(length - 1, 0, -1):
            bit = code >> shift & 1
            child = node.children[bit]
            if child is None:
                depth = node.ones_depth + 1 if bit else _MAX_PADDING_BITS + 1
                child = node.children[bit] = _Node(depth)
            assert isinstance(child, _Node)
            node = child
        node.children[code & 1] = symbol
        code += 1
    return root


_ROOT = _build_tree()
_START = _ROOT.state()


def decode(data: bytes) -> str:
    """The text (one character an octet) of a Huffman-coded string.

    Raises:
        HuffmanError: padding longer than seven bits or not all ones, or EOS inside (RFC 7541 5.2).

    """
    state = _START
    text = ""
    for byte in data:
        piece, state = state[byte]
        text += piece
    if not state.accepting:
        raise HuffmanError("bad padding of a Huffman-coded string")
    return text
