"""Who may come in: users by token, browsers by session, and bytes by storage address.

Of each only a hash is kept. A storage address ends with the token or session that asked for it.
"""

import hashlib
import secrets
import sqlite3
import time
from dataclasses import dataclass

from reference.aihub.database import Database
from reference.aihub.records import User

_SCHEMA = """
create table if not exists users (email text primary key, token text unique not null);
create table if not exists sessions (key text primary key, email text not null, expires real);
create table if not exists addresses (key text primary key, email text not null,
    access text not null, purpose text, asset text, digest text, filename text, expires real);
drop table if exists links
"""
_ADDRESS_SECONDS = 3600.0
_SESSION_SECONDS = 7 * 24 * 3600.0


class Unknown(LookupError):  # noqa: N818 - an answer
    """There is no such thing, or the asker may not see it: the two look the same."""


@dataclass(frozen=True)
class StorageAddress:
    """What an unguessable address stands for: where bytes of `user` are taken from, or go to.

    `asset` is the id of what they belong to. For a `purpose` of "download", `digest` is their hash.
    """

    user: User
    purpose: str
    asset: str
    digest: str
    filename: str


class Access(Database):
    """The keys to a hub."""

    def _create(self, db: sqlite3.Connection) -> None:
        for statement in _SCHEMA.split(";"):
            db.execute(statement)

    def add_user(self, email: str, token: str) -> None:
        """Lets somebody in, or gives them another token, which ends what came from the first."""
        email = folded(email)
        with self.writing() as db:
            db.execute("delete from sessions where email = ?", (email,))
            db.execute("insert or replace into users values (?, ?)", (email, _hash(token)))

    def users(self) -> list[str]:
        """Everybody's address."""
        return [row[0] for row in self._db.execute("select email from users order by email")]

    def user_of(self, token: str) -> User | None:
        """Whose token it is."""
        key = _hash(token)
        row = self._db.execute("select email from users where token = ?", (key,)).fetchone()
        return User(row[0], key) if row else None

    def open_session(self, user: User) -> str:
        """The key of a new session, which holds for a week."""
        key, now = secrets.token_urlsafe(32), time.time()
        with self.writing() as db:
            db.execute("delete from sessions where expires < ?", (now,))
            values = _hash(key), user.email, now + _SESSION_SECONDS
            db.execute("insert into sessions values (?, ?, ?)", values)
        return key

    def user_of_session(self, key: str) -> User | None:
        """Whose session it is, while it holds."""
        hashed = _hash(key)
        query = "select email from sessions where key = ? and expires > ?"
        row = self._db.execute(query, (hashed, time.time())).fetchone()
        return User(row[0], hashed) if row else None

    def close_session(self, user: User) -> None:
        """Ends the session that `user` came with."""
        with self.writing() as db:
            db.execute("delete from sessions where key = ?", (user.access,))

    def close_sessions(self, user: User) -> None:
        """Ends all sessions of `user`."""
        with self.writing() as db:
            db.execute("delete from sessions where email = ?", (user.email,))

    def give_address(
        self, user: User, purpose: str, asset: str, digest: str = "", filename: str = ""
    ) -> str:
        """The key of a storage address that holds for an hour, and while `user` has access."""
        key, now = secrets.token_hex(20), time.time()
        values = user.email, user.access, purpose, asset, digest, filename, now + _ADDRESS_SECONDS
        with self.writing() as db:
            db.execute("delete from addresses where expires < ?", (now,))
            db.execute(
                "insert into addresses values (?, ?, ?, ?, ?, ?, ?, ?)", (_hash(key), *values)
            )
        return key

    def address(self, key: str) -> StorageAddress:
        """What a storage address stands for; raises Unknown once it has ended."""
        now = time.time()
        row = self._db.execute(
            "select email, access, purpose, asset, digest, filename from addresses"
            " where key = ? and expires > ? and (access in (select token from users)"
            " or access in (select key from sessions where expires > ?))",
            (_hash(key), now, now),
        ).fetchone()
        if row is None:
            raise Unknown("the address")
        email, access, *rest = row
        return StorageAddress(User(email, access), *rest)


def folded(email: str) -> str:
    """An e-mail address as it is compared: without case."""
    return email.strip().lower()


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
