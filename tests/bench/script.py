#!/usr/bin/env python3
"""What a club's volunteer would write in an afternoon: pull the members into SQLite.

Keeps a hash per member to see what changed, a history row for every change, and does it all in
one transaction. The benchmark compares Syncline with this. Nothing here is slowed down on purpose.

usage: script.py BASE_URL CLUB API_KEY DATABASE
"""

import hashlib
import json
import sqlite3
import sys
import time
import urllib.request

PAGE_SIZE = 1000
FIELDS = [
    "memberId",
    "firstName",
    "lastName",
    "dateOfBirth",
    "email",
    "phone",
    "address",
    "membershipNumber",
    "membershipStatus",
    "joinDate",
]

SCHEMA = """
CREATE TABLE IF NOT EXISTS members (
    member_id TEXT PRIMARY KEY,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    date_of_birth TEXT,
    email TEXT,
    phone TEXT,
    address TEXT,
    membership_number TEXT,
    membership_status TEXT,
    join_date TEXT,
    hash TEXT NOT NULL,
    updated_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY,
    member_id TEXT NOT NULL,
    action TEXT NOT NULL,
    before TEXT,
    after TEXT NOT NULL,
    at REAL NOT NULL
);
"""


def fetch_members(base_url, club, api_key):
    page = 1
    while True:
        url = f"{base_url}/clubs/{club}/members?page={page}&limit={PAGE_SIZE}"
        request = urllib.request.Request(url, headers={"X-API-Key": api_key})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
        yield from answer["members"]
        if not answer["hasMore"]:
            return
        page += 1


def hash_of(member):
    return hashlib.sha256(json.dumps(member, sort_keys=True).encode()).hexdigest()


def sync(db, members):
    counts = {"fetched": 0, "created": 0, "updated": 0, "unchanged": 0}
    for member in members:
        counts["fetched"] += 1
        digest = hash_of(member)
        now = time.time()
        values = [member.get(field) for field in FIELDS]
        row = db.execute(
            "SELECT * FROM members WHERE member_id = ?", (member["memberId"],)
        ).fetchone()
        if row is None:
            db.execute(
                "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values + [digest, now],
            )
            db.execute(
                "INSERT INTO history (member_id, action, before, after, at)"
                " VALUES (?, 'created', NULL, ?, ?)",
                (member["memberId"], json.dumps(member), now),
            )
            counts["created"] += 1
        elif row["hash"] != digest:
            db.execute(
                "UPDATE members SET first_name = ?, last_name = ?, date_of_birth = ?, email = ?,"
                " phone = ?, address = ?, membership_number = ?, membership_status = ?,"
                " join_date = ?, hash = ?, updated_at = ? WHERE member_id = ?",
                values[1:] + [digest, now, member["memberId"]],
            )
            db.execute(
                "INSERT INTO history (member_id, action, before, after, at)"
                " VALUES (?, 'updated', ?, ?, ?)",
                (member["memberId"], json.dumps(dict(row)), json.dumps(member), now),
            )
            counts["updated"] += 1
        else:
            counts["unchanged"] += 1
    return counts


def peak_memory_kb():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def main():
    base_url, club, api_key, path = sys.argv[1:5]
    started = time.perf_counter()
    db = sqlite3.connect(path)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(SCHEMA)
    with db:
        counts = sync(db, fetch_members(base_url, club, api_key))
    db.close()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peakMemoryKb": peak_memory_kb(), **counts}))


if __name__ == "__main__":
    main()
