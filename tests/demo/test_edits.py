import numpy as np
import pytest

from vqspeech.demo.edits import read_codes, shuffle_codes, write_codes
from vqspeech.errors import CodesError


def test_codes_survive_being_text() -> None:
    """What is written is read again, whatever stands between the numbers."""
    codes = np.array([3, 0, 15, 3])
    assert read_codes(write_codes(codes), 16, 4).tolist() == codes.tolist()
    assert read_codes("0000000000003 00", 16, 4).tolist() == [3, 0]
    assert read_codes(" 3,0\n15 ,, 3\t", 16, 4).tolist() == codes.tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there are no codes"),
        (" , ", "there are no codes"),
        ("1 16", "number 2, '16'"),
        ("00000000000016", "number 1, '00000000000016'"),
        ("1 -1", "number 2, '-1'"),
        ("1.5", "number 1, '1.5'"),
        ("1_0", "number 1, '1_0'"),
        ("٣", "number 1"),
        ("9" * 5000, "number 1, '99999999999999999999'"),
        ("1 2 3 4 5", "5 codes: at most 4"),
    ],
)
def test_what_is_no_code_is_named(text: str, said: str) -> None:
    """The message says which number it is, and what codes are."""
    with pytest.raises(CodesError, match=said):
        read_codes(text, 16, 4)


def test_shuffled_codes_are_the_same_in_another_order() -> None:
    """Each comes as often as before; the seed decides the order."""
    codes = np.arange(50) // 2
    shuffled = shuffle_codes(codes, 1)
    assert sorted(shuffled) == codes.tolist()
    assert shuffled.tolist() != codes.tolist()
    assert shuffle_codes(codes, 1).tolist() == shuffled.tolist()
    assert shuffle_codes(codes, 2).tolist() != shuffled.tolist()
