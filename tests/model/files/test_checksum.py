"""Test that a checksum covers every byte of a content, wherever the format puts it."""

import io
import mmap
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model.files.checksum import BLANK, PREFIX, ChecksumError, ChecksumWriter, check_checksum, write_with_checksum

BEFORE, AFTER = st.binary(max_size=40), st.binary(max_size=40)


def written(content: bytes, *, first: bool) -> bytes:
    file = io.BytesIO()
    write_with_checksum(file, content, first=first)
    return file.getvalue()


@given(BEFORE, AFTER, st.booleans(), st.data())
def test_every_changed_byte_is_detected(before, after, first, data):
    assume(PREFIX not in (before if first else after))  # the format says which of two such texts counts
    content = written(before + BLANK.encode() + after, first=first)
    check_checksum(content, first=first)
    assert (content.startswith(before), content.endswith(after), len(content)) == (True, True, len(before + after) + 14)
    place, change = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    damaged = bytearray(content)
    damaged[place] ^= change
    for wrong in (bytes(damaged), content + b"\0", content[:-1], content[1:]):
        with pytest.raises(ChecksumError):
            check_checksum(wrong, first=first)


@given(st.lists(st.binary(max_size=20)))
def test_a_stream_ends_with_the_checksum_of_its_parts(parts):
    file = io.BytesIO()
    writer = ChecksumWriter(file)
    for part in parts:
        assert writer.write(part) == len(part)
    writer.end()
    check_checksum(file.getvalue(), first=False)
    assert file.getvalue() == written(b"".join(parts) + BLANK.encode(), first=False)


def test_of_two_texts_of_that_form_the_format_says_which_one_counts():
    other = b"crc32:12345678"
    for content, first in ((other + BLANK.encode(), False), (BLANK.encode() + other, True)):
        check_checksum(written(content, first=first), first=first)
        assert other in written(content, first=first)


def test_a_file_mapped_into_memory_is_checked(tmp_path: Path):
    (tmp_path / "a").write_bytes(written(b"text" + BLANK.encode(), first=True))
    with open(tmp_path / "a", "rb") as file:
        check_checksum(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), first=True)


def test_a_content_without_checksum_is_an_error_that_says_so():
    with pytest.raises(ChecksumError, match="it has no checksum: the file is damaged, or another version"):
        check_checksum(b"content", first=True)
