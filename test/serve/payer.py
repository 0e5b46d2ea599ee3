"""
Pays N, N + 1 … as long as it is let, each one durable before the next: `python3 payer.py DATABASE ADDRESS
N`. Prints each amount once every copy has it; with the address "none" once it is committed.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples" / "barrier"))
sys.dont_write_bytecode = True

import payment  # noqa: E402

database, address, amount = sys.argv[1], sys.argv[2], int(sys.argv[3])
if address == "none":
    payment.durable = lambda _address: None
while True:
    payment.pay(database, address, amount)
    print(amount, flush=True)
    amount += 1
