"""Who may ask the server: the browser that was given its address, and no other page."""

import ipaddress
import secrets
import socket

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What a page of ours needs, which is nothing of others.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
# A cookie of SameSite=Strict is not sent where a page of others led here, also not
# after a redirect; it is where this page leads on.
_ENTRANCE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=/">
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<title>Label images</title>
<p><a href="/">Go on to the images</a></p>
</html>
"""


class Guard:
    """Lets through what comes from a page of this server, in the browser of its user.

    Args:
        app: What is guarded.
        token: What the first address must have; the browser gets it as a cookie.
        port: The port that is listened at.
        host: The name or address that is listened at.

    Attributes:
        token: The token.
    """

    def __init__(
        self, app: ASGIApp, token: str, port: int, host: str = "127.0.0.1"
    ) -> None:
        self.app = app
        self.token = token
        self._port = port
        self._names = {host.lower()}
        self._takes_all = False
        if is_loopback(host):
            self._names |= {"localhost", "127.0.0.1", "::1"}
        elif host in ("0.0.0.0", "::"):
            self._names |= {"localhost", socket.gethostname().lower()}
            self._takes_all = True
        # A cookie is of all ports of a host.
        self._cookie = f"kdfixmatch_label_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or passes on to what is guarded."""
        if scope["type"] != "http":
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send))
        elif _is_entrance(request):
            await self._welcome()(scope, receive, _with_headers(send))
        else:
            await self.app(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        headers = request.headers
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            return PlainTextResponse("This server has another name.", 421)
        if not self._is_from_here(request, hosts[0]):
            return PlainTextResponse("This was sent by another page.", 403)
        given = request.cookies.get(self._cookie, "")
        if _is_entrance(request):
            given = request.query_params.get("token", "")
        if not secrets.compare_digest(given.encode(), self.token.encode()):
            return PlainTextResponse(
                "Open the address that `kdfixmatch label` printed when it started.", 403
            )
        return None

    def _is_own(self, host: str) -> bool:
        """Whether a browser that was given our address asks.

        One that was led here by the name of another, which then was made to lead to
        this machine, says that name.
        """
        name, port = _parts(host)
        if port != self._port:
            return False
        return name in self._names or (self._takes_all and _is_address(name))

    def _is_from_here(self, request: Request, host: str) -> bool:
        headers, is_safe = request.headers, request.method in ("GET", "HEAD")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            # A link in another page may lead to the first address, and to no other.
            is_navigation = headers.get("sec-fetch-mode") == "navigate"
            if not (is_safe and is_navigation and request.url.path == "/"):
                return False
        origins = headers.getlist("origin")
        return origins == [f"http://{host}"] or (is_safe and not origins)

    def _welcome(self) -> Response:
        response = HTMLResponse(_ENTRANCE)
        response.set_cookie(
            self._cookie, self.token, path="/", httponly=True, samesite="strict"
        )
        return response


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches a host."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_entrance(request: Request) -> bool:
    return (
        request.url.path == "/"
        and request.method == "GET"
        and "token" in request.query_params
    )


def _parts(host: str) -> tuple[str, int | None]:
    """The name and the port of a Host header."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "80"
    if not port.isascii() or not port.isdecimal():
        return name, None
    return name.removeprefix("[").removesuffix("]").lower(), int(port)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["Cache-Control"] = "no-store"
        await send(message)

    return send_with_headers


def fresh_token() -> str:
    """What nobody guesses."""
    return secrets.token_urlsafe(32)
