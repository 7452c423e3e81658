"""Who may use a studio: the page that was opened, on this machine, and nobody else."""

from __future__ import annotations

import http.client
from typing import Any

import pytest
from slideloom import ConfigError
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles


@pytest.fixture
def page(shared_page: Any) -> Any:
    return shared_page


def test_a_studio_answers_at_the_address_that_it_prints(page: Any) -> None:
    assert page.server.url.startswith("http://127.0.0.1:")
    assert page.get("").status == 200
    assert page.get("api/session").json()["mode"] == "slides"


@pytest.mark.parametrize("token", ["", "x", "%00", "..", "static"])
def test_without_the_token_nothing_is_there(page: Any, token: str) -> None:
    own = page.server.token
    for path in (
        f"/{token}",
        f"/{token}/api/session",
        f"/{own[:-1]}/api/session",
        f"/{own}x/api/session",
        "/api/session",
    ):
        answer = page.get(path)
        assert answer.status == 404
        assert own not in answer.body.decode()


@pytest.mark.parametrize(
    "path",
    [
        "../x", "static/../../x", "static/..", "static/%2e%2e/x", "static/%2e%2e%2fx", "static/..%2fx",
        "static/%252e%252e/x", "static/..\\x", "static/%5c..%5cx", "static//etc/passwd", "static/%2fetc%2fpasswd",
        "api/slides/../session", "api/slides/%2e%2e/regions", "./api/session", "api/slides/s1%00/regions",
        "api/slides/..%00/regions",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_studio(page: Any, path: str) -> None:
    assert page.get(path).status == 404


@pytest.mark.parametrize("key", ["s0", "s2", "demo", "demo.svs", "S1", "-1", "s1 "])
def test_a_slide_is_named_by_its_id_only(page: Any, key: str) -> None:
    assert page.get(f"api/slides/{key.replace(' ', '%20')}").status == 404
    assert page.get("api/slides/s1").status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "a@127.0.0.1", "", "10.0.0.1"]
)
def test_a_foreign_host_is_refused_as_after_dns_rebinding(page: Any, host: str) -> None:
    assert page.get("api/session", headers={"Host": host}).status in (400, 403)


def test_a_request_names_its_host_once(page: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", page.server.port)
    connection.putrequest("GET", f"/{page.server.token}/api/session", skip_host=True)
    connection.putheader("Host", "127.0.0.1")
    connection.putheader("Host", "evil.example")
    connection.endheaders()
    assert connection.getresponse().status in (400, 403)
    connection.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_each_name_of_this_machine_will_do_also_behind_a_tunnel(page: Any, host: str) -> None:
    assert page.get("api/session", headers={"Host": host}).status == 200
    assert page.get("api/session", headers={"Host": f"{host}:9000"}).status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:1", "file://", "http://localhost"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_a_foreign_origin_is_refused_whatever_it_asks(page: Any, origin: str, method: str) -> None:
    answer = page.send(method, "api/slides/s1/regions", body={}, headers={"Origin": origin})

    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


def test_the_studios_own_origin_will_do(page: Any) -> None:
    origin = f"http://127.0.0.1:{page.server.port}"

    assert page.get("api/session", headers={"Origin": origin}).status == 200


def test_no_other_page_is_told_that_it_may_ask(page: Any) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}

    answer = page.send("OPTIONS", "api/slides/s1/regions", headers=asked)

    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["", "api/session", "api/slides/s1/pyramid/0/0/0", "nothing", "/elsewhere", "api/slides/s9"]
)
def test_every_answer_carries_the_headers_that_keep_the_page_to_itself(page: Any, path: str) -> None:
    headers = page.get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))

    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["worker-src"] == "'self' blob:"
    assert "unsafe" not in headers["content-security-policy"]
    allowed = policy["frame-ancestors"].split()
    assert allowed[0] == "'self'"
    assert {source.split("//")[1] for source in allowed[1:]} == {"127.0.0.1:*", "localhost:*"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] in ("no-store", "private, max-age=600")
    assert "server" not in headers


def test_what_holds_facts_is_never_kept_by_the_browser(page: Any) -> None:
    assert page.get("api/slides/s1").headers["cache-control"] == "no-store"
    assert page.get("api/slides/s1/regions").headers["cache-control"] == "no-store"


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(page: Any) -> None:
    answer = page.send("PUT", "api/slides/s1/regions", headers={"Content-Length": str(65 << 20)})

    assert answer.status == 413
    assert "64 MB" in answer.json()["error"]


def test_a_body_in_parts_is_counted(page: Any) -> None:
    part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"  # 64 KiB

    answer = page.send(
        "POST", "api/slides/s1/regions/csv", body=part * 17 + b"0\r\n\r\n", headers={"Transfer-Encoding": "chunked"}
    )

    assert answer.status == 413


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe\xff", b"[" * 100_000, b'"text"', b"null", b"NaN"])
def test_a_body_that_is_no_table_is_told(page: Any, body: bytes) -> None:
    answer = page.put("api/slides/s1/regions", body)

    assert answer.status == 422
    assert "reload the page" in answer.json()["error"]


def test_two_studios_side_by_side_do_not_open_each_others_slides(open_studio: Any, demo_slide: DemoFiles) -> None:
    one, other = open_studio(demo_slide.path), open_studio(demo_slide.path)

    assert one.server.port != other.server.port
    assert one.server.token != other.server.token
    assert len(one.server.token) >= 32
    assert one.get(f"/{other.server.token}/api/session").status == 404
    assert other.get("api/session").status == one.get("api/session").status == 200


def test_another_host_needs_a_word_of_its_own(demo_slide: DemoFiles, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["studio", str(demo_slide.path), "--host", "0.0.0.0", "--no-browser"])

    assert code == 1
    assert "add --expose if they may" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(open_studio: Any, demo_slide: DemoFiles) -> None:
    from slideloom_studio.serving import Server

    page = open_studio(demo_slide.path)

    with pytest.raises(ConfigError, match=r"cannot listen there .*; choose another --port"):
        Server(page.studio, port=page.server.port)


@pytest.mark.parametrize(
    ("listening", "asked", "passes"),
    [
        ("0.0.0.0", "192.168.1.7:8000", True), ("0.0.0.0", "evil.example:8000", False),
        ("slides.hospital.example", "slides.hospital.example", True), ("127.0.0.2", "192.168.1.7", False),
    ],
)  # fmt: skip
def test_an_exposed_studio_takes_numbers_and_its_own_names(listening: str, asked: str, passes: bool) -> None:
    from slideloom_studio.guarding import Guard

    guard = Guard(app=None, token="t", host=listening)  # type: ignore[arg-type]
    scope = {"path": "/t/api", "raw_path": b"/t/api", "headers": [(b"host", asked.encode())]}

    assert (guard.refusal(scope) is None) == passes
