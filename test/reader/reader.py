"""A reader with a SQLite of its own: Python's. What it looks at is told in ledger.ts.

    python3 reader.py FILE SEED LOOK CHECK_EVERY HOLD_EVERY HOLD_MS

Reads FILE in transactions until its input ends, then says what it saw, as JSON; that something is
wrong it says at once. Every CHECK_EVERY-th transaction runs an integrity check; every HOLD_EVERY-th is
held open and looks again.
"""

import json
import random
import select
import sqlite3
import sys
import time

file, seed, look_sql, check_every, hold_every, hold_ms = sys.argv[1:]
chance = random.Random(int(seed))
db = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10, isolation_level=None)
db.row_factory = sqlite3.Row
report = {"sqlite": sqlite3.sqlite_version, "reads": 0, "held": 0, "checks": 0, "last": 0, "wrong": []}


def look():
    row = db.execute(look_sql).fetchone()
    report["reads"] += 1
    return dict(row)


def wrong_with(row):
    return (
        row["total"] != 100000
        or row["accounts"] != 100
        or row["step"] != row["newest"]
        or row["amounts"] != row["journalled"]
        or row["gaps"] != 0
    )


def complain(what):
    if len(report["wrong"]) < 10:
        report["wrong"].append(what)
        print("wrong", flush=True)


def ended(seconds):
    return bool(select.select([sys.stdin], [], [], seconds)[0])


print("reading", flush=True)
turn = 0
while not ended(chance.random() * 0.005):
    turn += 1
    try:
        db.execute("BEGIN")
        row = look()
        if wrong_with(row):
            complain(f"inconsistent: {row}")
        if row["step"] < report["last"]:
            complain(f"went back from {report['last']} to {row['step']}")
        report["last"] = row["step"]
        if turn % int(check_every) == 0:
            pragma = "integrity_check" if turn % 2 else "quick_check"
            said = db.execute(f"PRAGMA {pragma}").fetchone()[0]
            report["checks"] += 1
            if said != "ok":
                complain(f"{pragma}: {said}")
        if turn % int(hold_every) == 0:
            report["held"] += 1
            end = time.monotonic() + float(hold_ms) / 1000 * chance.random()
            while time.monotonic() < end and not ended(0.05):
                if look() != row:
                    complain("a transaction saw two moments")
        db.execute("COMMIT")
    except sqlite3.Error as error:
        complain(f"{type(error).__name__}: {error}")
        if db.in_transaction:
            db.execute("ROLLBACK")
db.close()
print(json.dumps(report), flush=True)
