"""TLS of the listeners and of the connections between members.

`configured` turns a server's options into a `TlsServer` and a `TlsClient` (`endpoints`): contexts
that follow the files, and the rules about whom to let in (`certificate`, `revocation`,
`addresses`). `layer` is TLS on a socket; `accepting` and `dialling` lead its handshakes.
"""

from pykvd.tls.accepting import Acceptor, Handshakes
from pykvd.tls.dialling import Dialler
from pykvd.tls.endpoints import TlsClient, TlsServer
from pykvd.tls.errors import TlsError
from pykvd.tls.settings import TlsSettings

__all__ = [
    "Acceptor",
    "Dialler",
    "Handshakes",
    "TlsClient",
    "TlsError",
    "TlsServer",
    "TlsSettings",
]
