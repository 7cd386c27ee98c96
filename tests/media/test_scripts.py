"""Texts of any script survive: nothing that a person sees is lost, equal texts are equal, and tokens read as text."""

import itertools
import re
import unicodedata

import numpy as np
import pytest
import regex

from stages.media.text import join, tokenize
from stages.sources.scenes import captions, questions, world
from stages.sources.scenes.languages import LANGUAGES

SENTENCES = {
    "Hindi": "वह दीन नया है",
    "Bengali": "একটি ছোট কুকুর দৌড়ায়",
    "Tamil": "ஒரு சிறிய நாய் ஓடுகிறது",
    "Arabic": "كلبٌ صغيرٌ يجري في الحديقة",
    "Persian": "من می‌خواهم یک سگ کوچک",
    "Hebrew": 'הכלב של צה"ל רץ בַּגַּן',
    "Greek": "Ο μικρός σκύλος τρέχει",
    "Russian": "Маленький ёжик бежит",
    "Ukrainian": "Об'єкт їде ґанком",
    "Turkish": "İstanbul'da küçük bir köpek ısırıyor",
    "Vietnamese": "Một con chó nhỏ đang chạy",
    "Yoruba": "Ajá kékeré ń sáré ẹ̀kọ́",
    "Korean": "작은 개가 공원에서 달린다",
    "Amharic": "ትንሽ ውሻ ይሮጣል",
    "Georgian": "პატარა ძაღლი გარბის",
    "Armenian": "Փոքրիկ շունը վազում է",
    "Chinese": "今天我在公园里看到3只猫睡觉",
    "traditional Chinese": "昨天我在公園裡看到一隻貓",
    "Japanese": "ラーメンを食べている人々がいる",
    "Thai": "เด็กกินน้ำอยู่ในสวน",
    "Lao": "ເດັກນ້ອຍກິນນ້ຳ",
    "Khmer": "ខ្ញុំស្រឡាញ់ឆ្កែ",
    "Burmese": "မြန်မာနိုင်ငံ၏ခွေး",
    "Tibetan": "ཁྱི་ཆུང་ཆུང་རྒྱུག",
    "emoji": "👍🏽👎🏿👨‍👩‍👧🇩🇪🇫🇷🏴󠁧󠁢󠁥󠁮󠁧󠁿🏃‍♀️😀",
    "signs": "★★☆→←∞",
    "English": "Two small dogs can't run",
}
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve"
FORMS = ("NFC", "NFD", "NFKC", "NFKD")
DIFFERENT = [  # to a person, and nearly equal
    ("दिन", "दीन", "दन", "दान"),
    ("مَلِك", "مُلك", "ملك"),
    ("מִלָּה", "מלה"),
    ("ก", "กา", "กำ", "กิ", "กี", "ก่า", "ก้า"),
    ("は", "ば", "ぱ", "ハ"),
    ("猫", "狗", "犬"),
    ("개", "게", "깨"),
    ("ma", "má", "mạ", "mã", "mâ"),
    ("sık", "sik"),
    ("é", "è", "e", "ë"),
    ("👍", "👎", "👍🏽", "👍🏿"),
    ("🇩🇪", "🇫🇷", "🇪🇩"),
    ("👨‍👩‍👧", "👨👩👧", "👨‍👩‍👦"),
    ("1️⃣", "2️⃣", "one"),
    ("→", "←"),
    ("€", "£"),
    ("是", "不是"),
    ("می‌خواهم", "می خواهم"),
    ("ক", "কা", "কি"),
    ("ខ", "ខ្", "ខុ"),
]


def words_1(text: str) -> list[str]:
    """Split as the tokenizer before this one did: right for English."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+", folded)
    number = {f"{i:0{width}}": name for width in (1, 2) for i, name in enumerate(NUMBERS.split())}
    return [number.get(word, word) for word in words]


def seen(text: str) -> str:
    """Return what a person tells texts by, as Unicode has it: no case, spaces, punctuation, or what is invisible."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = folded.replace("ς", "σ").replace("i\u0307", "i").replace("\u05f4", "")
    return "".join(
        c for c in unicodedata.normalize("NFKD", folded) if unicodedata.category(c)[0] in "LMNS" and c != "\ufe0f"
    )


def test_english_is_split_as_before():
    rng = np.random.default_rng(3)
    for index in range(400):
        scene = world.sample(7, index, 3)
        texts = [*captions.captions(scene, rng, 5, LANGUAGES["en"])]
        texts += [question.text for question in questions.questions(scene, rng, 6, LANGUAGES["en"])]
        for text in texts:
            assert tokenize(text) == words_1(text)
            assert join(tokenize(text)) == " ".join(tokenize(text))


