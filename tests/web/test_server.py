"""What the server answers, and to whom."""

import json
import logging

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from kdfixmatch_web.app import MAX_BODY, new_app
from kdfixmatch_web.guard import Guard, is_loopback
from kdfixmatch_web.image_folder import ImageFolder
from kdfixmatch_web.label_store import LabelStore
from kdfixmatch_web.labeling import Labeling
from kdfixmatch_web.pictures import Pictures
from kdfixmatch_web.scout import Scout
from kdfixmatch_web.trainings import Trainings
from kdfixmatch_web.work_folder import labels_held

TOKEN, PORT = "a-token", 8123
HERE = f"http://127.0.0.1:{PORT}"
HOSTILE = "<img src=x onerror=alert(1)>.png"
FROM_HERE = {"Origin": HERE, "Content-Type": "application/json"}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(["a.png", "b.png", HOSTILE]):
        pixels = np.full((8, 12, 3), 50 * number, np.uint8)
        Image.fromarray(pixels).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "secret.png").write_bytes((folder / "a.png").read_bytes())
    return folder


@pytest.fixture
def labeling(photos, tmp_path):
    images = ImageFolder(photos)
    store = LabelStore(tmp_path / "labels.csv", images)
    trainings = Trainings(tmp_path / "runs", images, None, [])
    scout = Scout(tmp_path / "looks", images, store, seeks=False)
    pictures = Pictures(images, tmp_path / "pictures")
    return Labeling(images, store, pictures, trainings, scout)


@pytest.fixture
def guard(labeling):
    return Guard(new_app(labeling), TOKEN, PORT)


@pytest.fixture
def stranger(guard):
    return TestClient(guard, base_url=HERE, follow_redirects=False)


@pytest.fixture
def client(guard):
    client = TestClient(guard, base_url=HERE, headers=FROM_HERE)
    assert client.get(f"/?token={TOKEN}").status_code == 200
    return client


def change(file, label, expected=None):
    return {"changes": [{"file": file, "label": label, "expected": expected}]}


# Who may ask


@pytest.mark.parametrize(
    "path",
    ["/", "/label.js", "/state", "/queue?start=0&count=9", "/picture?file=a.png"],
)
def test_nothing_is_shown_without_the_token(stranger, path):
    for answer in (
        stranger.get(path),
        stranger.get(path, headers={"Cookie": f"kdfixmatch_label_{PORT}=another"}),
        stranger.get(path, headers={"Cookie": f"kdfixmatch_label_{PORT + 1}={TOKEN}"}),
    ):
        assert answer.status_code == 403
        assert "Open the address" in answer.text and "set-cookie" not in answer.headers
    assert stranger.get("/?token=another").status_code == 403
    assert stranger.get("/?token=").status_code == 403
    # It is for the first address alone.
    assert stranger.get(f"/state?token={TOKEN}").status_code == 403


def test_the_token_becomes_a_cookie_that_scripts_and_other_pages_do_not_get(stranger):
    answer = stranger.get(f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert TOKEN not in answer.text
    assert stranger.get("/state").status_code == 200


def test_every_answer_has_the_headers_that_keep_others_out(client, stranger):
    for answer in (
        client.get("/"),
        client.get("/state"),
        client.get("/picture?size=small&file=a.png"),
        client.get("/nothing"),
        stranger.get("/"),
        stranger.get(f"/?token={TOKEN}"),
    ):
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", f"evil.example:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}"),
        *(f"127.0.0.1.evil.example:{PORT}", f"[::2]:{PORT}", f"192.0.2.1:{PORT}", ""),
        *(f"localhost:{PORT}:{PORT}", f"localhost:{PORT}x", f"user@localhost:{PORT}"),
    ],
)
def test_a_foreign_host_is_refused(client, host):
    assert client.get("/state", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "[::1]", "127.0.0.1"])
def test_this_machine_has_these_names(client, host):
    headers = {"Host": f"{host}:{PORT}", "Origin": f"http://{host}:{PORT}"}
    assert client.get("/state", headers=headers).status_code == 200


