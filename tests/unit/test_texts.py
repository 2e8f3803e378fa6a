"""Reading a learner's own files: nothing of a text is lost, or taken for another, in silence."""

import gzip
import json

import pyarrow
import pytest
from pyarrow import parquet

from helpers.runtime.errors import TutorialError
from helpers.runtime.texts import read_texts


@pytest.fixture
def read(tmp_path):
    """What is read from files with these contents, or from the one named `only`."""

    def play(column="text", **contents):
        for name, content in contents.items():
            file = tmp_path / name.replace("__", "/").replace("_", ".")
            file.parent.mkdir(exist_ok=True)
            content = content.encode() if isinstance(content, str) else content
            file.write_bytes(content)
        return read_texts([str(tmp_path)], column)

    return play


ROWS = ["first text", "second text"]


def test_files_of_every_kind(read):
    objects = [json.dumps({"n": 1, "text": row}) for row in ROWS]
    table = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"n": [1, 2], "text": ROWS}), table)
    table = table.getvalue().to_pybytes()
    found = read(
        a_txt="café\r\n", b_md="# Title\n", c_csv="n,text\n1,first text\n2,second text\n",
        d_tsv="n\ttext\n1\tfirst text\n2\tsecond text\n", e_jsonl="\n".join(objects),
        f_json=f"[{','.join(objects)}]", g_json=json.dumps(ROWS, indent=1), h_parquet=table,
        i_csv_gz=gzip.compress(b"text\nfirst text\nsecond text"), j_parquet_gz=gzip.compress(table),
    )  # fmt: skip
    assert found.documents == ["café\n", "# Title\n", *8 * ROWS]
    assert str(found) == "Files read: 10, documents: 18, characters: 181."


@pytest.mark.parametrize(
    ("table", "texts"),
    [
        ("text\nRoses are red, violets are blue\n", ["Roses are red, violets are blue"]),
        ("text\r\na, b; c\td\r\n", ["a, b; c\td"]),
        ('text\n"a, b"\n"two\r\nlines, ""quoted"""\nc', ["a, b", 'two\r\nlines, "quoted"', "c"]),
        ('text\n"Hello," she said.\n"Open\n', ['"Hello," she said.', '"Open']),
        ('"text"\na, b\n\nc', ["a, b", "c"]),
        ("text\nnull\nNA\nNone\nnan\n1\nTrue\n", ["null", "NA", "None", "nan", "1", "True"]),
        ("n,text\n1,null\n2,007\n", ["null", "007"]),
        ('n,text\n1,"a, b\nc"\n', ["a, b\nc"]),
        ("n;text\n1;Roses, violets\n", ["Roses, violets"]),
        ('text\r\r\none\r\r\n"a ""b"""\r\r\n', ["one", 'a "b"']),  # by csv in Windows' text mode
        ("n,text\r\r\n1,one\r\r\n2,two\r\r\n", ["one", "two"]),
        ("text\n" + "x" * 300_000, ["x" * 300_000]),
        ("n,text\n1," + "x" * 300_000, ["x" * 300_000]),
    ],
)
def test_no_text_of_a_table_is_lost(read, table, texts):
    assert read(a_csv=table).documents == texts


def test_another_column_and_the_rows_without_text(read):
    rows = [{"body": "one"}, {"body": None}, {"n": 3}, {"body": " "}, None, {"body": "null"}]
    found = read("body", a_jsonl="\n".join(map(json.dumps, rows)), b_csv="n,body\n1,two\n2,\n",
                 c_txt="")  # fmt: skip
    assert found.documents == ["one", "null", "two"]
    assert "4 of 6 rows without text (a.jsonl)" in str(found)
    assert "1 of 2 rows without text (b.csv)" in str(found)
    assert "1 of 1 rows without text (c.txt)" in str(found)


def test_a_folder_is_read_in_order_and_the_rest_is_named(read):
    found = read(b_txt="b", a__z_md="az", notes_docx="PK", _hidden_txt="h", a___git_txt="g")
    assert found.documents == ["az", "b"]
    assert "3 hidden or of other kinds (.git.txt, .hidden.txt, notes.docx)" in str(found)


