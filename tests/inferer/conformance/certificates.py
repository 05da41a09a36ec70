"""Certificates in files, as operators have them."""

import ssl
from pathlib import Path
from typing import NamedTuple

import grpc
import trustme

from inferer.transport.tls import Tls


class Pair(NamedTuple):
    """PEM files: a certificate with its chain, and its key."""

    certificate: Path
    key: Path


class Authority:
    """A CA of its own."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self._folder = folder
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str, *identities: str) -> Pair:
        """A certificate; its files are called `name`.pem and .key."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        issued = self._ca.issue_cert(*identities)
        for place, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(pair.certificate, append=place > 0)
        issued.private_key_pem.write_to_path(pair.key)
        return pair

    def server(self, *, is_mutual: bool = False) -> Tls:
        """What serves on this machine; `is_mutual`: for callers of this CA alone."""
        pair = self.issue("server", "localhost", "127.0.0.1")
        return Tls(*pair, self.file if is_mutual else None)

    def credentials(self, caller: Pair | None = None) -> grpc.ChannelCredentials:
        """Of a caller who trusts this CA, and shows a certificate or none."""
        root = self.file.read_bytes()
        if caller is None:
            return grpc.ssl_channel_credentials(root)
        pair = (caller.key.read_bytes(), caller.certificate.read_bytes())
        return grpc.ssl_channel_credentials(root, *pair)

    def context(self, *protocols: str, caller: Pair | None = None) -> ssl.SSLContext:
        """The same for a bare socket, which offers these protocols by ALPN."""
        made = ssl.create_default_context(cafile=str(self.file))
        if protocols:
            made.set_alpn_protocols(protocols)
        if caller is not None:
            made.load_cert_chain(*caller)
        return made
