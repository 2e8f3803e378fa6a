"""Reading your own files of text: nothing of them is lost in silence."""

import codecs
import csv
import gzip
import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from helpers.runtime.errors import TutorialError

WHOLE = (".txt", ".md")  # each file is a document; of the other kinds, each row
KINDS = (*WHOLE, ".csv", ".tsv", ".jsonl", ".json", ".parquet")  # each also with .gz after it
# A line of a table of one column: a cell in quotes, maybe over several lines, or else all of it.
_LINE = re.compile(r'(?!\Z)(?:"([^"]*(?:""[^"]*)*)"|([^\r\n]*))(?:\r\n?|\n|\Z)')
# As files for other programs hold them: what stands between them is a document of its own.
_MARK = re.compile(r"<\|(?:start|end)oftext\|>(?:\r?\n)?")
_SPACE = re.compile(r"\s*")
_HALF = re.compile("[\ud800-\udfff]")  # of an emoji
ODD = re.compile("[\0-\x08\x0e-\x1f\x7f-\x9f\ufffd-\uffff]")  # no writing, or one that was lost


@dataclass
class Reading:
    """What was in your own files. As a string: one line on what was read, what was not, and why."""

    documents: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was left out, or guessed

    def __str__(self) -> str:
        counts = len(self.files), len(self.documents), sum(map(len, self.documents))
        line = "Files read: {:,}, documents: {:,}, characters: {:,}".format(*counts)
        return "; ".join([line, *self.notes]) + "."


def listed(names: list) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(map(str, names[:3])) + f" and {len(names) - 3:,} more" * (len(names) > 3)


def read_texts(names: list[str], column: str = "text") -> Reading:
    """The texts in files, and in the files of folders: whole ones, or the rows of a `column`.

    TutorialError for a file that is missing, of no known kind, or broken, where a row holds
    something else than text, and where there is no text at all.
    """
    reading = Reading()
    for file in _files(names, reading.notes):
        try:
            rows = _read(file, column, reading.notes)
        except Exception as error:  # each kind of file has errors of its own
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise TutorialError(f"{file} could not be read: {reason}.") from error
        texts = [text for text in rows if text and not text.isspace()]
        if without := len(rows) - len(texts):
            what = f"{without:,} of {len(rows):,} rows without text"
            reading.notes.append(f"left out: {what} ({file.name})")
        reading.files.append(file)
        parts = [part for text in texts for part in _MARK.split(text)]
        if marks := len(parts) - len(texts):
            reading.notes.append(f"divided at {marks:,} marks such as <|endoftext|> ({file.name})")
        reading.documents += filter(str.strip, parts)
    if not reading.documents:
        raise TutorialError(f"There is no text in {listed(names)}; choose a file with some.")
    return reading


def _kind(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix


def _files(names: list[str], notes: list[str]) -> list[Path]:
    """The files that `names` name, each once; what folders hold besides is noted."""
    found = []
    for path in map(Path, names):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file())
            shown = [file for file in inside if "/." not in f"/{file.relative_to(path).as_posix()}"]
            found += (known := [file for file in shown if _kind(file) in KINDS])
            if other := sorted(file.name for file in {*inside}.difference(known)):
                notes.append(f"left out: {len(other):,} hidden or of other kinds ({listed(other)})")
        elif path.is_file() and _kind(path) in KINDS:
            found.append(path)
        else:
            kinds = ", ".join(KINDS)
            raise TutorialError(f"There is no file {path} of a kind known here; check it: {kinds}.")
    return list(dict.fromkeys(found))


def _read(file: Path, column: str, notes: list[str]) -> list[str | None]:
    """The texts in a file; an error says what is wrong with it."""
    data, kind = file.read_bytes(), _kind(file)
    if file.suffix.lower() == ".gz":
        data = gzip.decompress(data)
    if kind == ".parquet":
        rows = _parquet(data, column)
    else:
        text, is_windows = _decode(data)
        notes += [f"{file.name} is not UTF-8, and was read as Windows-1252"] * is_windows
        if kind in WHOLE:
            rows = [text.replace("\r\n", "\n").replace("\r", "\n")]
        else:
            rows = _json(text, column) if kind.startswith(".json") else _table(text, column)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, str | None) or _HALF.search(row or ""):
            raise ValueError(f"its row {number:,} holds {str(row)[:40]!r}, which is not text")
    odd = sum(len(ODD.findall(row)) for row in rows if row)
    if 50 * odd > sum(len(row) for row in rows if row):
        raise ValueError(f"{odd:,} of its characters stand for no writing, so it is not text")
    return rows


def _decode(data: bytes) -> tuple[str, bool]:
    """The text in `data`, and whether that is Windows-1252; ValueError where it cannot be told."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16"), False
    if b"\0" in data:
        raise ValueError("it is no text, or UTF-16 without a mark; save it as UTF-8")
    try:
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    foreign = re.sub(r"[\0-\x7f]", "", data.decode("utf-8", "replace"))
    text, broken = data.decode("cp1252", "replace"), foreign.count("\ufffd")
    is_other = 4 * broken > len(text)  # another alphabet, in an encoding of its own
    if is_other or 10 * (len(foreign) - broken) > broken or "\ufffd" in text:
        raise ValueError(f"it is neither UTF-8 nor Windows-1252 (line {line:,}); save it as UTF-8")
    return text, True


def _check_column(column: str, names: list[str]) -> None:
    if names and column not in names:
        shown = listed([name[:40] for name in names])
        advice = f"only {shown}; name one with --column (a table needs a first line with names)"
        raise ValueError(f"it has no column named {column}, {advice}")


def _table(text: str, column: str) -> list[str]:
    """The cells of a column of a .csv or .tsv file, whatever stands between cells: , ; or a tab."""
    text = text.lstrip("\r\n")
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    if delimiter not in head:
        matches = _LINE.finditer(text)
        lines = [m[2] if m[1] is None else m[1].replace('""', '"') for m in matches]
        _check_column(column, [name.strip() for name in lines[:1]])
        return lines[1:]
    csv.field_size_limit(2**31 - 1)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header, cells = [name.strip() for name in next(rows)], []
    _check_column(column, header)
    try:
        for row in filter(None, rows):  # a blank line is no row
            if len(row) != len(header):
                raise csv.Error(f"{len(row):,} cells, and its header has {len(header):,}")
            cells.append(row[header.index(column)])
    except csv.Error as error:
        where = f"row {len(cells) + 1:,} (line {rows.line_num:,}): {error}"
        raise ValueError(f"{where}; put quotes around a text with {delimiter!r} in it") from error
    return cells


def _json(text: str, column: str) -> list:
    """The texts in JSON values, one after the other: strings, objects, or lists of these."""
    decode, rows, end = json.JSONDecoder().raw_decode, [], 0
    while (start := _SPACE.match(text, end).end()) < len(text):
        value, end = decode(text, start)
        rows += value if isinstance(value, list) else [value]
    names = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    _check_column(column, names)
    return [row.get(column) if isinstance(row, dict) else row for row in rows]


def _parquet(data: bytes, column: str) -> list:
    from pyarrow import parquet  # it comes with datasets

    table = parquet.ParquetFile(io.BytesIO(data))
    _check_column(column, table.schema_arrow.names)
    return table.read(columns=[column]).column(0).to_pylist()
