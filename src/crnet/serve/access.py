"""Who may use the service: hosts, origins, API keys, sessions of the page, and rates."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import Scope

from crnet.errors import ConfigError
from crnet.serve.problems import ServiceError
from crnet.utils.files import read_at_most

COOKIE = "crnet_session"
MAX_KEY_FILE_BYTES = 1 << 20
SHORTEST_KEY = 16
WINDOW_S = 60.0
MAX_CLIENTS = 10_000  # whose rates are remembered

_HOST_PATTERN = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_ORIGIN_PATTERN = re.compile(r"https?://(\*\.)?[a-z0-9._:\[\]-]+")


@dataclass(frozen=True)
class AccessPolicy:
    """What the operator allows.

    Attributes:
        allowed_hosts: Names under which clients may reach the service; `*.example.org` allows every name below it, `*`
            all names. IP addresses and `localhost` are always allowed: no other site can be made to resolve to them
            (DNS rebinding), which is why names have to be listed.
        allowed_origins: Other sites whose pages may call the API (CORS), such as `https://example.org`.
        frame_ancestors: Other sites that may show the page in a frame.
        keys: SHA-256 of the API keys; empty: everyone may use the service.
        rate_limit: Most requests of a client to the API in a minute; 0: no limit.
        trusted_proxies: Addresses or networks of proxies, such as `10.0.0.0/8`. What they say about the client and
            about HTTPS in `X-Forwarded-For` and `X-Forwarded-Proto` is believed, and nobody else's word.

    Raises:
        ConfigError: A host is not a name, a site is not an origin, or a proxy is not an address.
    """

    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    keys: tuple[bytes, ...] = ()
    rate_limit: int = 0
    trusted_proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for host in self.allowed_hosts:
            if not _HOST_PATTERN.fullmatch(host):
                raise ConfigError(
                    f"the host {host} is not a name",
                    remedy="give a name without scheme and port, such as *.example.org",
                )
        for origin in (*self.allowed_origins, *self.frame_ancestors):
            if not _ORIGIN_PATTERN.fullmatch(origin) or (origin in self.allowed_origins and "*" in origin):
                raise ConfigError(
                    f"the site {origin} is not an origin",
                    remedy="give scheme and host in lower case without a path, such as https://example.org",
                )
        if self.rate_limit < 0:
            raise ConfigError(f"the rate limit is {self.rate_limit}", remedy="choose 0 for no limit, or more")
        for proxy in self.trusted_proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ConfigError(
                    f"the proxy {proxy} is not an address: {error}", remedy="give an IP address or network, not a name"
                ) from None


def read_keys(path: Path) -> tuple[bytes, ...]:
    """Return the hashes of the API keys in a file with one key per line.

    Raises:
        ConfigError: No keys, or one that is easy to guess.
    """
    try:
        text = read_at_most(path, MAX_KEY_FILE_BYTES, "give a text file with one key per line").decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", path=path) from None
    keys = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not keys or min(map(len, keys)) < SHORTEST_KEY:
        raise ConfigError(
            f"needs at least one key, each of {SHORTEST_KEY} or more characters",
            path=path,
            remedy="make one with: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return tuple(_hash(key) for key in keys)


class Access:
    """Checks requests against a policy.

    Args:
        policy: What is allowed.
    """

    def __init__(self, policy: AccessPolicy) -> None:
        self.policy = policy
        self._secret = secrets.token_bytes(32)  # sessions end with the service
        self._rates = _Rates(policy.rate_limit)

    def check_host(self, headers: Headers) -> None:
        """Refuse a request that was sent to another name.

        Raises:
            ServiceError: The name is not allowed.
        """
        if not _is_allowed_host(_host_name(headers.get("host", "")), self.policy.allowed_hosts):
            raise ServiceError(
                421,
                "host-not-allowed",
                "this server does not answer to this host name",
                remedy="the operator can add --allowed-host",
            )

    def check_origin(self, headers: Headers) -> None:
        """Refuse a request that the page of another site sends.

        Raises:
            ServiceError: The site is not allowed.
        """
        origin = headers.get("origin")
        if origin is None or origin in self.policy.allowed_origins:
            return
        if origin.partition("://")[2] != headers.get("host", ""):
            raise ServiceError(403, "origin-not-allowed", "pages of other sites may not send requests here")

    def check_key(self, headers: Headers) -> None:
        """Refuse a request without one of the keys, if there are keys.

        Raises:
            ServiceError: No key, or a wrong one.
        """
        if not self.is_known(headers):
            raise ServiceError(
                401, "key-required", "this server needs an API key", remedy="send the header Authorization: Bearer KEY"
            )

    def is_known(self, headers: Headers) -> bool:
        """Return whether a request has a key, or a session that began with one, or needs none."""
        if not self.policy.keys:
            return True
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.is_key(key.strip()):
            return True
        return self._is_session(headers.get("cookie", ""))

    def is_key(self, key: str) -> bool:
        """Return whether a text is one of the keys."""
        matches = [hmac.compare_digest(_hash(key), known) for known in self.policy.keys]  # all, in constant time
        return any(matches)

    def new_session(self, headers: Headers) -> str:
        """Return the cookie of a visitor who has given a key, as a `Set-Cookie` header.

        A page in a frame of another site gets only cookies with `SameSite=None`, which needs HTTPS. Other sites still
        cannot send requests (`check_origin`). The browser names its own scheme; the server may not know its proxy's.
        """
        is_https = headers.get("origin", "").startswith("https://")
        same_site = "None; Partitioned" if is_https and self.policy.frame_ancestors else "Strict"
        secure = "; Secure" if is_https else ""
        return f"{COOKIE}={self._sign(secrets.token_hex(16))}; HttpOnly; Path=/; SameSite={same_site}{secure}"

    def check_rate(self, client: str) -> None:
        """Count a request of a client, as `client_of` names it.

        Raises:
            ServiceError: The client has sent too many.
        """
        wait_s = self._rates.wait_s(client)
        if wait_s > 0:
            raise ServiceError(
                429,
                "too-many-requests",
                f"more than {self.policy.rate_limit} requests in a minute",
                remedy=f"wait {wait_s} s",
                retry_after_s=wait_s,
            )

    def _is_session(self, cookies: str) -> bool:
        try:
            cookie = SimpleCookie(cookies).get(COOKIE)
        except CookieError:
            return False
        if cookie is None:
            return False
        return hmac.compare_digest(self._sign(cookie.value.partition(".")[0]).encode(), cookie.value.encode())

    def _sign(self, name: str) -> str:
        return f"{name}.{hmac.new(self._secret, name.encode(), 'sha256').hexdigest()}"


@dataclass
class _Rates:
    """A token bucket for each client: `limit` requests at once, refilled within a minute."""

    limit: int
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def wait_s(self, client: str) -> int:
        """Count a request; return 0, or the seconds to wait for the next."""
        if self.limit == 0:
            return 0
        now_s = time.monotonic()
        left, counted_s = self._buckets.pop(client, (float(self.limit), now_s))
        left = min(self.limit, left + (now_s - counted_s) * self.limit / WINDOW_S)
        allowed = left >= 1
        self._buckets[client] = (left - allowed, now_s)
        while len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else int((1 - left) * WINDOW_S / self.limit) + 1


def client_of(scope: Scope) -> str:
    """Return whose requests count together: an IPv4 address, or the 2^64 IPv6 addresses that one client may have."""
    client = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:  # an IPv4 client may look like IPv6
        return str(ipaddress.ip_network((address, 64), strict=False))
    return client


def _host_name(host: str) -> str:
    """Return the name in a Host header, without its port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    return name.strip("[]").lower().rstrip(".")


def _is_allowed_host(name: str, allowed: tuple[str, ...]) -> bool:
    if name == "localhost" or _is_address(name):
        return True
    patterns = [pattern.lower().rstrip(".") for pattern in allowed]
    return any(
        pattern in ("*", name) or (pattern.startswith("*.") and name.endswith(pattern[1:])) for pattern in patterns
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return "%" not in name  # behind it, IPv6 allows any text


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()
