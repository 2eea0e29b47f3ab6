"""Which errors of a storage pass, how long they are waited for, and what is said about it."""

import errno
import logging
import pickle
import threading

import pytest
from flaky_storage import Clock
from pyarrow import fs

from lwgan_dist import retries
from lwgan_dist.campaign.worker import NUMERICAL, quiet
from lwgan_dist.errors import ConfigError, RunFailedError
from lwgan_dist.retries import PATIENCE_SECONDS, PATIENCE_VARIABLE, StorageError, is_transient, retried

AWS = "When reading information for key 'a/b' in bucket 'bk': AWS Error "
PASSING = [
    *(
        OSError(getattr(errno, name), name)
        for name in ("EIO", "ESTALE", "ETIMEDOUT", "EBUSY", "EHOSTUNREACH", "ENOTCONN", "EAGAIN", "EREMOTEIO")
    ),
    ConnectionResetError(errno.ECONNRESET, "reset"), BrokenPipeError(), TimeoutError(), ConnectionRefusedError("no"),
    # as pyarrow 26 gave them with a server that answers so, or with none
    OSError(AWS + "UNKNOWN (HTTP status 503) during HeadObject operation: No response body."),
    OSError(AWS + "UNKNOWN (HTTP status 500) during HeadObject operation: No response body."),
    OSError(AWS + "UNKNOWN (HTTP status 429) during ListObjectsV2 operation: Unable to parse ExceptionName"),
    OSError(AWS + "SLOW_DOWN during CreateMultipartUpload operation: msg"),
    OSError(AWS + "INTERNAL_FAILURE during ListObjectsV2 operation: msg"),
    OSError(AWS + "NETWORK_CONNECTION during HeadObject operation: curlCode: 7, Could not connect to server"),
    OSError(AWS + "NETWORK_CONNECTION during HeadObject operation: curlCode: 6, Couldn't resolve host name"),
    OSError(AWS + "NETWORK_CONNECTION during GetObject operation: curlCode: 28, Timeout was reached"),
    OSError("When reading 'forbidden/access-denied': AWS Error SLOW_DOWN during GetObject operation: msg"),
    OSError("google::cloud::Status(UNAVAILABLE: Retry policy exhausted in ReadObject)"),
]  # fmt: skip
LASTING = [
    *(
        OSError(getattr(errno, name), name)
        for name in ("ENOSPC", "EDQUOT", "EROFS", "ENOTDIR", "EISDIR", "EACCES", "EPERM", "ENOENT", "EEXIST", "EFBIG",
                     "ENOTEMPTY", "ENAMETOOLONG", "EMFILE")
    ),
    OSError(AWS + "ACCESS_DENIED during HeadObject operation: No response body."),
    OSError(AWS + "NO_SUCH_BUCKET during CreateMultipartUpload operation: msg"),
    OSError(AWS + "INVALID_ACCESS_KEY_ID during ListObjectsV2 operation: msg"),
    OSError(AWS + "SIGNATURE_DOES_NOT_MATCH during ListObjectsV2 operation: msg"),
    OSError(AWS + "UNKNOWN (HTTP status 400) during PutObject operation: Unable to parse ExceptionName: ExpiredToken"),
    OSError(AWS + "UNKNOWN (HTTP status 301) during HeadBucket operation: No response body."),
    OSError(AWS + "NETWORK_CONNECTION during HeadObject operation: curlCode: 60, SSL peer certificate was not OK"),
    OSError("Bucket 'bk' not found. To create buckets, enable the allow_bucket_creation option."),
    OSError("google::cloud::Status(PERMISSION_DENIED: no)"),
    OSError("Cannot open for reading: path '/runs/a' is a directory"),
    FileNotFoundError("a"), PermissionError("b"), StorageError("the patience of another is at its end"),
]  # fmt: skip


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def failing(clock, seconds, error=None):
    """An operation, and how often it was tried: fails for so long."""
    ends, tries = clock.now + seconds, []

    def operation():
        tries.append(clock.now)
        if clock.now < ends:
            raise error or OSError(errno.ESTALE, "Stale file handle")
        return "done"

    return operation, tries


@pytest.mark.parametrize("error", PASSING, ids=str)
def test_what_passes_is_tried_again(clock, error):
    assert is_transient(error)
    operation, tries = failing(clock, 60, error)
    assert retried("reading a", operation) == "done"
    assert 60 <= sum(clock.pauses) < 60 + retries.LONGEST_PAUSE
    assert 9 < len(tries) == len(clock.pauses) + 1 < 25, "not ever again at once, which is what a full server dreads"


@pytest.mark.parametrize("error", LASTING, ids=str)
def test_what_lasts_is_not(clock, error):
    assert not is_transient(error)
    operation, tries = failing(clock, 60, error)
    with pytest.raises(type(error)) as raised:
        retried("reading a", operation)
    assert raised.value is error
    assert len(tries) == 1
    assert clock.pauses == []


def test_an_outage_that_becomes_something_lasting_is_that(clock):
    errors = iter([OSError(errno.EIO, "x"), PermissionError(errno.EACCES, "no")])

    def operation():
        raise next(errors)

    with pytest.raises(PermissionError):
        retried("reading a", operation)
    assert len(clock.pauses) == 1


def test_without_a_failure_there_is_no_pause_and_no_clock(clock, monkeypatch):
    monkeypatch.setattr(retries, "_clock", None)
    assert retried("reading a", lambda: 3) == 3
    assert clock.pauses == []


