#!/usr/bin/env bash
# Fuzzes the HTTP API by its own description: starts a server on a free port in a temporary directory, seeds a little
# data, and lets schemathesis send what the document allows and what it forbids.
#
#   tests/peers/fuzz.sh [SEED]
#
# Fails on a 5xx, on a status, content type, header or body that the document does not describe, and where a request
# that the document forbids is accepted. A failure is repeated with the seed that is printed.
#
# CARGO_TARGET_DIR  where the binary is, and below which schemathesis is installed (default: target)
# FUZZ         "required" fails where schemathesis cannot be installed (default: says so and skips)
# FUZZ_BINARY     the server (default: the debug build)
# FUZZ_CASES     cases for each operation (default: 15)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version="4.32.5"
seconds_max=150
target="${CARGO_TARGET_DIR:-$PWD/target}"
tools="$target/peers/schemathesis-$version"
seed="${1:-$(((RANDOM << 15) | RANDOM))}"

skip() {
    if [ "${FUZZ:-}" = required ]; then
        echo "error: $*" >&2
        exit 1
    fi
    echo "warning: SKIPPED, the API was not fuzzed: $*"
    exit 0
}

# The packages go into a virtual environment or, where python has no venv, into a folder of their own.
install() {
    command -v python3 >/dev/null || skip "python3 is missing"
    if [ -e "$tools/complete" ]; then return; fi
    rm -rf "$tools"
    mkdir -p "$tools"
    if python3 -m venv "$tools/venv" >/dev/null 2>&1; then
        "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version" ||
            skip "schemathesis $version cannot be installed"
    else
        rm -rf "$tools/venv"
        python3 -m pip install --quiet --disable-pip-version-check --target "$tools/packages" \
            "schemathesis==$version" || skip "python3 has neither a working venv nor pip: install python3-venv"
    fi
    touch "$tools/complete"
}

schemathesis() {
    if [ -x "$tools/venv/bin/schemathesis" ]; then
        "$tools/venv/bin/schemathesis" "$@"
    else
        PYTHONPATH="$tools/packages" python3 -m schemathesis.cli "$@"
    fi
}

install
binary="${FUZZ_BINARY:-$target/debug/syncline}"
[ -x "$binary" ] || cargo build --locked --package syncline
# Settings of the shell are none of this server's, and it refuses those that it does not know.
for name in $(compgen -e SYNCLINE_ || true); do unset "$name"; done
work="$(mktemp -d)"
server=""
finish() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT

# member NAME: a text member of the JSON on standard input.
member() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

token="$("$binary" init --json --data-dir "$work/data" | member token)"
mkfifo "$work/ready"
"$binary" serve --json --listen 127.0.0.1:0 --data-dir "$work/data" >"$work/ready" 2>"$work/log" &
server="$!"
exec 3<"$work/ready"
address="$(head -n 1 <&3 | member listen)"
address="http://${address#http://}"

# seed_row PATH BODY [MEMBER]: one request that must succeed; prints the id that was made.
seed_row() {
    python3 - "$address/api/v1$1" "$token" "$2" <<'PYTHON' | member "${3:-id}"
import sys, urllib.request
url, token, body = sys.argv[1:]
headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}
request = urllib.request.Request(url, body.encode(), headers)
print(urllib.request.urlopen(request, timeout=30).read().decode())
PYTHON
}

org="$(seed_row /organizations '{"id": "fuzz", "name": "Fuzz"}')"
connector="$(seed_row /connectors '{"name": "Fuzz", "federationCode": "fuzz", "plugin": "gaa-foireann",
    "authType": "apiKey", "endpoints": {"baseUrl": "https://fuzz.invalid"}, "credentials": {"apiKey": "fuzz"}}')"
connection="$(seed_row "/organizations/$org/connections" \
    "{\"connectorId\": \"$connector\", \"federationOrgId\": \"1\"}")"
record="$(seed_row "/organizations/$org/records" '{"entity": "member", "fields": {"firstName": "Aoife"}}')"
template="$(seed_row /templates '{"name": "Fuzz", "plugin": "gaa-foireann", "entities":
    {"member": {"fields": [{"source": "firstName", "target": "firstName"}]}}}')"

run="$(seed_row /sync/member "{\"organizationId\": \"$org\", \"connectorId\": \"$connector\"}" syncId)"

# Not the token that the fuzz itself presents.
other="$(seed_row /tokens '{"name": "Fuzz", "role": "viewer"}')"
user="$(seed_row /users '{"email": "fuzz@example.ie", "password": "long and unguessed", "role": "viewer"}')"

# Rows that are there, so that more than the 404s is reached.
fixed() {
    printf '[[operations]]\ninclude-path-regex = "%s"\n[operations.parameters]\n"path.%s" = "%s"\n\n' "$@"
}
{
    printf '[checks.negative_data_rejection]\nexpected-statuses = [%s]\n\n' \
        '400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 428, 429'
    printf '[parameters]\n"path.org" = "%s"\n\n' "$org"
    fixed '^/api/v1/connectors/.id' id "$connector"
    fixed '/connections/.id' id "$connection"
    fixed '/records/.id' id "$record"
    fixed '/templates/.id' id "$template"
    fixed '/sync/status/.id' id "$run"
    fixed '/plugins/.name' name csv-members
    fixed '/tokens/.id' id "$other"
    fixed '/users/.id' id "$user"
} >"$work/schemathesis.toml"

checks="not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance"
checks="$checks,response_schema_conformance,negative_data_rejection,unsupported_method"
echo "schemathesis $version, seed $seed (repeat: tests/peers/fuzz.sh $seed)"
status=0
cd "$work"
schemathesis --config-file "$work/schemathesis.toml" run "$address/api/v1/openapi.json" \
    --header "Authorization: Bearer $token" --checks "$checks" --phases examples,coverage,fuzzing \
    --max-examples "${FUZZ_CASES:-15}" --seed "$seed" --max-time "$seconds_max" \
    --generation-database none --request-timeout 30 --generation-with-security-parameters false \
    --workers 1 --no-color ||
    status="$?"
if ! kill -0 "$server" 2>/dev/null; then
    echo "error: the server ended:" >&2
    tail -n 20 "$work/log" >&2
    status=1
fi
if grep -q 'panicked' "$work/log"; then
    echo "error: the server panicked:" >&2
    grep -A 3 'panicked' "$work/log" | head -n 20 >&2
    status=1
fi
exit "$status"
