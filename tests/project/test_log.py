"""The lighthouse keeper's log: its form, calendar and weather, and that nothing stands twice."""

import math
import re
from collections import Counter
from datetime import date, timedelta

from tests.conftest import ROOT

LOG = ROOT / "helpers" / "bundled" / "keepers_log.txt"
MONTHS = (
    "January February March April May June July August September October November December".split()
)
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
FIRST = re.compile(
    rf"(?P<weekday>{'|'.join(WEEKDAYS)}), (?P<day>[1-9]\d?) (?P<month>{'|'.join(MONTHS)}) "
    r"(?P<year>189[78])\. Wind (?P<wind>N|NE|E|SE|S|SW|W|NW) (?P<force>[1-9]|1[0-2])\. "
    r"Glass (?P<glass>\d\d\.\d\d), (?P<tendency>(rising|falling)( fast)?|steady)\."
)
LAMP = re.compile(r"Lamp lit (1?\d)\.([0-5]\d)\. Out (1?\d)\.([0-5]\d)\.")
ENTRIES = LOG.read_text(encoding="utf-8").rstrip("\n").split("\n\n")


def firsts() -> list[dict[str, str]]:
    return [FIRST.fullmatch(entry.split("\n")[0]).groupdict() for entry in ENTRIES]


def dates() -> list[date]:
    return [
        date(int(first["year"]), MONTHS.index(first["month"]) + 1, int(first["day"]))
        for first in firsts()
    ]


def next_days() -> list[tuple[dict[str, str], float]]:
    """First lines of entries that have one on the day after, and by how much the glass changes."""
    days, found = dates(), firsts()
    return [
        (before, round(float(after["glass"]) - float(before["glass"]), 2))
        for before, after, first, second in zip(found, found[1:], days, days[1:], strict=False)
        if second - first == timedelta(1)
    ]


def sun(day: date, side: int) -> float:
    """Minutes after noon in Greenwich of sunset (1) or sunrise (-1) at 57 N, 7 W; to some 6."""
    year = 2 * math.pi * (day.timetuple().tm_yday - 81) / 365.25
    declination = math.radians(23.44) * math.sin(year)
    equation = 9.87 * math.sin(2 * year) - 7.53 * math.cos(year) - 1.5 * math.sin(year)
    north = math.radians(57.2)
    cosine = math.cos(math.radians(90.83)) / (math.cos(north) * math.cos(declination))
    hours = math.degrees(math.acos(cosine - math.tan(north) * math.tan(declination))) / 15
    return side * 60 * hours + 4 * 7 - equation


def test_it_is_plain_text_of_entries_between_single_blank_lines():
    content = LOG.read_bytes().decode("ascii")
    assert re.fullmatch(r"[A-Za-z0-9 \n.,:;!?'-]+", content)
    assert content == "\n\n".join(ENTRIES) + "\n"
    assert not re.search(r"\n{3}|  | \n|\n ", content)


def test_there_are_enough():
    assert 200 <= len(ENTRIES) <= 220
    assert 9_000 <= len(LOG.read_text(encoding="utf-8").split()) <= 11_500


def test_every_entry_has_the_form():
    for entry in ENTRIES:
        first, _, *lamp = entry.split("\n")
        assert FIRST.fullmatch(first), first
        assert len(lamp) <= 1 and all(LAMP.fullmatch(line) for line in lamp), entry
    assert sum(bool(LAMP.fullmatch(entry.split("\n")[-1])) for entry in ENTRIES) >= 50


def test_entries_are_short():
    counts = [len(entry.split("\n")[1].split()) for entry in ENTRIES]
    assert 25 <= min(counts) and max(counts) <= 140
    assert sum(count > 70 for count in counts) <= 5


def test_dates_ascend_and_weekdays_agree():
    days = dates()
    assert all(before < after for before, after in zip(days, days[1:], strict=False))
    for day, first in zip(days, firsts(), strict=True):
        assert WEEKDAYS[day.weekday()] == first["weekday"], day


def test_the_glass_does_as_it_says():
    assert all(28.2 <= float(first["glass"]) <= 31 for first in firsts())
    assert len(next_days()) >= 30
    for first, change in next_days():
        sign = {"rising": 1, "steady": 0, "falling": -1}[first["tendency"].split()[0]]
        assert abs(change) <= 0.03 if sign == 0 else change * sign > 0, (first, change)
        assert first["tendency"].endswith("fast") == (abs(change) >= 0.3), (first, change)


def test_gales_come_with_a_low_glass():
    for first in firsts():
        if int(first["force"]) >= 8:
            assert float(first["glass"]) <= 29.5, first


def test_the_lamp_burns_from_sunset_to_sunrise():
    for day, entry in zip(dates(), ENTRIES, strict=True):
        if lamp := LAMP.fullmatch(entry.split("\n")[-1]):
            lit, lit_minutes, out, out_minutes = map(int, lamp.groups())
            assert abs(60 * lit + lit_minutes - sun(day, 1)) <= 10, day
            out_of_noon = 60 * (out - 12) + out_minutes
            assert abs(out_of_noon - sun(day + timedelta(1), -1)) <= 10, day


def test_nothing_stands_twice():
    sentences, phrases = Counter(), Counter()
    for entry in ENTRIES:
        text = entry.split("\n")[1]
        sentences.update(s for s in re.split(r"(?<=[.!?])\s", text) if len(s.split()) > 4)
        words = re.findall(r"[a-z0-9'-]+", text.lower())
        phrases.update({" ".join(words[at : at + 5]) for at in range(len(words) - 4)})
    assert [sentence for sentence, count in sentences.items() if count > 1] == []
    assert [phrase for phrase, count in phrases.items() if count > 3] == []
