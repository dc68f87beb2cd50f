import time

import pytest

from activities.email.plaintext import folded, from_html


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<style>p{}</style><title>T</title><script>alert('</p>')</script><p>Hi", "Hi"),
        ("a<br>b<div>c</div>d", "a\nb\nc\nd"),
        ("<ul><li>one</li><li>two</li></ul>", "- one\n\n- two"),
        ("<table><tr><td>1</td><td>2</td></tr></table>", "1 2"),
        ("1 &lt; 2 &amp; 3&nbsp;&euro;", "1 < 2 & 3 €"),
        ("1 < 2", "1 < 2"),
        ("a<!-- <p>hidden</p> -->b", "ab"),
        ("a<!-- never closed <p>b</p>", "a"),
        ("a<![if mso]>b<![endif]>c", "abc"),
        ("a<![frob[x]]>b", "ab"),
        ('<span style="display:none">hidden</span>', "hidden"),
        ('<a href="https://evil.example/x?y">your bank</a>', "your bank [evil.example]"),
        ('<a href="https://bank.example@evil.example/">your bank</a>', "your bank [evil.example]"),
        ('<a href="http://[broken">x</a>', "x [broken link]"),
        ("<a name=here>x</a></a>", "x"),
        ("a </b></p> b", "a\nb"),
    ],
)
def test_html_as_text(html: str, text: str) -> None:
    assert from_html(html) == text


@pytest.mark.parametrize(
    "piece", ["<!--", "<a ", "<", "</", "<a b='", "<a b='>", "<![CDATA[", "<?", "&#", "<script>", "<!d"]
)
def test_hostile_html_takes_no_noticeable_time(piece: str) -> None:
    """The standard library alone needs minutes for some of these; the bound is generous for slow machines."""
    started = time.process_time()
    from_html(piece * (500_000 // len(piece)))

    assert time.process_time() - started < 5


def test_endless_marks_on_a_letter_take_no_noticeable_time() -> None:
    """Sorting them takes half a minute for 200,000, with all other threads waiting."""
    started = time.process_time()
    assert folded("Caf\u00e9 a" + "\u0301\u0316" * 100_000 + " end").startswith("caf\u00e9 ")

    assert time.process_time() - started < 5