def test_all_addresses_of_a_machine_are_its_own_and_no_foreign_name(labeling):
    guard = Guard(new_app(labeling), TOKEN, PORT, "0.0.0.0")
    client = TestClient(guard, base_url=f"http://192.0.2.7:{PORT}")
    assert client.get(f"/?token={TOKEN}").status_code == 200
    assert client.get("/", headers={"Host": f"evil.example:{PORT}"}).status_code == 421
    assert not is_loopback("0.0.0.0") and is_loopback("127.0.0.2")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{PORT + 1}"},
        {"Origin": f"https://127.0.0.1:{PORT}"},
        {"Origin": f"http://localhost:{PORT}"},
        {"Origin": HERE, "Sec-Fetch-Site": "cross-site"},
        {"Origin": HERE, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_a_foreign_origin_is_refused(client, labeling, headers):
    sent = json.dumps(change("a.png", "cat"))
    answer = client.post("/labels", content=sent, headers=headers)
    assert answer.status_code == 403
    assert len(labeling.store) == 0
    assert client.get("/state", headers=headers).status_code == 403


def test_a_change_without_an_origin_or_as_a_form_is_refused(client, labeling):
    sent = json.dumps(change("a.png", "cat"))
    del client.headers["Origin"]
    assert client.post("/labels", content=sent).status_code == 403
    form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": HERE}
    assert client.post("/labels", content=sent, headers=form).status_code == 415
    plain = {"Content-Type": "text/plain", "Origin": HERE}
    assert client.post("/labels", content=sent, headers=plain).status_code == 415
    assert len(labeling.store) == 0


def test_a_link_may_lead_to_the_first_address_and_to_nothing_else(stranger, client):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert stranger.get(f"/?token={TOKEN}", headers=link).status_code == 200
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    address = "/picture?size=small&file=a.png"
    assert client.get(address, headers=picture).status_code == 403


def test_the_token_is_in_no_log(stranger, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        stranger.get(f"/?token={TOKEN}")
        stranger.get("/state")
    own = [r for r in caplog.records if not r.name.startswith("http")]
    assert not any(TOKEN in record.getMessage() for record in own)
    out, err = capfd.readouterr()
    assert TOKEN not in out + err


# What is shown


@pytest.mark.parametrize(
    "file",
    [
        *(
            "../secret.png",
            "..%2Fsecret.png",
            "/etc/passwd",
            "%2Fetc%2Fpasswd",
            "",
            ".",
        ),
        *("a.png/../../secret.png", "./a.png", "a.png%00", "link.png", "no.png"),
        *("..%5Csecret.png", "a" * 5000 + ".png", "%FF.png", "linked/secret.png"),
    ],
)
@pytest.mark.parametrize("size", ["small", "full"])
def test_nothing_outside_the_folder_is_shown(client, photos, file, size):
    (photos / "link.png").symlink_to(photos.parent / "secret.png")
    (photos / "linked").symlink_to(photos.parent)
    assert client.get(f"/picture?size={size}&file={file}").status_code == 404
    for path in (f"/{file}", f"/label.js/{file}", "/../labels.csv", "/static/label.js"):
        if file not in ("", "."):
            assert client.get(path).status_code == 404


def test_no_answer_leads_elsewhere(client):
    client.follow_redirects = False
    for path in ("/state/", "/queue/?start=0&count=1", "/label.js/"):
        assert client.get(path).status_code == 404


def test_pictures_are_those_of_the_images(client, photos):
    answer = client.get("/picture", params={"size": "large", "file": HOSTILE})
    assert answer.headers["content-type"] == "image/png"
    assert client.get("/picture?size=small&file=broken.png").status_code == 200
    reason = client.get("/trouble?file=broken.png").json()["reason"]
    assert "damaged PNG" in reason
    assert client.get("/trouble?file=a.png").json() == {"reason": None}
    assert client.get("/trouble?file=..%2Fsecret.png").status_code == 404
    assert client.get("/picture?size=huge&file=a.png").status_code == 400
    assert client.get("/picture?file=a.png").status_code == 400


def test_the_queue_has_what_is_not_labeled(client):
    first = client.get("/queue?start=0&count=2").json()
    assert [item["file"] for item in first["items"]] == [HOSTILE, "a.png"]
    assert client.post("/labels", json=change("a.png", "cat")).status_code == 200
    rest = client.get("/queue?start=0&count=9").json()
    files = [item["file"] for item in rest["items"]]
    assert files == [HOSTILE, "b.png", "broken.png"] and rest["next"] is None
    assert client.get("/queue?start=99&count=9").json()["items"] == []
    for bad in ("start=-1&count=9", "start=0", "start=0&count=1e9", "start=²&count=1"):
        assert client.get(f"/queue?{bad}").status_code == 400


# What is written


def test_a_label_is_in_the_file_when_it_is_answered(client, labeling):
    answer = client.post("/labels", json=change(HOSTILE, "<b>cat</b>")).json()
    assert answer["labeled"] == 1
    assert answer["classes"] == [{"name": "<b>cat</b>", "count": 1}]
    written = labeling.store.path.read_text()
    assert written == f'file,label\n"{HOSTILE}","<b>cat</b>"\n'


def test_a_window_that_is_behind_is_told_and_overwrites_nothing(client, labeling):
    client.post("/labels", json=change("a.png", "cat"))
    answer = client.post("/labels", json=change("a.png", "dog"))
    assert answer.status_code == 409
    assert answer.json() == {"labels": {"a.png": "cat"}}
    assert labeling.store.get("a.png") == "cat"


def test_classes_keep_their_order_when_others_come(client):
    for file, label in (("b.png", "zebra"), ("a.png", "ant")):
        client.post("/labels", json=change(file, label))
    found = client.post("/labels", json=change("b.png", None, "zebra")).json()
    assert [known["name"] for known in found["classes"]] == ["zebra", "ant"]


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("x" * 101, "at most 100 characters. Received: 101"),
        ("Cat", "'Cat', where there is 'cat'. Choose that one."),
        ("cat\u200b", "Choose that one."),
        ("None of  these", "where there is 'none of these'"),
        ("", "must be the name of a class"),
        (" dog", "without spaces around"),
        ("do\ng", "without line breaks"),
        ("nan", "Skip the image instead."),
        ("\ud800", "valid UTF-8"),
    ],
)
def test_a_label_that_no_training_takes_is_refused(client, labeling, label, words):
    client.post("/labels", json=change("a.png", "cat"))
    sent = json.dumps(change("b.png", label))
    answer = client.post("/labels", content=sent)
    assert answer.status_code == 422, answer.text
    assert words in answer.text
    assert labeling.store.labels() == {"a.png": "cat"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("{", 400),
        ("[" * 100_000, 400),
        ("[]", 400),
        ('{"changes": 1}', 400),
        ('{"changes": [{"file": "a.png", "label": "cat"}]}', 400),
        (json.dumps(change("a.png", 1)), 400),
        (json.dumps(change(["a.png"], "cat")), 400),
        (json.dumps(change("../secret.png", "cat")), 404),
        (json.dumps(change("x" * 10_000, "cat")), 404),
        (json.dumps({"changes": change("a.png", "cat")["changes"] * 2}), 422),
        (json.dumps(change("a.png", "x" * MAX_BODY)), 413),
        (b"\xff\xfe", 400),
    ],
)
def test_what_is_no_change_is_refused(client, labeling, sent, status):
    assert client.post("/labels", content=sent).status_code == status
    assert not labeling.store.path.exists()


