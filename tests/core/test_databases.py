import pytest

from vision_pipeline.core.databases import Database, check_ledger, is_database, without_passwords


@pytest.mark.parametrize(
    "location",
    [
        "ledger.sqlite",
        "/data/a:b@c.sqlite",
        "postgresql://host/db",
        "postgres://user@host:5432/db?sslmode=require",
        "POSTGRESQL://user@one:5432,two:5432/db",
        "postgresql:///db?host=/run/postgresql",
    ],
)
def test_files_and_databases_can_hold_a_ledger(location):
    check_ledger(location)
    assert is_database(location) is (":/" in location)


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://user:hush@host/db",
        "postgresql://user:hush@one,two/db",
        "postgresql://user:@host/db",
        "postgresql://host/db?password=hush",
        "postgresql://host/db?sslmode=require&Password=hush",
        "postgresql://host/db?sslpassword=hush",
    ],
)
def test_a_password_in_the_address_is_refused_and_not_repeated(location):
    with pytest.raises(ValueError, match="PGPASSWORD") as refused:
        check_ledger(location)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("location", ["s3://bucket/ledger.sqlite", "mysql://host/db", "http://x"])
def test_other_urls_are_refused(location):
    with pytest.raises(ValueError, match="a local file, or a database such as postgresql://"):
        check_ledger(location)


def test_what_is_no_address_is_refused():
    with pytest.raises(ValueError, match="no address of a database"):
        check_ledger("postgresql://[half/db")


def test_a_database_is_shown_without_its_password():
    database = Database("postgresql://user@host/db", "hush")
    assert str(database) == "postgresql://user@host/db"
    assert "hush" not in repr(database)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=postgresql://u:hu/sh@host/db", "a=postgresql://u:***@host/db"),
        ("'x://host/?sslpassword=hush&y=1'", "'x://host/?sslpassword=***&y=1'"),
        ("http://host:8000/v1 and user@host", "http://host:8000/v1 and user@host"),
    ],
)
def test_messages_blot_passwords_out(text, shown):
    assert without_passwords(text) == shown
