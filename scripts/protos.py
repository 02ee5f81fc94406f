"""Generate `pykvd/pb` from `protos/` with grpcio-tools.

`python scripts/protos.py [OUT]`: OUT defaults to the package's own folder; the staleness test
passes a temporary one. The generated modules are moved to a descriptor pool of their own and to
package-relative imports; nothing else is changed.
"""

import re
import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
DEFAULT_POOL = "_descriptor_pool.Default()"
POOL_IMPORT = "from google.protobuf import descriptor_pool as _descriptor_pool"


def generate(out: Path) -> None:
    """Write `*_pb2.py` and `*_pb2.pyi` of every file in `protos/` to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in PROTOS.glob("*.proto"))
    include = Path(grpc_tools.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{PROTOS}", f"-I{include}", f"--python_out={out}"]
    if protoc.main([*arguments, f"--pyi_out={out}", *names]) != 0:
        raise SystemExit("protoc failed")
    for path in sorted([*out.glob("*_pb2.py"), *out.glob("*_pb2.pyi")]):
        text = path.read_text()
        text = text.replace(DEFAULT_POOL, "_POOL")
        text = text.replace(POOL_IMPORT, "from pykvd.pb._pool import POOL as _POOL")
        text = re.sub(r"^import (\w+_pb2)", r"from pykvd.pb import \1", text, flags=re.MULTILINE)
        path.write_text(text)


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "pykvd" / "pb")
