"""Mail servers and a web server that share no code with Consilium: Debian's aiosmtpd, and Python's http.server.

    server.py FOLDER PASSWORD

Takes mail over STARTTLS, which it demands, and over TLS from the first byte, each after a login as "node" with the
password, and JSON by POST over HTTPS, on ports of 127.0.0.1. FOLDER/ca.pem is what a client has to trust for
"localhost"; FOLDER/ports has the three ports once it listens. What comes is FOLDER/mail-1 ..., FOLDER/post-1 ...: how
it came, an empty line, and the message. Ends with its parent's end of the pipe on standard input.
"""
import asyncio
import http.server
import json
import os
import ssl
import subprocess
import sys
import threading

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Folder:
    """Numbered files, each there as a whole or not at all."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.counts = {}

    def put(self, name, content):
        with open(os.path.join(self.path, "unfinished"), "wb") as f:
            f.write(content)
        os.rename(os.path.join(self.path, "unfinished"), os.path.join(self.path, name))

    def add(self, kind, how, message):
        with self.lock:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            lines = "".join(f"{key}: {value}\n" for key, value in how.items())
            self.put(f"{kind}-{self.counts[kind]}", lines.encode() + b"\n" + message)


def certificate(folder):
    ca, key = os.path.join(folder.path, "ca.pem"), os.path.join(folder.path, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key,
                    "-out", ca], check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    return context


class Mail:
    def __init__(self, folder):
        self.folder = folder

    async def handle_DATA(self, server, session, envelope):
        tls = server.transport.get_extra_info("ssl_object")
        self.folder.add("mail", {"tls": tls.version() if tls else "none", "login": session.auth_data.login.decode(),
                                 "from": envelope.mail_from, "to": ",".join(envelope.rcpt_tos)}, envelope.content)
        return "250 taken"


def smtp(folder, password, **options):
    def login(server, session, envelope, mechanism, given):
        good = isinstance(given, LoginPassword) and given.login == b"node" and given.password == password.encode()
        return AuthResult(success=good, handled=False, auth_data=given)

    return lambda: SMTP(Mail(folder), hostname="localhost", authenticator=login, auth_required=True, **options)


class Post(http.server.BaseHTTPRequestHandler):
    folder = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        json.loads(body)  # what is none is answered by a closed connection
        self.folder.add("post", {"tls": self.connection.version(), "path": self.path,
                                 "type": self.headers["Content-Type"]}, body)
        self.send_response(204)
        self.end_headers()


def https(folder, context):
    Post.folder = folder
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Post)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


async def main(path, password):
    folder, loop = Folder(path), asyncio.get_running_loop()
    context = certificate(folder)
    starttls = await loop.create_server(smtp(folder, password, tls_context=context, require_starttls=True),
                                        "127.0.0.1", 0)
    # It doesn't know that this transport is TLS already.
    smtps = await loop.create_server(smtp(folder, password, auth_require_tls=False), "127.0.0.1", 0, ssl=context)
    ports = [s.sockets[0].getsockname()[1] for s in (starttls, smtps)] + [https(folder, context)]
    folder.put("ports", " ".join(map(str, ports)).encode())
    await loop.run_in_executor(None, sys.stdin.buffer.read)


asyncio.run(main(sys.argv[1], sys.argv[2]))
