"""A mail server for tests: keeps each message as a JSON file and answers as the file `mode` says.

It prints {"port": N} when it listens and ends with its standard input. `mode` holds a reply such as `451 not now`, given
instead of taking the message, or an address with a reply such as `<dead@example.org> 550 unknown`, given for this
recipient alone; without the file every message is taken.
"""

import argparse
import asyncio
import json
import os
import ssl
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Keeper:
    def __init__(self, directory):
        self.directory = directory

    def mode(self):
        mode = self.directory / "mode"
        return mode.read_text().strip() if mode.exists() else ""

    async def handle_RCPT(self, server, session, envelope, address, options):
        recipient, _, reply = self.mode().partition(" ")
        if recipient == f"<{address}>":
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mode = self.mode()
        if mode and not mode.startswith("<"):
            return mode
        count = len(list(self.directory.glob("*.json")))
        kept = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8"),
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "authenticated": bool(session.authenticated),
        }
        part = self.directory / f"{count:06}.part"
        part.write_text(json.dumps(kept))
        part.rename(part.with_suffix(".json"))
        return "250 kept as " + part.stem


def authenticator(user, password):
    def check(server, session, envelope, mechanism, data):
        right = LoginPassword(user.encode(), password.encode())
        return AuthResult(success=isinstance(data, LoginPassword) and data == right, handled=False)

    return check


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", choices=["none", "starttls", "implicit"], default="none")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--user")
    options = parser.parse_args()
    settings = {"hostname": "mail.test"}
    context = None
    if options.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)
    if options.tls == "starttls":
        settings.update(tls_context=context, require_starttls=True)
    if options.user:
        settings.update(
            authenticator=authenticator(options.user, os.environ["MAILBOX_PASSWORD"]),
            auth_required=True,
            auth_require_tls=options.tls == "starttls",
        )
    keeper = Keeper(options.directory)
    loop = asyncio.get_running_loop()
    implicit = context if options.tls == "implicit" else None
    server = await loop.create_server(
        lambda: SMTP(keeper, **settings), "127.0.0.1", options.port, ssl=implicit
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
