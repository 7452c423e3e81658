"""Outputs at an address of an S3 server, which fails, refuses and holds other people's files where a test says so."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import attrs
import fsspec
import pytest
import pyvips
import slideloom as sl
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from slideloom.base.parsing import parse_json
from slideloom_cli.main import main
from slideloom_remote.putting import PutFiles, open_remote_output
from slideloom_remote.stores import Store as RemoteStore

KEY, SECRET = "AKIA-somebody", "secret-of-somebody"
AWAY = "s3://tiles/cohort/one"
# Whether a request is answered by the fault: method and name of the object.
Fault = Callable[[str, str], str]
PLAIN = ("--tile-px", "256", "--tile-um", "128", "--filter", "none")


@attrs.define
class Store:
    """An S3 server; `fault` gives the status with which a request is answered in its place, or "" for none."""

    app: Any
    files: Any = None
    fault: Fault | None = None
    bend: Callable[[str, bytes], bytes] | None = None
    asked: list[tuple[str, str]] = attrs.field(factory=list)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        method, name = environ["REQUEST_METHOD"], environ["PATH_INFO"].removeprefix("/tiles/cohort/one/")
        self.asked.append((method, name))
        said = self.fault(method, name) if self.fault is not None else ""
        if said:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(said, [("Content-Length", "0")])
            return [b""]
        if self.bend is not None and method == "PUT":
            from io import BytesIO

            body = self.bend(name, environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer

    def names(self) -> dict[str, bytes]:
        """All objects of the output, by name: a request for each, so ask for no more than is compared."""
        return {name: self._read(name) for name in self.listed()}

    def listed(self) -> set[str]:
        start = "tiles/cohort/one/"
        self.files.invalidate_cache()
        return {name.removeprefix(start) for name in self.files.find(start)}

    def content(self, name: str) -> bytes:
        self.files.invalidate_cache()
        return self._read(name)

    def _read(self, name: str) -> bytes:
        content: bytes = self.files.cat_file(f"tiles/cohort/one/{name}")
        return content

    def puts(self) -> list[str]:
        return [name for method, name in self.asked if method == "PUT"]

    def put(self, name: str, content: bytes) -> None:
        self.files.pipe(f"tiles/cohort/one/{name}", content)


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[Store, str]]:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *words: object) -> None:
            """Nothing."""

    store = Store(DomainDispatcherApplication(create_backend_app))
    http = make_server("127.0.0.1", 0, store, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield store, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def store(s3: tuple[Store, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    """The server with an empty bucket `tiles`; the current folder is an empty one."""
    found, url = s3
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    kind = fsspec.get_filesystem_class("s3")
    kind.clear_instance_cache()
    found.files = fsspec.filesystem("s3")
    found.files.call_s3("create_bucket", Bucket="tiles")
    found.asked.clear()
    yield found
    found.fault = found.bend = None
    found.files.rm("s3://tiles", recursive=True)
    kind.clear_instance_cache()


@pytest.fixture
def slides(slide: Path) -> Path:
    """A folder with the slides a and b."""
    shutil.copy(slide, slide.with_name("b.tif"))
    return slide.parent


def _extract(slides: Path, *words: str, out: str = AWAY) -> int:
    return main(["extract", str(slides), "--out", out, *PLAIN, "--jobs", "1", *words])


STAGING = Path("slideloom-staging/s3/tiles/cohort/one")


def _said(name: str = "extraction_report.json", folder: Path = STAGING) -> dict[str, Any]:
    table: dict[str, Any] = parse_json((folder / name).read_bytes())
    return table


def _status(folder: Path = STAGING) -> dict[str, str]:
    return {slide["slide"]: slide["status"] for slide in _said(folder=folder)["slides"]}


def _prints(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_the_address_holds_the_bytes_of_the_folder_and_of_a_local_run(store: Store, slides: Path) -> None:
    words = ("--qc", "otsu", "--save-masks", "--overview", "--report")

    assert _extract(slides, *words) == 0
    assert _extract(slides, *words, out="plain") == 0

    there = store.names()
    here = {
        path.relative_to(STAGING).as_posix(): path.read_bytes()
        for path in STAGING.rglob("*")
        if path.is_file() and path.name not in ("lock", "published.lock", "published.by.json", "published.copy.json")
    }
    assert _prints(there) == _prints(here)
    local = {path.relative_to("plain").as_posix(): path for path in Path("plain").rglob("*") if path.is_file()}
    made = [
        name for name in local if name.startswith(("tfrecords/", "slideloom/256px_128um/")) and "report" not in name
    ]
    assert len(made) > 12
    # The reports of slides hold times.
    exact = [name for name in made if "/slides/" not in name]
    assert _prints({name: there[name] for name in exact}) == _prints({name: local[name].read_bytes() for name in exact})
    assert {name for name in local if "tile_extraction" not in name} - {"slideloom/lock"} <= set(there)


def test_the_report_of_a_slide_is_put_after_all_its_files(store: Store, slides: Path) -> None:
    assert _extract(slides, "--overview") == 0

    puts = store.puts()
    for slide in "ab":
        own = [name for name in puts if f"/{slide}." in name and "/published/" not in name]
        assert len(own) > 3
        assert own[-1] == f"slideloom/256px_128um/slides/{slide}.json"


def test_a_second_run_puts_only_the_files_of_the_run_again(store: Store, slides: Path) -> None:
    assert _extract(slides) == 0
    store.asked.clear()

    assert _extract(slides) == 0

    assert _status() == {"a": "skipped", "b": "skipped"}
    assert {name for name in store.puts() if "/a." in name or "/b." in name} == set()
    assert "extraction_report.json" in store.puts()


def test_a_second_run_over_many_finished_slides_costs_as_many_requests_as_over_few(store: Store, slides: Path) -> None:
    def requests_of_second_run() -> int:
        assert _extract(slides) == 0
        store.asked.clear()
        assert _extract(slides) == 0
        assert set(_status().values()) == {"skipped"}
        return len(store.asked)

    few = requests_of_second_run()
    for number in range(8):
        shutil.copy(slides / "a.tif", slides / f"c{number}.tif")
    many = requests_of_second_run()

    assert len(_status()) == 10
    assert [name for name in store.puts() if "/a." in name or "/c" in name] == []
    assert many == few < 35


@pytest.mark.parametrize("name", ["tfrecords/256px_128um/a.tfrecords", "slideloom/256px_128um/published/a.json"])
@pytest.mark.parametrize("is_changed", [False, True])
def test_a_second_run_notices_what_is_gone_or_another_among_many(
    store: Store, slides: Path, name: str, is_changed: bool
) -> None:
    assert _extract(slides) == 0
    whole = store.names()
    if is_changed:
        store.put(name, whole[name][:-1] + b"x")
    else:
        store.files.rm(f"tiles/cohort/one/{name}")

    assert _extract(slides) == int(is_changed)

    assert _status() == {"a": "failed" if is_changed else "skipped", "b": "skipped"}
    assert store.names()[name] == (whole[name][:-1] + b"x" if is_changed else whole[name])


def test_a_server_that_fails_for_a_moment_is_asked_again(store: Store, slides: Path) -> None:
    failed: list[str] = []

    def fault(method: str, name: str) -> str:
        if method == "PUT" and failed.count(name) < 2:
            failed.append(name)
            return "503 Slow Down"
        return ""

    store.fault = fault

    assert _extract(slides) == 0
    assert len(failed) > 12
    assert _status() == {"a": "done", "b": "done"}


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden"])
def test_a_slide_that_cannot_be_put_fails_stays_finished_and_is_put_by_the_next_run(
    store: Store, slides: Path, status: str, capfd: pytest.CaptureFixture[str]
) -> None:
    store.fault = lambda method, name: status if method == "PUT" and name.endswith("/a.tfrecords") else ""

    assert _extract(slides) == 1

    said = capfd.readouterr().err
    assert "failed   a: a: is in slideloom-staging/s3/tiles/cohort/one, but not at s3://tiles/cohort/one: " in said
    assert _status() == {"a": "failed", "b": "done"}
    assert "slideloom/256px_128um/slides/a.json" not in store.listed()
    assert "slideloom/256px_128um/slides/b.json" in store.listed()
    assert _said("slideloom/256px_128um/slides/a.json")["status"] == "done"
    assert b"a" in store.content("errors.csv")

    store.fault = None
    made = (STAGING / "tfrecords/256px_128um/a.tfrecords").stat().st_mtime_ns
    assert _extract(slides) == 0

    assert _status() == {"a": "skipped", "b": "skipped"}
    assert (STAGING / "tfrecords/256px_128um/a.tfrecords").stat().st_mtime_ns == made
    assert "slideloom/256px_128um/slides/a.json" in store.listed()
    assert "errors.csv" not in store.listed()


def test_files_of_the_run_that_cannot_be_put_are_a_problem_of_the_run(store: Store, slides: Path) -> None:
    store.fault = lambda method, name: "400 Bad" if (method, name) == ("PUT", "extraction_report.json") else ""

    assert _extract(slides) == 1

    (problem,) = _said()["problems"]
    assert problem.startswith("the run's files are in slideloom-staging/s3/tiles/cohort/one, but not at s3://tiles/")


def test_wrong_credentials_are_refused_before_a_slide_is_made(
    store: Store, slides: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store.fault = lambda _method, _name: "403 Forbidden"

    assert _extract(slides) == 1

    said = capfd.readouterr().err
    assert "s3://tiles/cohort/one/slideloom/published.by.json: access is denied; give fsspec credentials" in said
    assert [word for word in (KEY, SECRET) if word in said] == []
    assert not (STAGING / "tfrecords").exists()


def test_a_missing_bucket_is_refused_before_a_slide_is_made(
    store: Store, slides: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _extract(slides, out="s3://nothing/out") == 1
    assert "there is no such bucket or folder; make it, or correct the address" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["tfrecords/256px_128um/a.tfrecords", "slideloom-x/../slides"])
def test_an_object_of_somebody_else_is_left_as_it_is(
    store: Store, slides: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if ".." in name:
        name = "slideloom/256px_128um/slides/a.json"
        assert _extract(slides, "--exclude", "a.tif") == 0
    store.put(name, b"of somebody else")

    assert _extract(slides) == 1

    assert f"s3://tiles/cohort/one/{name}: was not put there by this output" in capfd.readouterr().err
    assert store.content(name) == b"of somebody else"
    assert _status()["a"] == "failed"
    assert "slideloom/256px_128um/slides/b.json" in store.listed()


def test_an_object_that_somebody_has_changed_is_left_as_it_is(store: Store, slides: Path) -> None:
    assert _extract(slides) == 0
    name = "tfrecords/256px_128um/a.tfrecords"
    content = store.content(name)
    changed = content[:-1] + bytes([content[-1] ^ 1])
    store.put(name, changed)

    assert _extract(slides) == 1

    assert store.content(name) == changed
    assert _status() == {"a": "failed", "b": "skipped"}


def test_an_object_that_comes_between_the_look_and_the_put_is_left_as_it_is(store: Store, slides: Path) -> None:
    name = "tfrecords/256px_128um/a.tfrecords"

    def fault(method: str, asked: str) -> str:
        if (method, asked) == ("PUT", name) and store.fault is not None:
            store.fault = None
            store.put(name, b"quicker")
        return ""

    store.fault = fault

    assert _extract(slides) == 1
    assert store.content(name) == b"quicker"


def test_an_object_that_is_gone_is_put_again_and_the_report_after_it(store: Store, slides: Path) -> None:
    assert _extract(slides) == 0
    before = store.names()
    store.files.rm("tiles/cohort/one/tfrecords/256px_128um/a.tfrecords")
    store.asked.clear()

    assert _extract(slides) == 0

    changes = [(method, name) for method, name in store.asked if method != "GET" and method != "HEAD"]
    report, tiles = "slideloom/256px_128um/slides/a.json", "tfrecords/256px_128um/a.tfrecords"
    own = [item for item in changes if item[1] in (report, tiles)]
    assert own == [("DELETE", report), ("PUT", tiles), ("PUT", report)]
    assert {name: store.content(name) for name in (report, tiles)} == {name: before[name] for name in (report, tiles)}


def test_bytes_that_arrive_changed_are_noticed(store: Store, slides: Path) -> None:
    def bend(name: str, body: bytes) -> bytes:
        return body[:-1] + bytes([body[-1] ^ 1]) if name.endswith("/a.tfrecords") else body

    store.bend = bend

    assert _extract(slides) == 1

    assert _status() == {"a": "failed", "b": "done"}
    assert "slideloom/256px_128um/slides/a.json" not in store.listed()
    assert "slideloom/256px_128um/slides/b.json" in store.listed()


def test_other_settings_are_refused_and_redo_exchanges_what_is_ours(store: Store, slides: Path) -> None:
    assert _extract(slides, "--sink", "images") == 0
    many = [name for name in store.listed() if name.endswith((".jpg", ".png"))]
    store.put("tiles/mine.txt", b"of somebody else")

    assert _extract(slides, "--sink", "images", "--max-tiles", "5") == 1
    assert _extract(slides, "--sink", "images", "--max-tiles", "5", "--redo") == 0

    few = [name for name in store.listed() if name.endswith((".jpg", ".png"))]
    assert len(many) == 96
    assert len(few) == 10
    assert store.content("tiles/mine.txt") == b"of somebody else"


def test_a_list_that_the_run_did_not_write_stays_as_long_as_it_is_in_the_folder(store: Store, slides: Path) -> None:
    burden = STAGING / "high_blur_burden.txt"
    burden.parent.mkdir(parents=True)
    burden.write_text("another,0.5000\n")
    assert _extract(slides, "--sink", "images", "--max-tiles", "1") == 0
    assert store.content(burden.name) == b"another,0.5000\n"

    assert _extract(slides, "--sink", "tfrecord", "--max-tiles", "1", "--redo") == 0
    assert burden.name in store.listed()

    burden.unlink()
    assert _extract(slides, "--sink", "tfrecord", "--max-tiles", "1") == 0
    assert burden.name not in store.listed()


def test_pictures_of_a_slide_that_has_changed_go_at_the_address_too(store: Store, slides: Path) -> None:
    pictures = {"slideloom/256px_128um/overviews/a.png", "slideloom/256px_128um/masks/a-otsu.npy"}
    words = ("--qc", "otsu")
    assert _extract(slides, *words, "--overview", "--save-masks") == 0
    assert pictures < store.listed()

    os.utime(slides / "a.tif", ns=(1, 1))
    assert _extract(slides, *words) == 0

    assert _status() == {"a": "done", "b": "skipped"}
    assert not pictures & store.listed()
    assert "slideloom/256px_128um/overviews/b.png" in store.listed()


def test_outputs_of_another_sink_stay_as_they_do_locally(store: Store, slides: Path) -> None:
    assert _extract(slides) == 0
    assert _extract(slides, "--sink", "images", "--redo") == 0

    assert (STAGING / "tfrecords/256px_128um/a.tfrecords").exists()
    assert "tfrecords/256px_128um/a.tfrecords" in store.listed()


def test_another_folder_is_refused_until_it_holds_a_copy(
    store: Store, slides: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _extract(slides) == 0
    before = store.names()

    assert _extract(slides, "--staging", "other") == 1
    said = capfd.readouterr().err
    assert "copy it (aws s3 sync s3://tiles/cohort/one other), and run again, or use another address" in said
    assert store.names() == before

    store.files.get("tiles/cohort/one/", "other/", recursive=True)
    store.asked.clear()
    assert _extract(slides, "--staging", "other") == 0

    assert _status(Path("other")) == {"a": "skipped", "b": "skipped"}
    assert [name for name in store.puts() if name.endswith((".tfrecords", "/slides/a.json"))] == []


def test_a_copy_of_the_output_knows_slides_at_addresses_without_opening_them(
    store: Store, slides: Path, web: Any
) -> None:
    words = [web.put(f"{name}.tif", (slides / f"{name}.tif").read_bytes()) for name in "ab"]
    assert main(["extract", *words, "--out", AWAY, *PLAIN, "--jobs", "1"]) == 0
    for name, content in store.names().items():
        (Path("copy") / name).parent.mkdir(parents=True, exist_ok=True)
        (Path("copy") / name).write_bytes(content)
    web.asked.clear()

    assert main(["extract", *words, "--out", AWAY, *PLAIN, "--jobs", "1", "--staging", "copy"]) == 0

    assert _status(Path("copy")) == {"a": "skipped", "b": "skipped"}
    # One for its identity, and one as files of one folder may be of one DICOM series.
    asked = sorted((asked.name, asked.start, asked.end) for asked in web.asked)
    assert asked == [("a.tif", 0, 1)] * 2 + [("b.tif", 0, 1)] * 2


def test_a_copy_of_the_folder_that_is_out_of_date_is_refused(
    store: Store, slides: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _extract(slides, "--exclude", "a.tif") == 0
    shutil.copytree(STAGING, "copy")
    assert _extract(slides, "--staging", "copy", "--max-tiles", "5", "--redo") == 0
    before = store.names()

    assert _extract(slides, "--exclude", "a.tif") == 1

    said = capfd.readouterr().err
    assert f"a run from another copy of {STAGING} has gone on with it, so what is here is out of date; copy it" in said
    assert "give --staging NEW, and run again" in said
    assert store.names() == before


def test_a_folder_of_one_address_is_refused_for_another(
    store: Store, slides: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _extract(slides, "--staging", "here") == 0

    assert _extract(slides, "--staging", "here", out="s3://tiles/two") == 1

    assert "here: what is here belongs to s3://tiles/cohort/one; name another folder" in capfd.readouterr().err
    assert store.files.find("tiles/two") == []


def test_an_address_at_which_another_run_works_is_refused(
    store: Store, slides: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _extract(slides) == 0
    shutil.copytree(STAGING, "copy")
    output = open_remote_output(sl.Address(AWAY), tmp_path / "copy")

    assert _extract(slides) == 1
    said = capfd.readouterr().err
    assert "puts files there; wait for it, or if it was killed, remove s3://tiles/cohort/one/slideloom/" in said

    output.close()
    assert _extract(slides, "--staging", "copy") == 0


def test_a_folder_that_another_run_puts_at_an_address_is_refused(
    store: Store, slides: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = sl.OutputFolder(Path("here"), "256px_128um")
    with folder.holding(Path("here/slideloom/published.lock"), taken="by this test"):
        assert _extract(slides, "--staging", "here") == 1

    assert "here: another run puts it at an address (" in capfd.readouterr().err
    assert store.listed() == set()


def test_tiles_of_two_sizes_share_an_address(store: Store, slides: Path) -> None:
    assert _extract(slides) == 0
    first = store.names()

    assert _extract(slides, "--tile-px", "64") == 0

    assert {"slideloom/64px_128um/slides/a.json", "tfrecords/64px_128um/a.tfrecords"} <= store.listed()
    kept = [name for name in first if "256px_128um" in name]
    assert {name: store.content(name) for name in kept} == {name: first[name] for name in kept}


def test_a_file_that_is_still_written_is_named_and_put_by_the_next_run(
    store: Store, slides: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = STAGING / "run.jsonl"

    def fault(method: str, name: str) -> str:
        if (method, name) == ("HEAD", "run.jsonl"):
            with log.open("ab") as file:
                file.write(b"{}\n")
        return ""

    STAGING.mkdir(parents=True)
    store.fault = fault
    assert _extract(slides, "--log", str(log)) == 1
    assert "run.jsonl: was changed while it was put at s3://tiles/cohort/one" in capfd.readouterr().err
    assert "run.jsonl" not in store.listed()

    store.fault = None
    assert _extract(slides) == 0
    assert store.content("run.jsonl") == log.read_bytes()


def test_a_run_whose_address_was_taken_puts_nothing_more(store: Store, slides: Path) -> None:
    def fault(method: str, name: str) -> str:
        if method == "PUT" and name.endswith("/slides/a.json") and store.fault is not None:
            store.fault = None
            store.put("slideloom/published.by.json", b'{"copy": "of another", "host": "h"}')
        return ""

    store.fault = fault

    assert _extract(slides) == 1
    assert _status() == {"a": "done", "b": "failed"}
    assert [name for name in store.listed() if "/b." in name] == []


def test_a_copy_of_an_output_that_no_run_put_there_is_refused(store: Store, slides: Path) -> None:
    assert _extract(slides, out="plain") == 0
    store.files.put("plain/", "tiles/cohort/one/", recursive=True)
    before = store.names()

    assert _extract(slides) == 1
    assert store.names() == before


def test_what_a_folder_holds_from_earlier_runs_is_put_without_making_it_again(store: Store, slides: Path) -> None:
    assert _extract(slides, "--shard", "1/2", out="plain") == 0
    assert _extract(slides, "--shard", "2/2", out="plain") == 0

    assert _extract(slides, "--staging", "plain") == 0

    assert _status(Path("plain")) == {"a": "skipped", "b": "skipped"}
    assert {"slideloom/256px_128um/slides/a.json", "tfrecords/256px_128um/b.tfrecords"} <= store.listed()


def test_a_run_that_is_killed_while_it_puts_a_slide_goes_on(store: Store, slides: Path, start_process: Any) -> None:
    command = [sys.executable, "-m", "slideloom", "extract", str(slides), "--out", AWAY, *PLAIN, "--jobs", "1"]

    def fault(method: str, name: str) -> str:
        if method == "PUT" and name.endswith("/slides/a.json"):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return "500 Killed"
        return ""

    store.fault = fault
    process = start_process(command, stderr=subprocess.DEVNULL)
    process.wait()
    assert "tfrecords/256px_128um/a.tfrecords" in store.listed()
    assert "slideloom/256px_128um/slides/a.json" not in store.listed()

    store.fault = None
    store.asked.clear()
    assert _extract(slides) == 0

    assert _status()["a"] == "skipped"
    assert "tfrecords/256px_128um/a.tfrecords" not in store.puts()  # its MD5 shows that it is there
    assert {"slideloom/256px_128um/slides/a.json", "slideloom/256px_128um/slides/b.json"} <= store.listed()
    assert "slideloom/published.by.json" not in store.listed()


@pytest.mark.parametrize("at", ["/a.tfrecords", "/a.index.npz", "/slides/a.json"])
def test_a_redo_that_is_killed_while_it_puts_a_slide_leaves_no_report_over_files_of_two_runs(
    store: Store, slides: Path, start_process: Any, at: str
) -> None:
    assert _extract(slides) == 0
    before = store.names()
    report, tiles = "slideloom/256px_128um/slides/a.json", "tfrecords/256px_128um/a.tfrecords"
    # Another quality of JPEG gives other tiles.
    words = ("--redo", "--sink", "tfrecord:quality=30")
    command = [sys.executable, "-m", "slideloom", "extract", str(slides), "--out", AWAY, *PLAIN, "--jobs", "1", *words]

    def fault(method: str, name: str) -> str:
        if method == "PUT" and name.endswith(at):
            process.send_signal(signal.SIGKILL)
            process.wait()
            return "500 Killed"
        return ""

    store.fault = fault
    process = start_process(command, stderr=subprocess.DEVNULL)
    process.wait()

    there = store.names()
    assert report not in there
    assert there["slideloom/256px_128um/slides/b.json"] == before["slideloom/256px_128um/slides/b.json"]
    store.fault = None
    assert _extract(slides, *words[1:]) == 0
    there = store.names()
    assert there[tiles] == (STAGING / tiles).read_bytes() != before[tiles]
    assert there[report] == (STAGING / report).read_bytes() != before[report]
    assert main(["check", "--deep", str(STAGING)]) == 0


def test_what_a_killed_redo_has_left_in_the_folder_is_not_put(store: Store, slides: Path) -> None:
    """Its new tiles may lie under the report of the old ones, with the same size."""
    assert _extract(slides) == 0
    before = store.names()
    tiles = STAGING / "tfrecords/256px_128um/a.tfrecords"
    content = bytearray(tiles.read_bytes())
    content[-5000] ^= 255
    tiles.write_bytes(content)
    journal = STAGING / "slideloom/256px_128um/publishing/a.json"
    journal.parent.mkdir(exist_ok=True)
    journal.write_text('{"outputs": {}}')
    (slides / "a.tif").unlink()

    assert _extract(slides / "a.tif") == 1

    (lost,) = (slide for slide in _said()["slides"] if slide["slide"] == "a")
    assert "a run was stopped while it gave a its files" in lost["error"]
    there = store.names()
    for name in before:
        if "/a." in name:
            assert there[name] == before[name]


def test_an_interrupted_run_lets_other_runs_use_the_address_and_goes_on(
    store: Store, slides: Path, start_process: Any
) -> None:
    command = [sys.executable, "-m", "slideloom", "extract", str(slides), "--out", AWAY, *PLAIN, "--jobs", "1"]

    def fault(method: str, name: str) -> str:
        if method == "PUT" and name.endswith("/a.tfrecords"):
            process.send_signal(signal.SIGINT)
        return ""

    store.fault = fault
    process = start_process(command, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "interrupted; finished slides are kept, run again to go on" in said
    assert "slideloom/published.by.json" not in store.listed()

    store.fault = None
    assert _extract(slides) == 0
    assert {"slideloom/256px_128um/slides/a.json", "slideloom/256px_128um/slides/b.json"} <= store.listed()


def test_a_connection_that_breaks_while_a_file_is_sent_is_made_again(store: Store, slides: Path) -> None:
    broken: list[str] = []

    def fault(method: str, name: str) -> str:
        if method == "PUT" and name.endswith(".tfrecords") and broken.count(name) < 2:
            broken.append(name)
            raise ConnectionAbortedError  # the server closes the connection without an answer
        return ""

    store.fault = fault

    assert _extract(slides) == 0
    assert len(broken) == 4
    assert _status() == {"a": "done", "b": "done"}


def test_a_large_file_is_put_in_parts_and_known_again(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "here"
    (root / "slideloom").mkdir(parents=True)
    content = b"".join(hashlib.sha256(bytes([number % 251, number // 251])).digest() * 32768 for number in range(40))
    (root / "large.bin").write_bytes(content)
    output = open_remote_output(sl.Address(AWAY), root)
    output.publish("slideloom/r.json", ["large.bin"], last="")
    assert store.files.info("tiles/cohort/one/large.bin")["ETag"].endswith('-3"')
    store.asked.clear()
    (root / "large.bin").touch()

    output.publish("slideloom/r.json", ["large.bin"], last="")
    output.close()

    assert store.content("large.bin") == content
    assert "large.bin" not in store.puts()


def test_a_full_disk_fails_the_run_and_leaves_no_slide_at_the_address(
    store: Store, slides: Path, tmp_path: Path
) -> None:
    code = (
        "import resource, signal, sys; from slideloom_cli.main import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
        f"sys.exit(main(['extract', {str(slides)!r}, '--out', {AWAY!r}, *{list(PLAIN)!r}, '--jobs', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "free some space" in done.stderr
    assert _status() == {"a": "failed", "b": "failed"}
    assert [name for name in store.listed() if name.endswith(".tfrecords")] == []
    assert _extract(slides) == 0
    assert b'"done"' in store.content("slideloom/256px_128um/slides/a.json")


@pytest.mark.parametrize(
    ("out", "words", "said"),
    [
        ("https://host/out", (), "a web server takes no files"),
        ("s3://tiles/*/out", (), "needs the plain address of a folder"),
        ("simplecache::s3://tiles/out", (), "needs the plain address of a folder"),
        ("nosuch://tiles/out", (), "fsspec knows no file system nosuch"),
        (AWAY, ("--shard", "1/2"), "--shard: shards do not put their tiles at an address"),
        ("plain", ("--staging", "here"), "--staging: is for an output at an address, and plain is none"),
    ],
)
def test_what_cannot_be_an_output_is_refused_by_name(
    store: Store, slides: Path, out: str, words: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _extract(slides, *words, out=out) == 1

    assert said in capfd.readouterr().err
    assert list(Path().rglob("*.tfrecords")) == []
    assert store.listed() == set()


def test_other_files_in_the_staging_are_not_put(store: Store, slides: Path) -> None:
    assert _extract(slides, "--staging", str(slides)) == 0

    assert {"a.tif", "b.tif"} & store.listed() == set()
    assert {"extraction_report.json", "tfrecords/256px_128um/manifest.json"} <= store.listed()


def test_files_of_a_run_that_could_not_be_put_are_put_by_the_next(store: Store, slides: Path) -> None:
    store.fault = lambda method, name: "400 Bad" if method == "PUT" and name.startswith("tile_extraction") else ""
    assert _extract(slides, "--report") == 1
    store.fault = None

    assert _extract(slides) == 0

    assert len([name for name in store.listed() if name.startswith("tile_extraction")]) == 2


def test_a_dry_run_puts_nothing(store: Store, slides: Path) -> None:
    assert _extract(slides, "--dry-run") == 0
    assert {method for method, _ in store.asked} == {"GET"}
    assert not Path("slideloom-staging").exists()


def test_a_dry_run_refuses_an_address_that_a_run_could_not_use(
    store: Store, slides: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _extract(slides, "--dry-run", out="nowhere://bucket/out") == 1
    assert "fsspec knows no file system nowhere; correct the address" in capfd.readouterr().err

    store.fault = lambda method, name: "403 Forbidden"
    assert _extract(slides, "--dry-run") == 1
    assert "a run could not put its output there: s3://" in capfd.readouterr().err


def test_credentials_are_in_no_file_and_no_word(store: Store, slides: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store.fault = lambda method, name: "400 Bad" if method == "PUT" and name.endswith("/a.tfrecords") else ""

    words = ("--report", "--debug", "--log", "run.jsonl", "--json")
    assert _extract(slides, *words) == 1
    assert _extract(slides, *words, out=AWAY.replace("//", f"//{KEY}:{SECRET}@")) == 1

    said = "".join(capfd.readouterr())
    files = [path for path in Path().rglob("*") if path.is_file()]
    everything = said + "".join(f"{path} {path.read_bytes().decode('latin-1')}" for path in files)
    everything += "".join(f"{name} {content.decode('latin-1')}" for name, content in store.names().items())
    assert "s3://" in everything
    assert [word for word in (KEY, SECRET) if word in everything] == []


def test_the_beginning_of_a_file_that_was_cut_off_is_put_again_and_other_bytes_are_not(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    root = tmp_path / "here"
    (root / "slideloom").mkdir(parents=True)
    for name in ("a", "b"):
        (root / name).write_bytes(b"0123456789abcdef" * 1000)
    memory.pipe("/x/out/a", b"0123456789abcdef" * 500)
    memory.pipe("/x/out/b", b"0123456789abcdeF" * 500)
    output = open_remote_output(sl.Address("memory://x/out"), root)
    try:
        output.publish("slideloom/a.json", ["a"], last="")
        with pytest.raises(sl.OutputError, match="memory://x/out/b: was not put there by this output"):
            output.publish("slideloom/b.json", ["b"], last="")

        assert memory.cat("/x/out/a") == (root / "a").read_bytes()
        assert memory.cat("/x/out/b") == b"0123456789abcdeF" * 500
    finally:
        output.close()
        memory.rm("/x", recursive=True)


def test_a_store_that_knows_folders_gets_them(tmp_path: Path) -> None:
    root = tmp_path / "here"
    (root / "deep" / "folder").mkdir(parents=True)
    (root / "deep" / "folder" / "a").write_text("a")
    store = RemoteStore(LocalFileSystem(), str(tmp_path / "there"), timeout_s=60)
    output = PutFiles(sl.Address("disk://there"), root, store, first_wait_s=0)

    output.publish("slideloom/a.json", ["deep/folder/a"], last="")
    output.close()

    files = sorted(path.relative_to(tmp_path / "there").as_posix() for path in (tmp_path / "there").rglob("*.*"))
    assert files == ["slideloom/a.json", "slideloom/published.json"]
    assert (tmp_path / "there/deep/folder/a").read_text() == "a"


class _Down(MemoryFileSystem):  # type: ignore[misc]  # fsspec tells no types
    """A store in memory that can be reached at times."""

    store: ClassVar[dict[str, Any]] = {}
    cachable = False
    is_down = False
    tries = 0

    def put_file(self, *places: Any, **options: Any) -> None:
        self.tries += 1
        if self.is_down:
            raise OSError("no route to host")
        super().put_file(*places, **options)


def test_after_three_slides_that_cannot_be_put_no_more_are_tried(tmp_path: Path) -> None:
    files = _Down()
    for name in "abcde":
        (tmp_path / name).write_text(name)
    output = PutFiles(sl.Address("down://x"), tmp_path, RemoteStore(files, "/x", timeout_s=60), first_wait_s=0)
    files.is_down, files.tries = True, 0

    said = []
    for name in "abcde":
        with pytest.raises(sl.OutputError) as error:
            output.publish(f"slideloom/{name}.json", [name], last=name)
        said.append(str(error.value))
    files.is_down = False
    output.publish("slideloom/run.json", ["a"], last="")
    output.publish("slideloom/b.json", ["b"], last="b")

    assert all("no route to host" in words for words in said)
    assert [words.startswith("not tried, because 3 slides before failed") for words in said] == [0, 0, 0, 1, 1]
    assert files.cat("/x/b") == b"b"
    output.close()


def test_any_file_system_of_fsspec_takes_outputs(slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    memory = fsspec.filesystem("memory")
    pipeline = sl.pipeline_from_table(
        {"slideloom": 1, "tiles": {"size_px": 256, "size_um": 128}, "run": {"staging": "here", "jobs": 1}},
        where="test",
    )
    try:
        for status in ("done", "skipped"):
            report = sl.run_pipeline(pipeline, sl.find_slides([str(slides)]), "memory://x/out")
            assert [slide.status for slide in report.slides] == [status] * 2
            assert report.published == "memory://x/out"
        content = memory.cat("/x/out/tfrecords/256px_128um/a.tfrecords")
        assert content == Path("here/tfrecords/256px_128um/a.tfrecords").read_bytes()
    finally:
        memory.rm("/x", recursive=True)


def test_the_output_of_a_pipeline_file_may_be_an_address(store: Store, slides: Path) -> None:
    Path("p.toml").write_text(
        f'slideloom = 1\nfilter = []\n[slides]\ninclude = ["{slides}/*.tif"]\n'
        f'[tiles]\nsize_px = 256\nsize_um = 128\n[run]\nout = "{AWAY}"\nstaging = "work"\njobs = 2\n'
    )

    assert main(["run", "p.toml"]) == 0

    assert "slideloom/256px_128um/slides/a.json" in store.listed()
    assert _status(Path("work")) == {"a": "done", "b": "done"}


@pytest.mark.parametrize("sink", ["tfrecord", "images", "webdataset", "hdf5"])
def test_a_slide_that_has_no_tiles_any_more_has_none_at_the_address(store: Store, slides: Path, sink: str) -> None:
    words = ["extract", str(slides / "a.tif"), "--out", AWAY, *PLAIN[:4], "--filter", "grayspace", "--sink", sink]

    def tiles() -> set[str]:
        return {name for name in store.listed() if name.partition("/")[0] != "slideloom" and "/a" in name}

    assert main(words) == 0
    assert len(tiles()) > 0
    write_grey(slides / "a.tif")

    # The address cannot be reached when the slide has just been made, so that the next run removes the tiles.
    store.fault = lambda method, _name: "400 Bad Request" if method == "DELETE" else ""
    assert main(words) == 1
    store.fault = None
    assert main(words) == 0

    assert tiles() == set()
    assert _said("slideloom/256px_128um/slides/a.json")["written"] == 0
    assert "slideloom/256px_128um/slides/a.json" in store.listed()


def test_shards_beyond_the_last_are_gone_at_the_address_and_those_of_another_sink_stay(
    store: Store, slides: Path
) -> None:
    def shards() -> list[str]:
        return sorted(name for name in store.listed() if name.endswith(".tar"))

    sink = ("--sink", "webdataset:shard_tiles=12", "--exclude", "b.tif")
    assert _extract(slides, *sink) == 0
    assert len(shards()) == 4
    assert _extract(slides, *sink, "--max-tiles", "15", "--redo") == 0
    left = shards()
    assert len(left) == 2

    assert _extract(slides, "--exclude", "b.tif", "--redo") == 0
    (STAGING / left[0]).unlink()  # by hand: the slide's report tells that it was left
    assert _extract(slides, "--exclude", "b.tif") == 0
    assert shards() == left


def test_the_objects_of_a_slide_have_its_whole_name_and_those_of_a_part_of_it_stay(store: Store, slides: Path) -> None:
    (slides / "a.tif").rename(slides / "x?versionId=1.tif")
    assert _extract(slides, "--exclude", "b.tif") == 0
    store.put("slideloom/256px_128um/slides/x", b"of somebody else")
    assert _extract(slides, "--exclude", "b.tif", "--redo", "--max-tiles", "1") == 0

    # As the store says: fsspec would cut the names.
    keys = {each["Key"] for each in store.files.call_s3("list_objects_v2", Bucket="tiles")["Contents"]}
    own = {key for key in keys if "/x" in key}
    for key in own:
        store.files.call_s3("delete_object", Bucket="tiles", Key=key)
    start = "cohort/one/slideloom/256px_128um/slides/x"
    assert {start, f"{start}?versionId=1.json", "cohort/one/tfrecords/256px_128um/x?versionId=1.tfrecords"} <= own
    assert {key for key in own if "versionId" not in key} == {start}


def write_grey(path: Path) -> None:
    """A slide of the size of the others, of which no tile has a colour."""
    grey = pyvips.Image.black(2048, 1536, bands=3) + 128
    grey.cast("uchar").tiffsave(
        str(path), tile=True, tile_width=256, tile_height=256, compression="jpeg", xres=2000, yres=2000, resunit="cm"
    )
