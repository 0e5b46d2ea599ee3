#!/bin/sh
# Waits until everything that was committed before is on every copy, in a script:
#
#     sqlite3 app.db "INSERT INTO payment (amount) VALUES (100)" && durable.sh ADDRESS [MILLISECONDS]
#
# ADDRESS is where the process that replicates app.db listens: a unix socket's path, or HOST:PORT. Prints
# the answer; exit status 0 if every copy has it, else 1.
set -eu
address=$1
timeout=${2:-30000}
case $address in
*/*) set -- --unix-socket "$address" "http://localhost" ;;
*) set -- "http://$address" ;;
esac
patience=$((timeout / 1000 + 5))
answer=$(curl -sS -X POST --max-time "$patience" -w '\n%{http_code}' "$@/durable?timeout=$timeout") || exit 1
printf '%s\n' "${answer%
*}"
[ "${answer##*
}" = 200 ]
