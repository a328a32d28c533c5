"""rmpsam weights: what it prints, converts and refuses."""

from __future__ import annotations

import hashlib
import pathlib
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from rmpsam_ros.cli import weights as commands
from rmpsam_ros.cli.errors import CommandError
from rmpsam_ros.cli.main import build_parser
from rmpsam_ros.model.sam import build_prompt_model, load_prompt_model
from rmpsam_ros.weights_store import WeightsError, find_weights, load_table, store_folder
from rmpsam_ros.weights_store import table as table_module
from rmpsam_ros.weights_store import verify as verify_module
from rmpsam_ros.weights_store.files import convert, describe
from rmpsam_ros.weights_store.verify import licence_of, verify_listed


def run(*arguments: str) -> None:
    parser = build_parser()
    options = parser.parse_args(["weights", *arguments])
    options.run(options)


@pytest.fixture
def known(site, monkeypatch, tmp_path):
    """A table with one file on the local server, whose sum is given or not."""
    body = b"weights" * 100

    def make(sha256: str = hashlib.sha256(body).hexdigest()) -> None:
        path = tmp_path / "table.yaml"
        path.write_text(
            f"- {{name: some, model: repvit_sam, file: some.pt, licence: MIT, origin: there, "
            f"url: '{site.add('/some.pt', body)}', sha256: '{sha256}'}}\n"
        )
        real = table_module.load_table
        entries = real(path)
        for module in (commands, table_module):
            monkeypatch.setattr(module, "load_table", lambda: entries)

    return make


def test_the_list_tells_licence_place_and_what_is_here(capsys):
    run("list")
    text = capsys.readouterr().out
    assert "mobile_sam: 20.3 MB" in text and "repvit_sam: not here" in text
    for entry in load_table().values():
        assert entry.licence in text and (entry.url or entry.origin) in text


def test_the_packaged_file_is_the_one_in_the_table(capsys):
    run("verify")
    packaged = ("demo", "efficientnet_lite0", "mobile_sam")
    assert capsys.readouterr().out == "".join(f"{name}: good\n" for name in packaged)


def test_fetch_then_verify_then_change(known, store, capsys):
    known()
    run("fetch", "some")
    assert find_weights("repvit_sam") == store / "some.pt" and find_weights("mobile_sam") is None
    run("verify", "some")
    assert capsys.readouterr().out.endswith("some: good\n")
    (store / "some.pt").write_bytes(b"x")
    with pytest.raises(CommandError, match="not what they should be: some"):
        run("verify")
    assert "damaged or another file" in capsys.readouterr().out


def test_verify_without_a_known_sum(known, store, capsys):
    known(sha256="")
    run("fetch", "some")
    run("verify", "some")
    assert "good: as it was fetched" in capsys.readouterr().out
    (store / "some.pt").write_bytes(b"x")
    with pytest.raises(CommandError, match="some"):
        run("verify", "some")
    assert "changed since it was fetched" in capsys.readouterr().out
    (store / "some.pt.sha256").unlink()
    run("verify", "some")
    assert "unknown: sha256" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["fetch", "abacus"], "'abacus' are unknown; there are demo, "),
        (["fetch", "rwkv_sam_s"], "no address that a program can use"),
        (["fetch", "mobile_sam"], "comes with the package"),
        (["verify", "repvit_sam"], "not what they should be"),
        (["verify", "abacus"], "unknown"),
        (["describe", "/no/such.pt"], "'/no/such.pt' is not a file"),
        (["describe", __file__], "."),
        (["convert", "/no/such.pt", "x.safetensors", "--model", "mobile_sam"], "not a file"),
        (["convert", __file__, "x.safetensors", "--model", "rmpsam_r50"], "need no conversion"),
    ],
)
def test_a_failure_is_one_line(arguments, reason):
    with pytest.raises(CommandError, match=reason) as error:
        run(*arguments)
    assert "\n" not in str(error.value)


def test_describe_tells_content_and_licence(capsys):
    run("describe", "mobile_sam", "--tensors")
    text = capsys.readouterr().out
    assert "known as    mobile_sam" in text and "Apache-2.0" in text
    assert "439 tensors" in text and "image_encoder.patch_embed.seq.0.c.weight" in text
    assert "sha256      2e292a09" in text


def test_the_licence_of_the_default_weights_is_told(capsys):
    run("list")
    assert "demo: " in capsys.readouterr().out
    run("describe", str(load_table()["demo"].path))
    text = capsys.readouterr().out
    assert "known as    demo" in text
    assert "licence     non-commercial and research use only" in text


