"""TLS as a sink's settings want it: the other side is verified unless they say otherwise."""

from __future__ import annotations

import ssl

from .settings import Tls


def client_context(settings: Tls) -> ssl.SSLContext:
    """Give a context of our side. Raises ValueError naming the file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=settings.ca)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(
            f"ca: {settings.ca} cannot be used ({_cause(error)}); a PEM file of certificates is"
            " needed, readable for the service's user"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert is not None:
        try:
            # A key with a passphrase is refused, not asked about on a terminal.
            context.load_cert_chain(settings.cert, settings.key, password="")
        except (OSError, ssl.SSLError) as error:
            names = " and ".join(str(path) for path in (settings.cert, settings.key) if path)
            raise ValueError(
                f"cert: {names} cannot be used ({_cause(error)}); a PEM certificate and its key"
                " without a passphrase are needed, readable for the service's user"
            ) from None
    return context


def _cause(error: OSError | ssl.SSLError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
