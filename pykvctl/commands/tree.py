"""tree: keys as a tree, with counts and sizes."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from pykvctl.errors import BadArgumentsError
from pykvctl.gotext.numbers import human_bytes
from pykvctl.gotext.quoting import quote
from pykvctl.options.command import command, flag
from pykvctl.options.values import INT
from pykvctl.output.json import base64
from pykvctl.paging import Pages
from pykvctl.ranges import key_range
from pykvctl.session import Session
from pykvctl.terminal import present
from pykvd.pb import kv_pb2 as kvpb

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

SEPARATOR = b"/"


@dataclass
class Node:
    """A key, or what keys have in common up to a slash, which then ends `path`.

    `size` is the bytes of keys and values below.
    """

    path: bytes
    keys: int = 0
    size: int = 0
    children: dict[bytes, "Node"] = field(default_factory=dict)

    def add(self, pair: kvpb.KeyValue) -> None:
        """Hang a pair of the tree below this node."""
        node, size = self, len(pair.key) + len(pair.value)
        node.keys, node.size = node.keys + 1, node.size + size
        for path in _steps(pair.key, len(self.path)):
            node = node.children.setdefault(path, Node(path))
            node.keys, node.size = node.keys + 1, node.size + size

    def walk(self, depth: int) -> Iterator["Node"]:
        """The node and those below, down to `depth` levels; below 0 to all."""
        yield self
        if depth:
            for child in self.children.values():
                yield from child.walk(depth - 1)


def _steps(key: bytes, start: int) -> Iterator[bytes]:
    """The beginnings of a key up to each slash behind `start`, then the key."""
    position = key.find(SEPARATOR, start)
    while 0 <= position < len(key) - 1:
        yield key[: position + 1]
        position = key.find(SEPARATOR, position + 1)
    yield key


def build(prefix: bytes, pairs: Iterable[kvpb.KeyValue]) -> Node:
    """The tree of pairs whose keys begin with `prefix`."""
    root = Node(prefix)
    for pair in pairs:
        root.add(pair)
    return root


@command(
    "tree",
    usage="tree [options] [prefix]",
    short_help="Shows keys as a tree with counts and sizes",
    help="One line a name: path, keys, bytes of keys and values. A path that others lie below\n"
    "ends with a slash.",
)
@flag("--depth", type=INT, default=0, help="Levels to show (0: all)")
@click.pass_obj
def tree(session: Session, args: list[str], depth: int) -> None:
    """Print all keys with a prefix as a tree."""
    if len(args) > 1:
        raise BadArgumentsError("tree command needs at most one argument as prefix")
    prefix = os.fsencode(args[0]) if args else b""
    pages = Pages(session.client, key_range(prefix, prefix=True), session.timeout_s)
    root = build(prefix, pages)
    levels = depth if depth > 0 else -1
    present(
        session,
        lines=lambda: (
            f"{quote(node.path)}\t{node.keys}\t{node.size}" for node in root.walk(levels)
        ),
        value=lambda: _value(root, levels),
        draw=lambda console: _draw(console, root, levels),
    )


def _value(node: Node, levels: int) -> object:
    children = [_value(child, levels - 1) for child in node.children.values()] if levels else []
    return {
        "path": base64(node.path),
        "keys": node.keys,
        "bytes": node.size,
        **({"children": children} if children else {}),
    }


def _draw(console: "Console", root: Node, levels: int) -> None:
    from rich.text import Text  # noqa: PLC0415
    from rich.tree import Tree  # noqa: PLC0415

    def label(node: Node, name: bytes) -> Text:
        size = human_bytes(node.size)
        count = "1 key" if node.keys == 1 else f"{node.keys} keys"
        text = f"  {count}, {size}" if node.children else f"  {size}"
        style = "bold blue" if node.children else ""
        return Text.assemble((quote(name)[1:-1], style), (text, "dim"))

    def hang(drawn: "Tree", node: Node, levels: int) -> None:
        if levels:
            for child in node.children.values():
                name = child.path.removeprefix(node.path)
                hang(drawn.add(label(child, name)), child, levels - 1)

    drawn = Tree(label(root, root.path or b"all keys"), guide_style="dim")
    hang(drawn, root, levels)
    console.print(drawn, soft_wrap=True)
