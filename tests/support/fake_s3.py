"""An object store that speaks enough of S3 for pyarrow's client: counts requests, and fails for a while on demand."""

import io
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from pyarrow import fs

from lwgan_dist.storage import Folder

BUCKET = "bucket"
PAGE = 1000
_DATE = "Tue, 24 Nov 2026 00:00:00 GMT"


class FakeS3:
    """A server on a free port of this machine; a context manager.

    Attributes:
        objects: content by key.
        counts: requests by kind, as S3 bills them: PUT (also parts, and beginning and end of an upload of several
            parts), HEAD, GET, LIST, DELETE.
        fail: told (kind, key) of every request; returns an error (status, code), "drop" to close the connection
            unanswered, "lose" to do what was asked and close the connection then, or None to serve it.
        latency: seconds by which every answer is delayed.
    """

    def __init__(self):
        self.objects, self.parts, self.counts = {}, {}, Counter()
        self.fail, self.latency = lambda _kind, _key: None, 0.0
        self.lock = threading.Lock()
        store = self

        class Handler(_Handler):
            server_store = store

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.endpoint = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def uri(self, path):
        """Of a folder, as a user would give it; any AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY will do."""
        return f"s3://{BUCKET}/{path}?region=us-east-1&scheme=http&endpoint_override={self.endpoint}"

    def impatient(self, path):
        """A folder whose client tries everything once: of itself it would try for seconds."""
        once = fs.AwsStandardS3RetryStrategy(max_attempts=1)
        client = fs.S3FileSystem(
            access_key="any", secret_key="any", region="us-east-1", scheme="http", endpoint_override=self.endpoint,
            allow_delayed_open=True, retry_strategy=once,
        )  # fmt: skip
        return Folder(client, f"{BUCKET}/{path}", self.uri(path))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_store: FakeS3

    def log_message(self, *_arguments):
        pass

    def _serve(self):
        body = self._body()
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        query = parse_qs(url.query, keep_blank_values=True)
        kind = self._kind(key, query)
        store = self.server_store
        time.sleep(store.latency)
        with store.lock:
            store.counts[kind] += 1
            failure = store.fail(kind, key)
            if failure is None or failure == "lose":
                answer = self._do(bucket, key, query, body)
        if failure in ("drop", "lose"):
            self.close_connection = True
            self.connection.close()
            return
        if failure is not None:
            status, code = failure
            answer = status, {}, f"<Error><Code>{code}</Code><Message>told to</Message></Error>".encode()
        self._answer(*answer)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve  # noqa: N815

    def _body(self):
        chunked = self.headers.get("transfer-encoding") == "chunked"
        content = self._chunks(self.rfile) if chunked else self.rfile.read(int(self.headers.get("content-length") or 0))
        signed = "aws-chunked" in (self.headers.get("content-encoding") or "")
        return self._chunks(io.BytesIO(content)) if signed else content

    @staticmethod
    def _chunks(stream):
        """Chunks with their sizes, then lines of a trailer, then an empty line."""
        whole = b""
        while size := int(stream.readline().split(b";")[0], 16):
            whole += stream.read(size)
            stream.readline()
        while stream.readline().strip():
            pass
        return whole

    def _kind(self, key, query):
        if self.command == "GET":
            return "LIST" if not key else "GET"
        if self.command == "POST":
            return "DELETE" if "delete" in query else "PUT"
        return self.command

    def _do(self, bucket, key, query, body):
        objects, parts = self.server_store.objects, self.server_store.parts
        if bucket != BUCKET:
            return 404, {}, b"<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"
        if not key:
            if self.command == "POST":
                for name in re.findall(rb"<Key>(.*?)</Key>", body):
                    objects.pop(name.decode(), None)
                return 200, {}, b"<DeleteResult></DeleteResult>"
            return (200, {}, b"") if self.command == "HEAD" else (200, {}, self._listed(query))
        if self.command == "POST" and "uploads" in query:
            identity = f"upload-{len(parts)}"
            parts[identity] = {}
            told = f"<Bucket>{BUCKET}</Bucket><Key>{escape(key)}</Key><UploadId>{identity}</UploadId>"
            return 200, {}, f"<InitiateMultipartUploadResult>{told}</InitiateMultipartUploadResult>".encode()
        if self.command == "POST":
            uploaded = parts[query["uploadId"][0]]
            objects[key] = b"".join(uploaded[number] for number in sorted(uploaded))
            told = f"<Key>{escape(key)}</Key><ETag>&quot;1&quot;</ETag>"
            return 200, {}, f"<CompleteMultipartUploadResult>{told}</CompleteMultipartUploadResult>".encode()
        if self.command == "PUT" and "partNumber" in query:
            parts[query["uploadId"][0]][int(query["partNumber"][0])] = body
            return 200, {"ETag": '"1"'}, b""
        if self.command == "PUT":
            objects[key] = body
            return 200, {"ETag": '"1"'}, b""
        if self.command == "DELETE":
            objects.pop(key, None)
            return 204, {}, b""
        if key not in objects:
            return 404, {}, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
        return 200, {"ETag": '"1"', "Last-Modified": _DATE}, objects[key]

    def _listed(self, query):
        prefix, delimiter = query.get("prefix", [""])[0], query.get("delimiter", [""])[0]
        page, after = int(query.get("max-keys", [PAGE])[0]), query.get("continuation-token", [""])[0]
        found = {}
        for key in self.server_store.objects:
            if key.startswith(prefix):
                head, mark, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
                found[prefix + head + mark] = bool(mark)
        names = sorted(name for name in found if name > after)
        shown, cut = names[:page], len(names) > page
        told = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
            if found[name]
            else f"<Contents><Key>{escape(name)}</Key><Size>{len(self.server_store.objects[name])}</Size>"
            "<LastModified>2026-11-24T00:00:00.000Z</LastModified></Contents>"
            for name in shown
        )
        told += f"<KeyCount>{len(shown)}</KeyCount><IsTruncated>{str(cut).lower()}</IsTruncated>"
        if cut:
            told += f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>"
        return f"<ListBucketResult>{told}</ListBucketResult>".encode()

    def _answer(self, status, headers, body):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("range") or "")
        if status == 200 and self.command == "GET" and asked:
            first, last = map(int, asked.groups())
            headers = {**headers, "Content-Range": f"bytes {first}-{last}/{len(body)}"}
            status, body = 206, body[first : last + 1]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
