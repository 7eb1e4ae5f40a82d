"""Where files come from: folders, URLs on a server of our own, a damaged cache, no network at all."""

import hashlib
import http.server
import threading

import pytest

from geed.data import mirror
from geed.data.mirror import SourceFile, SourceFolder, obtain
from geed.errors import GeedError

CONTENT = bytes(range(256)) * 4000
WRONG = b"something else"


def digest(content):
    return hashlib.sha256(content).hexdigest()


def source(*urls, path="set/file.bin", content=CONTENT):
    return SourceFile(path, digest(content), tuple(urls))


@pytest.fixture
def cache(offline):
    return offline


@pytest.fixture
def server():
    """A server of `files` {path: bytes} that knows ranges; `requests` lists what was asked, `cut` breaks answers off."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.requests.append((self.path, self.headers.get("Range")))
            content = state.files.get(self.path)
            if content is None:
                return self.send_error(404)
            start = 0
            if state.ranges and self.headers.get("Range"):
                start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    return self.send_error(416)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            body = content[start:]
            self.wfile.write(body[: state.cut] if state.cut else body)

        def log_message(self, *arguments):
            pass

    state = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.files, state.requests, state.cut, state.ranges = {}, [], None, True
    state.url = f"http://127.0.0.1:{state.server_port}"
    threading.Thread(target=state.serve_forever, daemon=True).start()
    yield state
    state.shutdown()
    state.server_close()


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "mirror"
    (place / "set").mkdir(parents=True)
    (place / "set" / "file.bin").write_bytes(CONTENT)
    return place


def test_a_folder_is_read_in_place(folder, cache):
    assert obtain(source(), folder) == folder / "set" / "file.bin"
    assert not cache.exists()


def test_the_environment_variable_names_a_mirror(folder, monkeypatch):
    monkeypatch.setenv(mirror.VARIABLE, str(folder))
    assert obtain(source()) == folder / "set" / "file.bin"


def test_the_mirror_comes_before_the_canonical_source(server, cache):
    server.files = {"/mirror/set/file.bin": CONTENT, "/canonical": CONTENT}
    path = obtain(source(f"{server.url}/canonical"), f"{server.url}/mirror/")
    assert path == cache / "set" / "file.bin" and path.read_bytes() == CONTENT
    assert server.requests == [("/mirror/set/file.bin", None)]


def test_the_canonical_source_when_the_mirror_lacks_the_file(server, cache, tmp_path, capsys):
    server.files = {"/second": CONTENT}
    path = obtain(source(f"{server.url}/first", f"{server.url}/second"), tmp_path)
    assert path.read_bytes() == CONTENT and [name for name, _ in server.requests] == ["/first", "/second"]
    assert "bytes" in capsys.readouterr().err, "a progress bar"
    obtain(source(f"{server.url}/first", f"{server.url}/second"))
    assert len(server.requests) == 2, "the cache serves the second call"
    assert sorted(file.name for file in path.parent.iterdir()) == [".file.bin.lock", "file.bin"]


def test_a_broken_connection_is_resumed_at_once(server, cache):
    server.files, server.cut = {"/f": CONTENT}, 400_000
    assert obtain(source(f"{server.url}/f")).read_bytes() == CONTENT
    assert [span for _, span in server.requests] == [None, "bytes=400000-", "bytes=800000-"]


def test_an_interrupted_download_is_resumed_by_the_next_call(server, cache):
    server.files = {"/f": CONTENT}
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin.part").write_bytes(CONTENT[:1000])
    assert obtain(source(f"{server.url}/f")).read_bytes() == CONTENT
    assert server.requests == [("/f", "bytes=1000-")]


def test_a_server_without_ranges_starts_over(server, cache):
    server.files, server.ranges = {"/f": CONTENT}, False
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin.part").write_bytes(WRONG)
    assert obtain(source(f"{server.url}/f")).read_bytes() == CONTENT


def test_a_part_that_was_whole_already(server, cache):
    server.files = {"/f": CONTENT}
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin.part").write_bytes(CONTENT)
    assert obtain(source(f"{server.url}/f")).read_bytes() == CONTENT


def test_a_part_of_something_else_is_set_aside_and_fetched_anew(server, cache, capsys):
    server.files = {"/f": CONTENT}
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin.part").write_bytes(WRONG)
    assert obtain(source(f"{server.url}/f")).read_bytes() == CONTENT
    assert (cache / "set" / "file.bin.corrupt").read_bytes().startswith(WRONG)
    assert "set aside as file.bin.corrupt" in capsys.readouterr().err


def test_a_wrong_file_in_the_cache_is_set_aside_and_said(server, cache, capsys):
    server.files = {"/f": CONTENT}
    place = cache / "set" / "file.bin"
    place.parent.mkdir(parents=True)
    for wrong in (CONTENT[:-1], WRONG):
        place.write_bytes(wrong)
        assert obtain(source(f"{server.url}/f")).read_bytes() == CONTENT
        error = capsys.readouterr().err
        assert f"expected sha256 {digest(CONTENT)}, found {digest(wrong)}; set aside" in error
    assert (place.parent / "file.bin.corrupt").read_bytes() == CONTENT[:-1]
    assert (place.parent / "file.bin.corrupt.1").read_bytes() == WRONG


def test_a_wrong_file_in_the_cache_is_set_aside_without_any_source_too(cache):
    place = cache / "set" / "file.bin"
    place.parent.mkdir(parents=True)
    place.write_bytes(WRONG)
    with pytest.raises(GeedError, match="cannot be had"):
        obtain(source())
    assert not place.exists() and (place.parent / "file.bin.corrupt").read_bytes() == WRONG


def test_a_wrong_file_in_a_mirror_is_neither_used_nor_touched(folder, capsys):
    (folder / "set" / "file.bin").write_bytes(WRONG)
    with pytest.raises(GeedError, match=f"has a wrong one \\(sha256 {digest(WRONG)}\\)"):
        obtain(source(), folder)
    assert (folder / "set" / "file.bin").read_bytes() == WRONG
    assert "it is not used" in capsys.readouterr().err


def test_a_wrong_file_from_a_server_is_set_aside(server, cache):
    server.files = {"/f": WRONG}
    with pytest.raises(GeedError, match=f"gave a wrong file \\(sha256 {digest(WRONG)}\\)"):
        obtain(source(f"{server.url}/f"))
    assert [file.name for file in (cache / "set").iterdir() if "lock" not in file.name] == ["file.bin.corrupt"]


def test_one_sentence_when_nothing_can_be_had(server, tmp_path):
    url = f"{server.url}/f"
    with pytest.raises(GeedError) as error:
        obtain(source(url), tmp_path)
    text = str(error.value)
    assert "\n" not in text and "HTTP 404" in text
    for word in ("set/file.bin", url, digest(CONTENT), str(tmp_path), "data.mirror", "GEED_DATA_MIRROR"):
        assert word in text


def test_no_network(cache):
    with pytest.raises(GeedError, match=r"http://127\.0\.0\.1:9/f cannot be had"):
        obtain(source("http://127.0.0.1:9/f"))


def test_a_mirror_that_is_not_there(tmp_path):
    with pytest.raises(GeedError, match="expected a folder or an http"):
        obtain(source(), tmp_path / "nowhere")


def test_an_unwritable_cache(server):
    server.files = {"/f": CONTENT}
    with pytest.raises(GeedError, match="set GEED_CACHE"):
        obtain(source(f"{server.url}/f"), cache="/proc/nowhere")


def test_two_at_once_download_once(server, cache):
    server.files = {"/f": CONTENT}
    results = []
    threads = [threading.Thread(target=lambda: results.append(obtain(source(f"{server.url}/f")))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4 and len(server.requests) == 1


def test_packages():
    from geed.data.registry import DATASETS

    (file,) = DATASETS["digits"].files
    assert obtain(file).name == "digits.csv.gz"
    with pytest.raises(GeedError, match="reinstall the package"):
        obtain(SourceFile(file.path, "0" * 64))
    with pytest.raises(GeedError, match="'nosuchpackage' is not installed"):
        obtain(SourceFile("package:nosuchpackage/file", "0" * 64))


@pytest.fixture
def photos(tmp_path):
    """A mirror with a folder of two files, and what it is known by."""
    contents = {"photos/a.jpg": b"aaa", "photos/sub/b.jpg": b"bbb"}
    for path, content in contents.items():
        file = tmp_path / "mirror" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    lines = "".join(f"{digest(content)}  {path}\n" for path, content in contents.items())
    return tmp_path / "mirror", SourceFolder("photos", digest(lines.encode())), lines, contents


def test_folders(photos, cache, server):
    place, wanted, lines, contents = photos
    assert obtain(wanted, place) == place / "photos"
    server.files = {"/SHA256SUMS": f"{'0' * 64}  other/x\n{lines}".encode()} | {f"/{k}": v for k, v in contents.items()}
    assert obtain(wanted, server.url) == cache / "photos"
    assert (cache / "photos" / "sub" / "b.jpg").read_bytes() == b"bbb"
    assert mirror.state(wanted, place) == f"ok ({place / 'photos'})"


def test_a_changed_folder_is_refused(photos, cache, server):
    place, wanted, lines, _ = photos
    (place / "photos" / "a.jpg").write_bytes(b"other")
    with pytest.raises(GeedError, match=r"photos/ .* cannot be had"):
        obtain(wanted, place)
    assert mirror.state(wanted, place).startswith("WRONG")
    server.files = {"/SHA256SUMS": lines.replace("a.jpg", "c.jpg").encode()}
    with pytest.raises(GeedError, match=r"photos/ .* cannot be had"):
        obtain(wanted, server.url)


def test_state_says_what_lies_here_and_downloads_nothing(folder, cache):
    assert mirror.state(source("http://127.0.0.1:9/f")) == "absent"
    assert mirror.state(source(), folder) == f"ok ({folder / 'set' / 'file.bin'})"
    (folder / "set" / "file.bin").write_bytes(WRONG)
    assert mirror.state(source(), folder).startswith("WRONG")
