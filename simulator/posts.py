"""The posts of the simulated stream, as pure functions of a seed and a post's number.

Post number ``n`` (1, 2, 3, ...) always has the same text for the same seed and the same timestamp for the same
epoch and rate, in every process and on every machine. So a restarted simulator continues at the current time, a replay
repeats the same posts, and a test knows from a number alone what must have been stored.
"""

# ruff: noqa: RUF001 - the posts contain letters of other scripts that look like Latin ones

import math
from bisect import bisect
from collections.abc import Sequence
from fractions import Fraction
from hashlib import blake2b, sha256
from itertools import accumulate

# The share of posts with at least one of each, rounded to 1/256: one byte of the hash decides.
RETWEET_SHARE = 0.20
MENTION_SHARE = 0.25
ENTITY_SHARE = 0.15
EMOJI_SHARE = 0.35
HASHTAG_SHARE = 0.40
LINK_SHARE = 0.30
LINK_IN_THE_MIDDLE_SHARE = 0.25  # of the posts that have a link
THIRD_PHRASE_SHARE = 0.55  # every post has two
LANGUAGE_SHARES = {
    "English": 0.55,
    "Spanish": 0.10,
    "Arabic": 0.08,
    "Hindi": 0.07,
    "Russian": 0.07,
    "Japanese": 0.05,
    "Chinese": 0.05,
    "Korean": 0.03,
}

# The longest parts together have at most 280 characters: no post is longer.
PHRASES = {
    "English": (
        "just finished my run and the river was all mist", "coffee first, questions later",
        "why does every meeting end five minutes late", "the new album is on repeat since last night",
        "can't believe it's already Friday", "who else is watching the match tonight",
        "my cat has decided that the keyboard is hers", "lol", "this thread is worth your lunch break",
        "train delayed again, so here are my thoughts", "honestly the best ramen in town",
        "shipping to production on a Friday, wish me luck", "10/10 would recommend",
        "the sunset over the harbour right now", "somebody explain this to me like I'm five",
        "three tickets left for Saturday, DM me", "that plot twist though", "reading this made my day",
        "new post about streams, windows and late data", "so proud of the whole team",
        "it's raining sideways and I forgot my umbrella", "breaking: power is back in the old town",
        "I said what I said", "grandma's recipe, finally written down", "unpopular opinion: winter is underrated",
        "we are hiring two data engineers, remote is ok", "good morning to everyone except my alarm clock",
        "polls close at 8 pm, go and vote", "what a goal in the 90th minute", "still thinking about that ending",
    ),
    "Spanish": (
        "qué golazo en el último minuto", "mañana más y mejor", "el café está carísimo, pero vale la pena",
        "¿alguien sabe a qué hora empieza el concierto?", "no puedo creer que ya sea viernes",
        "la lluvia no para desde ayer por la tarde", "feliz cumpleaños, abuela", "jajaja qué risa",
    ),
    "Arabic": (
        "صباح الخير يا أصدقاء", "المباراة كانت رائعة الليلة", "لا أصدق أن الأسبوع انتهى بهذه السرعة",
        "القهوة أولا ثم كل شيء آخر", "شكرا لكم جميعا على الدعم", "الجو جميل جدا في المدينة اليوم",
    ),
    "Hindi": (
        "सुप्रभात दोस्तों", "आज का मैच बहुत शानदार था", "बारिश फिर से शुरू हो गई है, चाय हो जाए",
        "यह गाना बार बार सुन रहा हूँ", "आप सभी का बहुत बहुत धन्यवाद", "कल सुबह की ट्रेन है और नींद नहीं आ रही",
    ),
    "Russian": (
        "доброе утро, друзья", "какой матч был вчера вечером", "опять дождь, а зонт остался дома",
        "спасибо всем за поддержку", "не могу поверить, что уже пятница", "этот фильм стоит посмотреть дважды",
    ),
    "Japanese": (
        "おはようございます、今日もいい天気ですね", "昨日の試合は本当にすごかった", "明日も頑張ろう",
        "電車がまた遅れているので写真でもどうぞ", "このラーメンは今年一番おいしいかもしれない",
        "新しいアルバムをずっと聴いています",
    ),
    "Chinese": (
        "早上好，今天的天气真不错", "昨晚的比赛太精彩了，最后一分钟绝杀", "这家店的面条真好吃",
        "周末终于到了，有人一起去爬山吗", "谢谢大家的支持和鼓励", "地铁又晚点了，大家都在等",
    ),
    "Korean": (
        "좋은 아침입니다 여러분", "어제 경기는 정말 대단했어요", "벌써 금요일이라니 믿을 수가 없다",
        "이 노래만 계속 듣고 있어요",
    ),
}  # fmt: skip
JOINTS = (". ", ", ", "! ", " ... ", "? ", " - ", "; ", " / ")
ENTITY_JOINTS = (" &amp; ", " &lt;3 ", ". That&#39;s it: ", " &gt;&gt; ", " &quot;wow&quot; ", " &amp;&amp; ", "&#33; ")
RETWEETS = ("RT: ", "RT:", "RT: ", "RT: RT: ")
MENTIONS = tuple(f"@{name} " for name in ("ada_l", "news24", "el_profe", "maria_k", "dev_null", "olga_88", "tanaka_99"))
EMOJI = (
    " 😀", " 😂😂", " ❤️", " 🔥", " 🎉", " 👍🏽", " 🙏", " ☕", " 🇧🇷", " 🇺🇦🇵🇱", " 🚀", " 😭", " 💯", " 1️⃣",
    " 🤷\u200d♀️", " 👩\u200d💻", " 👨\u200d👩\u200d👧\u200d👦", " 🏳️\u200d🌈", " 👩🏾\u200d🚀", " 🐈\u200d⬛",
)  # fmt: skip
HASHTAGS = (
    " #python", " #AI #BigData", " #MondayMotivation", " #news", " #fyp #viral #foryou", " #Berlin2026", " #a",
    " #сегодня", " #كرة_القدم", " #भारत", " #música #conciertos", " #100DaysOfCode", " #北京", " #football",
    " #こんにちは", " #서울",
)  # fmt: skip
LINKS = (  # %s becomes ten hexadecimal digits
    " https://t.co/%s", " http://t.co/%s", " https://www.example.com/news/%s.html", " www.example.org/%s",
    " https://example.com/%s?utm_source=post&id=7", " (https://example.org/wiki/Page_(%s))", " https://t.co/%s.",
    " [http://www.example.net/%s]", " https://t.co/%s!", " <https://example.com/a/%s>",
    " https://example.com:8443/%s#part-2,", " https://bücher.example/%s", ' "https://t.co/%s"', " https://t.co/%s ...",
)  # fmt: skip


