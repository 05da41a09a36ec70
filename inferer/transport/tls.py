"""TLS of the port: who serves, and, where a client CA is given, who may call."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from twofold.config import InfererSettings, UnusableSettings


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: the server's certificate chain, its key, and the CAs of callers, if asked for."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 at least, "h2" by ALPN (RFC 9113, 9.2)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        context.load_cert_chain(self.certificate, self.key)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def tls_of(settings: InfererSettings) -> Tls | None:
    """What the settings ask for; raises UnusableSettings where it cannot be used."""
    certificate, key, ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is None or key is None:
        if certificate is not None or key is not None or ca is not None:
            text = "TWOFOLD_TLS_CERTIFICATE and TWOFOLD_TLS_KEY belong together; set both or none"
            raise UnusableSettings(text)
        return None
    tls = Tls(certificate, key, ca)
    try:
        tls.context()
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(path) for path in (certificate, key, ca) if path is not None)
        text = f"TLS cannot be set up with {files}: {error}; PEM files are needed, the key of the "
        raise UnusableSettings(text + "certificate among them") from error
    return tls
