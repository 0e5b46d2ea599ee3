"""
A payment in Python, with nothing but its standard library: commit, wait until every copy has it, and only
then tell anybody.

    python3 payment.py DATABASE ADDRESS AMOUNT

ADDRESS is where the process that replicates DATABASE listens: a unix socket's path, or HOST:PORT. It prints
the position that every copy has, or the reason why that is not known, with exit status 1.
"""

import http.client
import json
import socket
import sqlite3
import sys


class NotDurable(Exception):
    """It is committed, and whether every copy has it is not known. Do not run the SQL again."""


class _Socket(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def durable(address, timeout=30.0):
    """
    Returns the position when everything committed before is on stable storage in every copy.

    :param timeout: in seconds
    :raises NotDurable: a copy has failed, there was not time enough, or nobody answers
    """
    patience = timeout + 5  # the answer says more than a connection that is cut off
    connection = (
        _Socket(address, patience)
        if "/" in address
        else http.client.HTTPConnection(address, timeout=patience)
    )
    try:
        connection.request("POST", f"/durable?timeout={round(timeout * 1000)}")
        response = connection.getresponse()
        answer = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotDurable(f"{address} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        reason = " ".join(f"{answer[key]}." for key in ("what", "state", "next") if key in answer)
        raise NotDurable(f"{answer.get('code', response.status)}: {reason}")
    if "without" in answer:
        print(f"commits go on without {answer['without']}", file=sys.stderr)
    return answer["position"]


def pay(database, address, amount):
    db = sqlite3.connect(database, timeout=10)
    try:
        with db:  # commits
            db.execute("INSERT INTO payment (amount) VALUES (?)", (amount,))
    finally:
        db.close()
    return durable(address)


if __name__ == "__main__":
    try:
        print(pay(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    except NotDurable as error:
        sys.exit(str(error))