def test_every_short_text_of_latin_letters_digits_and_punctuation_is_split_as_before():
    signs = "aZé7'\u2019 -_.,\u201c+$@\u20141\u00bd"
    for length in (1, 2, 3):
        for letters in itertools.product(signs, repeat=length):
            text = "".join(letters)
            assert tokenize(text) == words_1(text), text


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("script", SENTENCES)
def test_nothing_that_a_person_sees_is_lost_and_all_forms_are_one(script, form):
    text = SENTENCES[script]
    tokens = tokenize(unicodedata.normalize(form, text))
    assert tokens == tokenize(text)
    assert seen("".join(tokens)) == seen(text).replace("2", "two")
    assert all(token == token.strip() and " " not in token for token in tokens)


@pytest.mark.parametrize("script", SENTENCES)
def test_joined_tokens_are_the_text(script):
    text, tokens = SENTENCES[script], tokenize(SENTENCES[script])
    read = join(tokens)
    assert tokenize(read) == tokens
    assert tokenize(" ".join(tokens)) == tokens
    assert [seen(word) for word in read.split()] == [seen(word) for word in text.split()]


@pytest.mark.parametrize("script", ["Chinese", "traditional Chinese", "Japanese", "Thai", "Lao", "Khmer", "Burmese"])
def test_scripts_without_spaces_are_cut_where_unicode_sees_letters(script):
    text = SENTENCES[script].replace("3", "")
    assert tokenize(text) == regex.findall(r"\X", unicodedata.normalize("NFC", text))


@pytest.mark.parametrize("script", ["Hindi", "Bengali", "Tamil", "Arabic", "Persian", "Korean", "Greek", "Yoruba"])
def test_words_are_what_stands_between_spaces(script):
    assert len(tokenize(SENTENCES[script])) == len(SENTENCES[script].split())


@pytest.mark.parametrize("script", ["emoji", "signs"])
def test_each_sign_is_a_token(script):
    plain = SENTENCES[script].replace("\ufe0f", "")
    assert tokenize(SENTENCES[script]) == regex.findall(r"\X", plain)


@pytest.mark.parametrize("place", ["{}", "x {} y", "是{}的", "{}{}", "({})", "3 {}"])
@pytest.mark.parametrize("texts", DIFFERENT, ids=lambda texts: texts[0])
def test_texts_that_differ_to_a_person_have_other_tokens(texts, place):
    for form in FORMS:
        found = [tuple(tokenize(unicodedata.normalize(form, place.format(text, text)))) for text in texts]
        assert len(set(found)) == len(texts), found


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("soft\u00adware", "software"),
        ("\u200fשלום\u200e", "שלום"),
        ("مــرحبا", "مرحبا"),
        ("❤\ufe0f", "❤"),
        ("ΛΌΓΟΣ", "λόγος"),
        ('צה"ל', "צה״ל"),
        ("ג׳ירפה", "ג'ירפה"),
        ("İSTANBUL", "istanbul"),
        ("ｶﾞｿﾘﾝ", "ガソリン"),
        ("น\u0e49\u0e4d\u0e32", "น้ำ"),
        ("Auf\u200clage", "Auflage"),
        ("３只", "3只"),
        ("caf\ufffd", "caf"),
    ],
)
def test_what_is_the_same_to_a_person_has_the_same_tokens(text, same):
    assert tokenize(text) == tokenize(same)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["a", "dog"], "a dog"),
        (["<unk>", "猫"], "<unk> 猫"),
        (["t", "恤", "很", "好"], "t 恤很好"),
        (["15", "只", "猫", "3", "4"], "15只猫3 4"),
        (["🇩", "🇪"], "🇩 🇪"),
        (["👍", "🏽"], "👍 🏽"),
        (["我", "👍", "ok", "😀"], "我👍 ok 😀"),
        ([], ""),
    ],
)
def test_spaces_stand_where_a_reader_wants_them(tokens, text):
    assert join(tokens) == text


@pytest.mark.parametrize(
    ("text", "tokens"), [("3只猫", ["3", "只", "猫"]), ("2 गाय", ["2", "गाय"]), ("2 µm", ["two", "μm"])]
)
def test_english_number_words_stand_among_latin_letters_alone(text, tokens):
    assert tokenize(text) == tokens


def test_random_texts_of_all_scripts_read_as_they_were_cut():
    rng = np.random.default_rng(5)
    pieces = [piece for text in SENTENCES.values() for piece in regex.findall(r"\X", text)]
    for _ in range(3000):
        text = "".join(rng.choice(pieces, size=rng.integers(1, 9)).tolist())
        tokens = tokenize(text)
        assert tokenize(join(tokens)) == tokens, text
        assert tokenize(" ".join(tokens)) == tokens, text
