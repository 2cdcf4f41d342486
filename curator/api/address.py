"""Which addresses stay on this machine: what server and client both ask before they let text or a token out unencrypted.

An address is judged as it is written. ``localhost`` counts as this machine by convention (RFC 6761); no other name is looked
up, because an answer of DNS may change between the question and the connection. What cannot be read counts as elsewhere.
"""

from __future__ import annotations

import ipaddress
import re

_PORT = re.compile(r":\d+$")


def is_loopback(host: str) -> bool:
    """Whether a host, as a server binds it (``127.0.0.1``, ``[::1]``, ``localhost``), is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def stays_on_this_machine(target: str) -> bool:
    """Whether a gRPC target (``host:port``, ``dns:///host:port``, ``ipv4:a,b``, ``unix:path``) cannot leave this machine."""
    scheme, colon, rest = target.partition(":")
    if colon and scheme in {"unix", "unix-abstract"}:
        return True
    if colon and scheme in {"ipv4", "ipv6"}:
        return all(is_loopback(_host(address)) for address in rest.split(","))
    if colon and scheme == "dns":
        target = rest.rpartition("/")[2]  # dns://resolver/host:port
    return is_loopback(_host(target))


def _host(address: str) -> str:
    """The host of ``host:port``; a bare IPv6 address has no port."""
    if address.count(":") > 1 and not address.startswith("["):
        return address
    return _PORT.sub("", address)