def _slot(share: float, options: Sequence[str]) -> tuple[str, ...]:
    """Return 256 strings, one for each value of a byte: ``share`` of them are ``options`` in turn, the others empty."""
    filled = round(share * 256)
    return tuple(options[i % len(options)] if i < filled else "" for i in range(256))


_RETWEET = _slot(RETWEET_SHARE, RETWEETS)
_MENTION = _slot(MENTION_SHARE, MENTIONS)
_EMOJI = _slot(EMOJI_SHARE, EMOJI)
_HASHTAG = _slot(HASHTAG_SHARE, HASHTAGS)
_LINK = _slot(LINK_SHARE, LINKS)
_JOINT = [entity or JOINTS[i % len(JOINTS)] for i, entity in enumerate(_slot(ENTITY_SHARE, ENTITY_JOINTS))]
_PHRASE = {language: _slot(1, phrases) for language, phrases in PHRASES.items()}
_THIRD = {language: _slot(THIRD_PHRASE_SHARE, [f" {p}" for p in phrases]) for language, phrases in PHRASES.items()}
_LANGUAGE_ENDS = list(accumulate(LANGUAGE_SHARES.values()))
_LANGUAGE = [list(LANGUAGE_SHARES)[bisect(_LANGUAGE_ENDS, (i + 0.5) / 256)] for i in range(256)]
_MIDDLE = round(LINK_IN_THE_MIDDLE_SHARE * 256)


def post_text(seed: int, n: int) -> str:
    """Return the text of post number ``n`` (from 1): 1 to 280 characters, about 100 on average.

    Letters are left when links, ``#`` and ``RT:`` are removed. One hash makes all random choices of a post; a
    ``random.Random`` for each post would take longer than all the rest. Measured: about 600,000 posts/s on one core.
    """
    h = blake2b(b"%d:%d" % (seed, n), digest_size=16).digest()
    language = _LANGUAGE[h[0]]
    phrase = _PHRASE[language]
    link = _LINK[h[1]]
    if link:
        link %= h[11:16].hex()
    middle, end = (link, "") if h[2] < _MIDDLE else ("", link)
    return (
        f"{_RETWEET[h[3]]}{_MENTION[h[4]]}{phrase[h[5]]}{_JOINT[h[6]]}{phrase[h[7]]}{middle}"
        f"{_THIRD[language][h[8]]}{_EMOJI[h[9]]}{_HASHTAG[h[10]]}{end}"
    )


def feed_id(epoch: float, rate: float, seed: int) -> str:
    """Return the ID of a numbering: 8 hexadecimal digits, a hash of epoch (seconds since 1970 UTC), rate and seed.

    A number identifies a post only together with this ID: with another epoch, rate or seed it is another post.
    """
    return sha256(f"{float(epoch)!r}/{float(rate)!r}/{seed}".encode()).hexdigest()[:8]


class PostSchedule:
    """When each post is created: post ``n`` (from 1) at ``epoch + n / rate``.

    ``epoch`` is in seconds since 1970 UTC, ``rate`` in posts per second. Both count as the decimal numbers they
    are written as (0.1 is one tenth), and the arithmetic is exact: with floats, rounding would sometimes serve a post
    before its timestamp.
    """

    def __init__(self, epoch: float, rate: float) -> None:
        self._epoch, self._rate = Fraction(str(epoch)), Fraction(str(rate))
        # timestamp_ms(n) = floor((_start + n * _step) / _divisor); plain integers, since it is called for each post.
        start, step = 1000 * self._epoch, 1000 / self._rate
        self._start = start.numerator * step.denominator
        self._step = step.numerator * start.denominator
        self._divisor = start.denominator * step.denominator

    def newest(self, now: float) -> int:
        """Return the newest post's number at ``now`` (seconds since 1970 UTC); 0 when there is none yet."""
        return max(0, math.floor((Fraction(now) - self._epoch) * self._rate))

    def timestamp_ms(self, n: int) -> int:
        """Return the timestamp of post ``n`` in whole milliseconds since 1970 UTC, rounded down.

        It never decreases as ``n`` increases, and it is never later than a time at which ``newest`` is ``n`` or more.
        """
        return (self._start + n * self._step) // self._divisor
