"""How often `etl.kernels.language` is right, how fast it is, and what it finds in lines.

    python -m tests.bench.language --udhr nltk_udhr2.zip [--warc PAGES.warc.gz ...] [--model PATH]

`--udhr` is an archive of translations of the Universal Declaration of Human Rights, a text file a language named by its
ISO 639-3 code (such as nltk's udhr2). Each is cut into pieces of the same number of characters, and a piece is right if
the model names its language. Languages that the model has no code for are counted apart: what it calls them. Then
pieces of two languages are mixed line by line, to see how much of it `other_line_ratio` finds.

`--warc` gives real pages: their language beside the ``lang`` attribute of the page, documents per second with and
without lines, and how many decisions at a threshold are others where `detect` may stop when it is sure.
Times are CPU times of one process.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLTree

from etl.kernels import html, intervals, language

SIZES = (100, 300, 1000)
PIECES = 20  # of each size and language
PAGES = 1500
MAX_PAGE_BYTES = 1 << 20
THRESHOLDS = (0.5, 0.65, 0.8)
_SUFFIX = re.compile(r"_.*$")
_LANG = re.compile(r"<html[^>]{0,500}?\slang\s*=\s*[\"']?([a-zA-Z]{2,3})")
# ISO 639-3 to the codes of lid.176, which are ISO 639-1 where there is one. Names of one language count as one:
# individual codes of Arabic, Malay, Chinese and others are what their macrolanguage is called.
CODE_PAIRS = """
afr:af als:sq amh:am arb:ar arg:an ast:ast azj:az bel:be ben:bn bod:bo bos:bs bre:br bul:bg cat:ca ceb:ceb
ces:cs chv:cv cmn:zh cos:co cym:cy dan:da deu:de div:dv ell:el eml:eml eng:en epo:eo est:et eus:eu fin:fi
fra:fr fry:fy gla:gd gle:ga glg:gl gug:gn guj:gu heb:he hat:ht hin:hi hrv:hr hsb:hsb hun:hu hye:hy ido:io
ina:ia ind:id isl:is ita:it jav:jv jpn:ja kan:kn kat:ka kaz:kk khk:mn khm:km kin:rw kir:ky kor:ko lao:lo
lat:la lav:lv lit:lt ltz:lb mai:mai mal:ml mar:mr mkd:mk mlt:mt mly:ms mya:my nds:nds nep:ne nld:nl nno:nn
nob:no oci:oc lnc:oc oss:os pam:pam pan:pa pes:fa pnb:pnb pol:pl por:pt ron:ro roh:rm rus:ru sah:sah san:sa
sco:sco sin:si slk:sk slv:sl som:so spa:es src:sc srp:sr sun:su swe:sv swh:sw tam:ta tat:tt tel:te tgk:tg
tgl:tl tha:th tuk:tk tur:tr tyv:tyv uig:ug ukr:uk urd:ur uzn:uz vec:vec vep:vep vie:vi war:war wln:wa wuu:wuu
ydd:yi yor:yo kur:ku ckb:ckb que:qu quz:qu hif:hif
"""
CODES = dict(pair.split(":") for pair in CODE_PAIRS.split())
LARGE = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "uk", "vi", "zh")


def pieces(text: str, size: int, draw: random.Random) -> list[str]:
    """Up to `PIECES` parts of `size` characters, from whole words on, without the title that names the text."""
    body = " ".join(text.split("\n", 2)[-1].split())
    starts = list(range(0, max(1, len(body) - size + 1), size))
    return [body[at : at + size] for at in draw.sample(starts, min(PIECES, len(starts)))]


def wilson(right: int, count: int) -> str:
    low, high = intervals.wilson(right, count)
    return f"{right / max(count, 1):.4f} [{low:.4f}, {high:.4f}] of {count:,}"


def declaration(path: str, model: str, write: Callable[[str], Any]) -> None:
    draw = random.Random(1)
    archive = zipfile.ZipFile(path)
    files = [name for name in archive.namelist() if name.endswith(".txt")]
    texts = {name.rpartition("/")[2][:-4]: archive.read(name).decode() for name in files}
    known_codes = set(language.languages(model))
    known: dict[str, tuple[str, str]] = {}
    unknown: dict[str, str] = {}
    for name, text in texts.items():
        iso = _SUFFIX.sub("", name)
        code = (
            CODES.get(iso, iso)
            if CODES.get(iso, iso) in known_codes
            else next((code for code in known_codes if code.startswith(f"{iso}_")), None)
        )
        if code is None:
            unknown[name] = text
        else:
            known[name] = code, text
    write(f"{len(texts)} translations; {len(known)} in {len({c for c, _ in known.values()})} languages of the model\n")
    for size in SIZES:
        asked = [(code, piece) for code, text in known.values() for piece in pieces(text, size, draw)]
        found = language.detect([piece for _, piece in asked], model=model)
        hits = [(code, name, name == code, score or 0.0) for (code, _), (name, score) in zip(asked, found, strict=True)]
        for group, chosen in (
            ("all", hits),
            ("score 0.65 or more", [hit for hit in hits if hit[3] >= 0.65]),
            (f"the {len(LARGE)} of most speakers", [hit for hit in hits if hit[0] in LARGE]),
        ):
            write(f"{size:5} characters, {group}: right {wilson(sum(hit[2] for hit in chosen), len(chosen))}\n")
        if size == SIZES[-1]:
            wrong = Counter(hit[:2] for hit in hits if not hit[2])
            write(f"      most frequent mistakes (is, was called): {wrong.most_common(12)}\n")
    asked_unknown = [piece for text in unknown.values() for piece in pieces(text, 300, draw)]
    scores = [score or 0.0 for _, score in language.detect(asked_unknown, model=model)]
    for threshold in THRESHOLDS:
        count = sum(score >= threshold for score in scores)
        write(f"languages it does not know, {threshold} or more all the same: {wilson(count, len(scores))}\n")
    mixed(known, model, draw, write)


def mixed(known: dict[str, tuple[str, str]], model: str, draw: random.Random, write: Callable[[str], Any]) -> None:
    """Documents of twenty lines of 150 characters, some of them of another of the languages with many speakers."""
    large = [name for name in known if known[name][0] in LARGE]
    for others in (0, 1, 2, 4, 8):
        texts, planted = [], []
        for _ in range(200):
            first, second = draw.sample(large, 2)
            if known[first][0] == known[second][0]:
                continue
            lines = (pieces(known[first][1], 150, draw) * 2)[: 20 - others]
            added = pieces(known[second][1], 150, draw)[:others]
            both = [*lines, *added]
            draw.shuffle(both)
            texts.append("\n".join(both))
            planted.append((known[first][0], known[second][0], sum(map(len, added)) / sum(map(len, both))))
        rows = language.batch(texts, model=model).to_pylist()
        # Where half of a text is in each language, either may be called that of the text.
        named = sum(
            {row["language"], row["other_line_language"]} == {first, second}
            for row, (first, second, _) in zip(rows, planted, strict=True)
        )
        share = sum(share for *_, share in planted) / len(planted)
        found = sum(row["other_line_ratio"] for row in rows) / len(rows)
        write(f"{others:2} of 20 lines in another language: {share:.3f} of the characters, found {found:.3f}")
        write(f", both named right {wilson(named, len(rows))}\n" if others else "\n")


def pages(warcs: Sequence[str]) -> list[tuple[str | None, str]]:
    """Language that the page declares, and its main text by resiliparse."""
    found: list[tuple[str | None, str]] = []
    for name in warcs:
        with open(name, "rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                payload = record.reader.read()
                if len(found) == PAGES or len(payload) > MAX_PAGE_BYTES:
                    continue
                content, _ = html.decode(payload)
                lang = _LANG.search(content)
                text = extract_plain_text(HTMLTree.parse(content), main_content=True)
                if text.strip():
                    found.append((lang[1].lower() if lang else None, text))
    return found


def real(warcs: Sequence[str], model: str, write: Callable[[str], Any]) -> None:
    documents = pages(warcs)
    texts = [text for _, text in documents]
    write(f"{len(texts):,} real pages, {sum(map(len, texts)) / len(texts):,.0f} characters on average\n")
    rows = language.batch(texts, model=model).to_pylist()
    both = [(lang, row["language"]) for (lang, _), row in zip(documents, rows, strict=True) if lang and row["language"]]
    write(f"the lang attribute says the same: {wilson(sum(a == b for a, b in both), len(both))}; ")
    write(f"else (attribute, model) {Counter(pair for pair in both if pair[0] != pair[1]).most_common(8)}\n")
    for share in (0.01, 0.05, 0.2):
        count = sum(row["other_line_ratio"] > share for row in rows)
        write(f"pages with more than {share:.0%} of characters in lines of another language: {count}\n")
    for name, run in (
        ("detect", lambda: language.detect(texts, model=model)),
        ("detect, sure=0.9", lambda: language.detect(texts, model=model, sure=0.9)),
        ("batch without lines", lambda: language.batch(texts, model=model, lines=False)),
        ("batch with lines", lambda: language.batch(texts, model=model)),
    ):
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            run()
            best = min(best, time.process_time() - start)
        write(f"{name:24}{len(texts) / best:10,.0f} documents/s/core\n")
    whole, quick = (language.detect(texts, model=model, sure=sure) for sure in (None, 0.9))
    for threshold in THRESHOLDS:
        other = sum(
            (a[0] if (a[1] or 0) >= threshold else None) != (b[0] if (b[1] or 0) >= threshold else None)
            for a, b in zip(whole, quick, strict=True)
        )
        write(f"decisions at {threshold} that are others when sure at 0.9: {other} of {len(texts):,}\n")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--udhr")
    parser.add_argument("--warc", nargs="*", default=[])
    parser.add_argument("--model", default=language.MODEL)
    options = parser.parse_args(argv)
    write = sys.stdout.write
    if options.udhr:
        declaration(options.udhr, options.model, write)
    if options.warc:
        real(options.warc, options.model, write)


if __name__ == "__main__":
    main()