def test_after_the_patience_the_error_says_what_and_how_long(clock):
    operation, tries = failing(clock, 1e9)
    began = clock.now
    with pytest.raises(StorageError) as raised:
        retried("writing /runs/a", operation)
    assert str(raised.value) == "writing /runs/a: the storage has failed for 120 s (Stale file handle)"
    assert raised.value.__cause__.errno == errno.ESTALE
    assert clock.now - began == pytest.approx(PATIENCE_SECONDS), "the last attempt is at the very end"
    assert tries[-1] == clock.now


def test_the_error_is_an_unfinished_run_and_no_result(clock):
    error = StorageError("x")
    assert isinstance(error, RunFailedError)
    assert isinstance(error, OSError), "who can do without the storage catches it"
    assert error.exit_code == 3
    assert not isinstance(error, NUMERICAL), "else it would count as an incorrect estimate"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is StorageError
    assert str(again) == "x"


def test_the_error_is_one_line(clock):
    operation, _ = failing(clock, 1e9, OSError("AWS Error\n  SLOW_DOWN:\n" + "x" * 10_000))
    with pytest.raises(StorageError) as raised:
        retried("writing a", operation)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


@pytest.mark.parametrize(("told", "seconds"), [("0", 0), ("7.5", 7.5), ("", 120), (None, 120)])
def test_the_patience_can_be_set(clock, monkeypatch, told, seconds):
    if told is None:
        monkeypatch.delenv(PATIENCE_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(PATIENCE_VARIABLE, told)
    operation, _ = failing(clock, 1e9)
    with pytest.raises(StorageError):
        retried("writing a", operation)
    assert sum(clock.pauses) == pytest.approx(seconds)


@pytest.mark.parametrize("told", ["-1", "nan", "inf", "2 minutes"])
def test_a_patience_that_is_none_is_said_to_be(clock, monkeypatch, told):
    monkeypatch.setenv(PATIENCE_VARIABLE, told)
    operation, _ = failing(clock, 1e9)
    with pytest.raises(ConfigError, match=PATIENCE_VARIABLE):
        retried("writing a", operation)


def test_the_patience_is_below_the_timeout_of_those_who_wait():
    from lwgan_dist.config import ExecutionConfig

    assert ExecutionConfig().collective_timeout_seconds > 2 * PATIENCE_SECONDS


def test_pauses_grow_to_a_limit_and_differ_between_processes(clock, monkeypatch):
    def pauses(process):
        monkeypatch.setattr("lwgan_dist.retries.os.getpid", lambda: process)
        return [retries._pause("writing a", attempt) for attempt in range(3000)]

    one = pauses(1)
    longest = [min(retries.LONGEST_PAUSE, retries.FIRST_PAUSE * 2.0 ** min(k, 30)) for k in range(3000)]
    assert all(most / 2 <= pause <= most for pause, most in zip(one, longest, strict=True))
    assert pauses(1) == one
    assert sum(a == b for a, b in zip(one, pauses(2), strict=True)) == 0
    late = one[10:]
    assert min(late) < 5.1, "the whole range is used"
    assert max(late) > 9.9


def test_an_outage_is_two_lines(clock, caplog):
    operation, _ = failing(clock, 60)
    with caplog.at_level(logging.DEBUG):
        retried("writing /runs/a", operation)
    first, last = (record.getMessage() for record in caplog.records)
    assert first.startswith("writing /runs/a: the storage has been failing since 20")
    assert "(Stale file handle); trying again for up to 120 s" in first
    assert last.startswith("writing /runs/a: the storage works again after 6")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_each_outage_is_told(clock, caplog):
    for _ in range(3):
        operation, _ = failing(clock, 20)
        retried("writing a", operation)
    assert len(caplog.records) == 6


def test_an_outage_that_ends_in_an_error_is_told_once_and_the_next_anew(clock, caplog):
    for _ in range(2):
        operation, _ = failing(clock, 1e9)
        with pytest.raises(StorageError):
            retried("writing a", operation)
    assert ["has been failing" in record.getMessage() for record in caplog.records] == [True, True]


def test_a_hiccup_is_not_worth_a_line(clock, caplog):
    operation, tries = failing(clock, 0.3)
    retried("writing a", operation)
    assert len(tries) > 1
    assert not caplog.records


def test_workers_of_a_study_which_are_quiet_tell_of_an_outage(clock, caplog):
    operation, _ = failing(clock, 60)
    with quiet():
        retried("writing a", operation)
    assert len(caplog.records) == 2


def test_several_threads_meet_one_outage(clock, caplog):
    """The second operation fails and recovers while the first one sleeps."""
    inner, _ = failing(clock, 60)
    outer, _ = failing(clock, 60)
    entered = []

    def other():
        if len(clock.pauses) == 6 and not entered:
            entered.append(threading.Thread(target=retried, args=("reading b", inner)))
            entered[0].start()
            entered[0].join()

    clock.on_sleep = other
    retried("writing a", outer)
    assert entered
    said = [record.getMessage() for record in caplog.records]
    assert ["failing since" in line for line in said] == [True, False], said


def test_a_real_client_without_a_server_raises_what_passes():
    """The texts above are those of a client: this one too, whatever its version."""
    store = fs.S3FileSystem(
        access_key="a", secret_key="b", endpoint_override="127.0.0.1:1", scheme="http", region="us-east-1"
    )
    with pytest.raises(OSError, match="NETWORK_CONNECTION") as raised:
        store.get_file_info("bk/a")
    assert raised.value.errno is None
    assert is_transient(raised.value)