def test_a_full_disk_is_said(client, labeling, monkeypatch):
    client.post("/labels", json=change("a.png", "cat"))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", full)
    answer = client.post("/labels", json=change("b.png", "cat"))
    monkeypatch.undo()
    assert answer.status_code == 507
    assert answer.text.startswith("Cannot write ") and "no space left" in answer.text


def test_one_page_at_a_time_writes_to_a_file(tmp_path):
    labels = tmp_path / "labels.csv"
    (tmp_path / "link.csv").symlink_to(labels)
    with labels_held(labels):
        for name in (labels, tmp_path / "link.csv"):
            with pytest.raises(RuntimeError, match="Another page is open for"):
                with labels_held(name):
                    pass
    with labels_held(labels):
        pass


# Trainings


def test_a_training_of_too_few_labels_is_refused_before_it_starts(client, labeling):
    sent = {"minutes": 1, "image_size": 32, "goes_on": False}
    answer = client.post("/train", json=sent)
    assert answer.status_code == 422 and "there is no such file" in answer.text
    client.post("/labels", json=change("a.png", "cat"))
    answer = client.post("/train", json=sent)
    assert answer.status_code == 422 and "at least two classes" in answer.text
    assert labeling.state()["training"] is None


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"minutes": 0}, 422),
        ({"minutes": "5 --output /etc"}, 422),
        ({"minutes": float("inf")}, 422),
        ({"minutes": float("nan")}, 422),
        ({"minutes": 10**400}, 422),
        ({"image_size": 96.5}, 422),
        ({"image_size": True}, 422),
        ({"image_size": 1e9}, 422),
        ({"goes_on": True}, 422),
        ({"goes_on": "/etc"}, 400),
        ({"output": "/etc"}, 400),
    ],
)
def test_a_page_says_no_more_of_a_training_than_it_may(client, sent, status):
    sent = {"minutes": None, "image_size": None, "goes_on": False, **sent}
    answer = client.post("/train", content=json.dumps(sent))
    assert answer.status_code == status, answer.text
    assert client.post("/train", json=[]).status_code == 400
    assert client.get("/state").json()["training"] is None
