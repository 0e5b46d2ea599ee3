"""A program of somebody else's: commits to a SQLite database and knows nothing of Lockstep.

    writer.py DATABASE NAME SEED SECONDS [PAUSE_MS]

Each transaction writes one to eight rows of its own, under numbers without a gap; some are rolled back, some
update an old one. SQLite's own automatic checkpoint is on. At the end one line of JSON: what was
committed, how long each commit took, and how often the database was locked.
"""

import json
import random
import sqlite3
import sys
import time

database, name, seed, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
pause = float(sys.argv[5]) / 1000 if len(sys.argv) > 5 else 0.0
random.seed(seed)
connection = sqlite3.connect(database, timeout=5, isolation_level=None)
connection.execute("PRAGMA synchronous=NORMAL")
connection.execute("CREATE UNIQUE INDEX IF NOT EXISTS by_writer ON entry(writer, n)")
last = connection.execute("SELECT coalesce(max(n), 0) FROM entry WHERE writer = ?", (name,)).fetchone()[0]
locked, took = 0, []
print("ready", flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    rows = random.randint(1, 8)
    begun = time.monotonic()
    try:
        connection.execute("BEGIN IMMEDIATE")
        for i in range(rows):
            data = random.randbytes(random.randint(10, 3000))
            connection.execute("INSERT INTO entry(writer, n, data) VALUES(?, ?, ?)", (name, last + i + 1, data))
        if random.random() < 0.2:
            n = random.randint(0, last)
            connection.execute("UPDATE entry SET data = randomblob(100) WHERE writer = ? AND n = ?", (name, n))
        if random.random() < 0.05:
            connection.execute("ROLLBACK")
            continue
        connection.execute("COMMIT")
        last += rows
        took.append(round((time.monotonic() - begun) * 1e6))
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        locked += 1
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if pause:
        time.sleep(random.random() * 2 * pause)
if len(sys.argv) > 6:  # stays, as a program does that has nothing to write just now
    print(json.dumps({"last": last, "locked": locked, "took": took}), flush=True)
    sys.stdin.read()
else:
    connection.close()
    print(json.dumps({"last": last, "locked": locked, "took": took}), flush=True)