@pytest.mark.parametrize("action", ["describe", "convert"])
@pytest.mark.parametrize(
    ("name", "content"),
    [("notes.txt", b"notes: 101"), ("fake.pth", b"e"), ("fake.pth", b"PK\x03\x04" * 9)],
)
def test_a_file_that_is_none_is_one_line(action, name, content, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    target = [str(tmp_path / "new.safetensors"), "--model", "mobile_sam"]
    with pytest.raises(CommandError) as error:
        run(action, str(path), *(target if action == "convert" else []))
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """An official RWKV-SAM checkpoint, as far as names go, with random weights."""
    torch.manual_seed(0)
    state = build_prompt_model("rwkv_sam_t").state_dict()
    official = {}
    for key, value in state.items():
        key = key.replace("image_encoder.backbone.", "backbone.")
        key = key.replace("image_encoder.neck.", "neck.out_proj.")
        key = key.replace("prompt_encoder.", "pe.").replace(
            "mask_decoder.fusion.", "mask_decoder."
        )
        official[key] = value
    path = tmp_path_factory.mktemp("official") / "rwkv.pth"
    torch.save({"state_dict": official}, path)
    return path


def test_convert_renames_rounds_and_says_so(official, tmp_path, capsys):
    target = tmp_path / "rwkv.safetensors"
    run("convert", str(official), str(target), "--model", "rwkv_sam_t")
    text = capsys.readouterr().out
    assert "all keys fit rwkv_sam_t" in text
    assert "neck.out_proj.0.weight -> image_encoder.neck.0.weight" in text
    state = load_file(target)
    assert {one.dtype for one in state.values()} == {torch.float16}
    assert load_prompt_model("rwkv_sam_t", target).image_encoder is not None
    found = describe(target)
    assert found.metadata["model"] == "rwkv_sam_t" and found.metadata["source"] == "rwkv.pth"
    assert found.known_as == ""
    exact = convert(official, target, "rwkv_sam_t", torch.float32)
    assert exact.largest_rounding[0] == 0.0
    assert target.stat().st_mode & 0o777 == 0o644, "other users of the machine may read it"


def test_convert_reports_every_key_that_does_not_fit(official, tmp_path):
    state = torch.load(official, weights_only=True)["state_dict"]
    state["abacus"] = state.pop("neck.out_proj.0.weight")
    bad = tmp_path / "bad.safetensors"
    save_file(state, bad)
    with pytest.raises(WeightsError, match=r"1 missing: image_encoder.neck.0.weight.*abacus"):
        convert(bad, tmp_path / "out.safetensors", "rwkv_sam_t", torch.float16)
    with pytest.raises(WeightsError, match="does not fit"):
        convert(official, tmp_path / "out.safetensors", "rwkv_sam_s", torch.float16)
    assert not (tmp_path / "out.safetensors").exists()


def test_convert_refuses_what_fp16_cannot_hold(official, tmp_path):
    state = torch.load(official, weights_only=True)["state_dict"]
    state["neck.out_proj.0.weight"][0] = 1e5
    big = tmp_path / "big.safetensors"
    save_file(state, big)
    with pytest.raises(WeightsError, match=r"too large for torch.float16"):
        convert(big, tmp_path / "out.safetensors", "rwkv_sam_t", torch.float16)


def test_convert_into_no_folder_is_one_line(official, tmp_path):
    with pytest.raises(WeightsError, match="cannot be written"):
        convert(official, tmp_path / "no" / "x.safetensors", "rwkv_sam_t", torch.float16)


@pytest.mark.parametrize(
    "text",
    ["- {name: x}", "- 5", "name: [", "- {name: a, model: a, file: ../a, licence: a, origin: a}"],
)
def test_another_table_is_refused(tmp_path, text):
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(WeightsError):
        load_table(path)


@pytest.mark.parametrize(("given", "used"), [("relative", False), ("/abs", True)])
def test_the_store_is_in_the_users_data_folder(monkeypatch, given, used):
    monkeypatch.setenv("XDG_DATA_HOME", given)
    assert str(store_folder()).startswith("/abs/") == used
    assert store_folder().parts[-2:] == ("rmpsam_ros", "weights")


def test_fetched_weights_are_found_by_the_prompt_engine(store, official, tmp_path):
    from rmpsam_ros.prompting import PromptingConfig, load_prompt_engine
    from rmpsam_ros.runtime import EngineConfig

    store.mkdir(parents=True)
    shutil.copy(official, store / "rwkv_sam_s.pth")  # not those of rwkv_sam_s: that is said
    with pytest.raises(Exception, match="does not fit this model"):
        load_prompt_engine(
            PromptingConfig(engine="rwkv_sam_s"), EngineConfig(engine="torch", device="cpu")
        )


def test_without_a_home_packaged_weights_are_found_and_the_store_says_what_is_missing(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(pathlib.Path, "home", no_home)
    assert find_weights("mobile_sam").is_file()
    assert find_weights("repvit_sam") is None
    assert licence_of(find_weights("mobile_sam")) == "Apache-2.0"
    with pytest.raises(WeightsError, match="set HOME or XDG_DATA_HOME"):
        store_folder()


def test_a_listed_file_is_verified_and_others_are_not(store, tmp_path, monkeypatch):
    path = store / "some.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    table = tmp_path / "table.yaml"
    row = "{{name: some, model: none, file: some.pt, licence: MIT, origin: there, sha256: '{}'}}"
    real = table_module.load_table

    def list_with(sha256):
        table.write_text("- " + row.format(sha256))
        monkeypatch.setattr(verify_module, "load_table", lambda: real(table))

    list_with(hashlib.sha256(b"weights").hexdigest())
    verify_listed(path)
    assert licence_of(path) == "MIT"
    path.write_bytes(b"weightz")
    with pytest.raises(WeightsError, match=r"damaged or was replaced.*weights fetch some"):
        verify_listed(path)
    list_with("")
    verify_listed(path)  # nobody knows what it should be
    path.with_name("some.pt.sha256").write_text(hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(WeightsError, match="damaged or was replaced"):
        verify_listed(path)
    other = tmp_path / "own.pt"
    other.write_bytes(b"anything")
    verify_listed(other)
    assert licence_of(other).startswith("unknown")