def test_a_file_named_twice_is_read_once(tmp_path):
    (tmp_path / "a.txt").write_text("once", encoding="utf-8")
    assert read_texts([str(tmp_path / "a.txt"), str(tmp_path)]).documents == ["once"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_encodings(read, encoding, kind):
    text = "It’s a naïve café – “really”, she says"
    content = {"txt": text, "csv": f"text\n{text}", "jsonl": json.dumps([text], ensure_ascii=False)}
    found = read(**{f"a_{kind}": content[kind].encode(encoding)})
    assert found.documents == [text]
    assert ("read as Windows-1252" in str(found)) == (encoding == "cp1252")


RUSSIAN = "Все счастливые семьи похожи друг на друга. " * 9


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a_txt", b"  \n\t ", "no text in"),
        ("a_csv", b"", "no text in"),
        ("a_json", b"[]", "no text in"),
        ("a_csv", b"n,m\n1,2\n", "no column named text, only n, m; name one with --column"),
        ("a_csv", b"quote\na\n", "no column named text, only quote"),
        ("a_csv", b"n,text\n1,a\n\n2,b, c\n", "a.csv .* row 2 .line 4.: 3 cells, .* header has 2"),
        ("a_csv", b"n,text\n1,a\nb\n", "row 2 .line 3.: 1 cells"),
        ("a_csv", b'n,text\n1,"a" b\n', "row 1 .line 2."),
        ("a_csv", b'n,text\n1,"a\n2,b\n', "row 1 .line 3."),
        ("a_jsonl", b"{not json\n", "could not be read: Expecting .* line 1"),
        ("a_jsonl", b'{"text": "a"}\n{"text": 42}', "row 2 holds '42', which is not text"),
        ("a_jsonl", b'{"body": "a"}', "no column named text, only body"),
        ("a_json", b'["half \\ud83d"]', "row 1 holds .* not text"),
        ("a_parquet", b"PAR1", "could not be read"),
        ("a_txt_gz", b"not packed", "could not be read"),
        ("a_txt", "é".encode("latin-1"), "neither UTF-8 nor Windows-1252"),
        ("a_txt", RUSSIAN.encode("cp1251"), "neither UTF-8 nor Windows-1252"),
        ("a_txt", RUSSIAN.encode("koi8-r"), "neither UTF-8 nor Windows-1252"),
        ("a_txt", b"a\n" + RUSSIAN.encode()[:98], "neither UTF-8 nor Windows-1252 .line 2"),
        ("a_txt", "a text".encode("utf-16-le"), "UTF-16 without a mark"),
        ("a_txt", RUSSIAN.encode("utf-16-be"), "UTF-16 without a mark|neither UTF-8"),
        ("a_txt", "a text".encode("utf-32"), "not text"),
        ("a_txt", bytes(range(1, 256)), "could not be read"),
        ("a_txt", b"caf\xef\xbf\xbd au lait", "characters stand for no writing"),
        ("a_pdf", b"%PDF", "no text in"),
    ],
)
def test_a_wrong_file_gets_a_sentence(read, name, content, words):
    with pytest.raises(TutorialError, match=words):
        read(**{name: content})


def test_a_number_in_a_parquet_file_is_not_text(read):
    table = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"text": [1, 2]}), table)
    with pytest.raises(TutorialError, match="row 1 holds '1', which is not text"):
        read(a_parquet=table.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("name", "words"), [("a.pdf", "no file .* known here"), ("a.txt", "no file")]
)
def test_a_missing_file(tmp_path, name, words):
    with pytest.raises(TutorialError, match=words):
        read_texts([str(tmp_path / name)])


def test_marks_of_other_programs_divide_a_text_and_are_never_learned(read):
    marked = "<|startoftext|>One.\n<|endoftext|>\n<|startoftext|>Two.<|endoftext|>Three."
    found = read(a_txt=marked, b_csv="text\n<|startoftext|>A joke, short.<|endoftext|>\nPlain.\n")
    assert found.documents == ["One.\n", "Two.", "Three.", "A joke, short.", "Plain."]
    rows = json.dumps({"text": "<|startoftext|>\r\nOne.<|endoftext|>\r\n"})
    assert read(c_jsonl=rows).documents[-1] == "One.", "no empty line, nor one of Windows'"
    assert "divided at 4 marks such as <|endoftext|> (a.txt)" in str(found)
    assert "divided at 2 marks" in str(found) and "without text" not in str(found)


def test_a_table_without_a_header_is_told_so_in_a_short_sentence(read):
    with pytest.raises(TutorialError, match="a table needs a first line with names") as caught:
        read(a_csv="It was the best of times, it was the worst of times, " * 40 + "\nand more\n")
    assert "and 78 more" in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "name", ["我的 текст 🦊.txt", "-dash.txt", "two..dots.txt", " a space.txt", "[a]{b}%d.txt"]
)
def test_a_file_of_any_name_is_read_alone_and_in_a_folder_of_any_name(tmp_path, name):
    folder = tmp_path / "-мои тексты 🏠 1."
    folder.mkdir()
    (folder / name).write_text("text", encoding="utf-8")
    for named in (folder, folder / name):
        found = read_texts([str(named)])
        assert (found.documents, found.notes) == (["text"], [])
