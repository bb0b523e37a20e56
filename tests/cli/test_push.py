from pathlib import Path


def test_a_model_without_a_card_is_not_sent(run, tiny_model_file: Path) -> None:
    """The line says where a card is looked for, and what belongs in it; a file that is no model is named."""
    error = run("push", "ann/mine").error
    assert error.startswith(f"{tiny_model_file}: no card beside it")
    assert "tiny.md" in error
    Path("a.safetensors").write_bytes(b"none")
    assert run("push", "ann/mine", "--model", "a.safetensors").error.startswith("a.safetensors: ")


def test_a_name_that_no_repository_has(run) -> None:
    """It is refused before anything is sent."""
    Path("card.md").write_text("# mine")
    assert "name it owner/name" in run("push", "mine", "--card", "card.md").error
