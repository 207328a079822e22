"""What is read as a mathematical answer: right, wrong or unread, in every thread alike and within its time."""

from __future__ import annotations

import threading

import pytest

from scalpel.data.example import Example
from scalpel.rewards.answers import final
from scalpel.rewards.mathematics import judge
from scalpel.rewards.scored import unread
from scalpel.rewards.verifiers import make

RIGHT, WRONG, UNREAD = True, False, None
ROWS: list[tuple[str, str, bool | None]] = [
    ("The total is 1,234.", "1234", RIGHT),
    ("$\\boxed{1{,}234}$", "1234", RIGHT),
    ("$\\boxed{11,\\!111,\\!111}$", "11111111", RIGHT),
    ("So 18000.", "18,000", RIGHT),
    ("12 345 people", "12345", RIGHT),
    ("12\u202f345 people", "12345", RIGHT),
    ("1,234.50", "1234.5", RIGHT),
    ("It is $-0$.", "0", RIGHT),
    ("It is -0.0", "0", RIGHT),
    ("\u22125", "-5", RIGHT),
    ("x = \u22125", "-5", RIGHT),
    ("It is +5", "5", RIGHT),
    ("\\boxed{+5}", "5", RIGHT),
    ("It is -5.", "5", WRONG),
    ("5", "-5", WRONG),
    ("$\\boxed{\\frac{1}{2}}$", "0.50", RIGHT),
    ("\\boxed{1/2}", "0.5", RIGHT),
    ("1/2", "0.5", RIGHT),
    ("$\\boxed{2\\frac{1}{2}}$", "2.5", RIGHT),
    ("0.333333", "\\frac{1}{3}", RIGHT),
    ("0.33", "\\frac{1}{3}", WRONG),
    ("-\\frac{3}{4}", "-0.75", RIGHT),
    ("$\\frac{-3}{4}$", "-\\frac{3}{4}", RIGHT),
    ("\\boxed{\\dfrac{2}{4}}", "\\frac12", RIGHT),
    ("First \\boxed{3}, no: \\boxed{4}", "4", RIGHT),
    ("First \\boxed{4}, no: \\boxed{3}", "4", WRONG),
    ("\\boxed{840}. Again: \\boxed{840}", "840", RIGHT),
    ("$\\boxed{1}$ and $\\boxed{2}$", "1 and 2", RIGHT),
    ("\\boxed{1}, \\boxed{2}", "2", WRONG),
    ("I say \\boxed{4}. Or \\boxed{", "4", RIGHT),
    ("\\boxed{}", "4", UNREAD),
    ("\\fbox{4}", "4", RIGHT),
    ("\\boxed{\\boxed{4}}", "4", RIGHT),
    ("She pays \\$12.50 in all.", "12.5", RIGHT),
    ("She pays $12.50 in all.", "12.5", RIGHT),
    ("12.50 dollars", "12.5", RIGHT),
    ("from $5 to $12.50", "12.5", RIGHT),
    ("\\boxed{\\$12.50}", "12.5", RIGHT),
    ("$\\$12.50$", "12.5", RIGHT),
    ("-\\$5", "-5", RIGHT),
    ("12.50", "\\$12.50", RIGHT),
    ("12.50", "$12.50", RIGHT),
    ("\u20ac12.50", "12.5", RIGHT),
    ("It costs $18.", "18", RIGHT),
    ("The answer is $18$.", "18", RIGHT),
    ("$5+$3=$8", "8", RIGHT),
    ("Janet makes $9 * 2 = $18 every day.", "18", RIGHT),
    ("It is 42 km.", "42", RIGHT),
    ("$\\boxed{42\\text{ km}}$", "42", RIGHT),
    ("42", "42 km", RIGHT),
    ("$\\boxed{42\\,\\mathrm{cm}^2}$", "42", RIGHT),
    ("90^\\circ", "90", RIGHT),
    ("$90^\\circ$", "90", RIGHT),
    ("$\\boxed{28\\%}$", "28\\%", RIGHT),
    ("28%", "28", RIGHT),
    ("28%", "0.28", RIGHT),
    ("0.28", "28%", RIGHT),
    ("28", "28%", RIGHT),
    ("\\boxed{28 \\text{ percent}}", "28\\%", RIGHT),
    ("29%", "28%", WRONG),
    ("It rose by 150%.", "150", RIGHT),
    ("$\\boxed{1728}$", "1331 and 1728", WRONG),
    ("$\\boxed{1331 \\text{ and } 1728}$", "1331 and 1728", RIGHT),
    ("1728 and 1331", "1331 and 1728", RIGHT),
    ("$\\boxed{\\{2, 1\\}}$", "$\\{1, 2\\}$", RIGHT),
    ("\\boxed{\\{1,2\\}}", "$\\{1,2,3\\}$", WRONG),
    ("\\boxed{\\{1,2,3\\}}", "$\\{1,2\\}$", WRONG),
    ("\\boxed{1, 2, 3}", "\\{1,2,3\\}", RIGHT),
    ("\\boxed{1,2}", "1, 2, 3", WRONG),
    ("x = 1 or x = 2", "1, 2", RIGHT),
    ("\\boxed{x=1, x=2}", "1 and 2", RIGHT),
    ("\\boxed{3 or 4}", "4", WRONG),
    ("\\boxed{\\{5\\}}", "5", RIGHT),
    ("\\boxed{1,2,2}", "1,2", RIGHT),
    ("\\boxed{\\{10^{-9}, 1\\}}", "\\{2 \\cdot 10^{-9}, 1\\}", WRONG),
    ("\\boxed{(0, 1.5)}", "(0, 1)", WRONG),
    ("\\boxed{(0,1)}", "(0, 1)", RIGHT),
    ("\\boxed{[0,1]}", "(0, 1)", WRONG),
    ("\\boxed{(1,0)}", "(0,1)", WRONG),
    ("\\boxed{(-\\infty, 3]}", "(-\\infty, 3]", RIGHT),
    ("\\boxed{(3, -4)}", "(3,-4)", RIGHT),
    ("$\\boxed{x = 5}$", "5", RIGHT),
    ("5", "x = 5", RIGHT),
    ("$\\boxed{y = 2x + 1}$", "y = 2x+1", RIGHT),
    ("$x^2+2x+1$", "(x+1)^2", RIGHT),
    ("$x^2+2x$", "(x+1)^2", WRONG),
    ("$\\boxed{\\frac{1}{2^{98}}}$", "\\frac{1}{2^{99}}", WRONG),
    ("1e-9", "2e-9", WRONG),
    ("1e-9", "1e-9", RIGHT),
    ("$10^{-9}$", "1e-9", RIGHT),
    ("0.0000001", "0", WRONG),
    ("0", "1e-12", WRONG),
    ("1234567", "1234568", WRONG),
    ("1.0000001e-9", "1e-9", RIGHT),
    ("3.0e8", "300000000", RIGHT),
    ("$3 \\times 10^8$", "3e8", RIGHT),
    ("$\\boxed{1:00}$", "12:00", WRONG),
    ("$\\boxed{12:00}$", "12:00", RIGHT),
    ("$\\boxed{52_8}$", "528", WRONG),
    ("\u0664\u0662", "42", RIGHT),
    ("4\uff12", "42", RIGHT),
    ("Consistent: 437 + 2*234 = 905.\n\nFinal Answer: **73**", "73", RIGHT),
    ("so we had 3 and 4\n#### 7\nI checked it 2 times", "7", RIGHT),
    ("The answer is 7. There were 3 more.", "7", RIGHT),
    ("**-5**", "-5", RIGHT),
    ("", "7", UNREAD),
    ("I don't know.", "7", UNREAD),
    ("   \n", "7", UNREAD),
    ("Let me think about it", "7", UNREAD),
    ("!!!", "7", UNREAD),
    ("$\\sqrt{8}$", "2\\sqrt{2}", RIGHT),
    ("$\\pi$", "3.14", WRONG),
    ("$\\boxed{\\pi}$", "\\pi", RIGHT),
    ("3.14159265", "\\pi", RIGHT),
    ("$\\boxed{\\begin{pmatrix}1\\\\2\\end{pmatrix}}$", "\\begin{pmatrix}1\\\\2\\end{pmatrix}", RIGHT),
    ("$\\boxed{i}$", "-i", WRONG),
    ("\\boxed{B}", "B", RIGHT),
    ("\\boxed{\\text{B}}", "B", RIGHT),
    ("\\boxed{C}", "B", WRONG),
    ("The last digits of \\(2003^{2002^{2001}}\\) are [Answer: 009]", "9", RIGHT),
    ("$\\boxed{\\infty}$", "\\infty", RIGHT),
    ("\\boxed{1/0}", "7", WRONG),
    ("\\boxed{5!}", "120", RIGHT),
    ("\\boxed{|{-5}|}", "5", RIGHT),
    ("\\boxed{1,000}", "1000", RIGHT),
    ("\\boxed{1,000,000.00}", "1000000", RIGHT),
    ("$\\boxed{12.50}$ dollars", "12.5", RIGHT),
    ("\\$1,250", "1250", RIGHT),
    ("\\boxed{3:2}", "3:2", RIGHT),
    ("\\boxed{2:3}", "3:2", WRONG),
    ("\\boxed{2}", "2*sqrt(3)", WRONG),
    ("\\boxed{\\left\\{1,2\\right\\}}", "\\{1,2\\}", RIGHT),
    ("\\boxed{\\left(0,1\\right)}", "(0,1)", RIGHT),
    ("\\boxed{1+2i}", "1+2i", RIGHT),
    ("\\boxed{1-2i}", "1+2i", WRONG),
    ("\\boxed{(-5)}", "-5", RIGHT),
    ("50\\%", "1/2", RIGHT),
    ("$50\\%$", "0.5", RIGHT),
    ("\xbd", "0.5", RIGHT),
    ("\\boxed{\xbd}", "1/2", RIGHT),
    ("2\xbd", "2.5", RIGHT),
    ("\\boxed{\u221a2}", "\\sqrt{2}", RIGHT),
    ("\u03c0", "\\pi", RIGHT),
    ("\\boxed{3\xb2}", "9", RIGHT),
    ("3 \xd7 4 = 12", "12", RIGHT),
    ("It's 5.0", "5", RIGHT),
    ("5.", "5", RIGHT),
    ("05", "5", RIGHT),
    ("1e3", "1000", RIGHT),
    ("-1,234.5", "-1234.5", RIGHT),
    ("$-\\frac{1}{2}$", "-0.5", RIGHT),
    ("$\\frac{-1}{-2}$", "0.5", RIGHT),
    ("$\\boxed{ 7 }$.", "7", RIGHT),
    ("\\boxed{7}%", "7%", RIGHT),
    ("$\\boxed{7}\\%$", "7\\%", RIGHT),
    ("Answer: 7", "7", RIGHT),
    ("answer is: \\(7\\)", "7", RIGHT),
    ("\\[ 7 \\]", "7", RIGHT),
    ("$$7$$", "7", RIGHT),
    ("**Answer:** 7", "7", RIGHT),
    ("Answer: **7**", "7", RIGHT),
    ("<answer>7</answer>", "7", RIGHT),
    ("7</s>", "7", RIGHT),
    ("\\boxed{7,8}", "8", WRONG),
    ("\\boxed{x>3}", "x>3", RIGHT),
    ("\\boxed{x<3}", "x>3", WRONG),
    ("\\boxed{3<x}", "x>3", RIGHT),
    ("\\boxed{\\emptyset}", "\\emptyset", RIGHT),
    ("\\boxed{0}", "0", RIGHT),
    ("\\boxed{0.0}", "0", RIGHT),
    ("\\boxed{\\frac{0}{5}}", "0", RIGHT),
    ("\\boxed{10^{-20}}", "10^{-21}", WRONG),
    ("\\boxed{-1}", "1", WRONG),
    ("\\boxed{2x}", "2y", WRONG),
    ("\\boxed{A}", "A", RIGHT),
    ("\\boxed{3 \\frac{1}{3}}", "10/3", RIGHT),
    ("\\boxed{\\log_2 8}", "3", RIGHT),
    ("\\boxed{\\binom{5}{2}}", "10", RIGHT),
    ("\\boxed{6 \\text{ apples}}", "6", RIGHT),
    ("\\boxed{6\\ \\text{cm}}", "6", RIGHT),
    ("\\boxed{\\$6}", "6", RIGHT),
    ("\\boxed{6\\text{ and }7}", "6, 7", RIGHT),
    ("The roots are 2 and 3.", "2, 3", RIGHT),
    ("The roots are 2, 3 and 4.", "2, 3", WRONG),
    ("roots are 3, 2", "\\{2,3\\}", RIGHT),
    ("6 and 7", "7", RIGHT),
    ("\\boxed{12,345}", "12345", RIGHT),
    ("\\boxed{$5$}", "5", RIGHT),
    ("the total is $5 and the tax $1, so $6", "6", RIGHT),
    ("$5.00", "5", RIGHT),
    ("USD 5", "5", RIGHT),
    ("5 USD", "5", RIGHT),
    ("5\u20ac", "5", RIGHT),
    (r"\boxed{3 1/2}", "7/2", RIGHT),
    ("It takes 3 1/2 hours.", "3.5", RIGHT),
    ("3.5", "3 1/2", RIGHT),
    ("-3 1/2", "-2.5", WRONG),
    ("5 x 10^-4", "5e-4", RIGHT),
    ("5×10⁻⁴", "0.0005", RIGHT),
    ("2^3*10^2", "800", RIGHT),
    ("10⁻³", "0.001", RIGHT),
    ("±2", r"\pm 2", RIGHT),
    ("2", r"\pm 2", WRONG),
    ("1.234,50", "1234.5", RIGHT),
    ("1'234", "1234", RIGHT),
    ("1_000", "1000", RIGHT),
    (r"\boxed{5~\text{cm}}", "5", RIGHT),
    (r"\boxed{\text{12 apples}}", "12", RIGHT),
    (r"\boxed{12.5\%}", "12.5", RIGHT),
    ("0.28%", "28%", WRONG),
    ("3, 1, 2", "1, 2, 3", RIGHT),
    ("3, 1, 4", "1, 2, 3", WRONG),
    ("1, 2, and 3", "1,2,3", RIGHT),
    (r"\boxed{\varnothing}", r"\emptyset", RIGHT),
    ("[1, 2, 3]", "[1,2,3]", RIGHT),
    ("[3,2,1]", "[1,2,3]", WRONG),
    ("(A)", "A", RIGHT),
    ("The answer is (B).", "B", RIGHT),
    ("Answer: B", "(B)", RIGHT),
    (r"\boxed{\textbf{(A)}\ 5}", "A", RIGHT),
    ("The answer is C", "B", WRONG),
    ("A) 5", "A", RIGHT),
    ("**B**", "B", RIGHT),
    ("Well, who knows?", "B", UNREAD),
    (r"\boxed{0.\overline{3}}", "1/3", RIGHT),
    (r"0.1\overline{6}", "1/6", RIGHT),
    (r"0.\overline{3}", "0.3", WRONG),
    ("x^2 - 1", "(x-1)(x+1)", RIGHT),
    ("2x", "2*x", RIGHT),
    ("2x", "3x", WRONG),
    ("2π", r"2\pi", RIGHT),
    ("π/6", r"\frac{\pi}{6}", RIGHT),
    (r"\boxed{\text{Yes}}", "Yes", RIGHT),
    (r"\boxed{\text{No}}", "Yes", WRONG),
    (r"\boxed{\text{east}}", r"\text{west}", WRONG),
    ("The answer is Evelyn.", r"\text{Evelyn}", RIGHT),
    ("–7", "-7", RIGHT),
    ("\ufeff7", "7", RIGHT),
    ("∞", r"\infty", RIGHT),
    ("x²", "x^2", RIGHT),
    ("２／３", "2/3", RIGHT),
    ("≈3.14", "3.14", RIGHT),
    ("-.5", "-0.5", RIGHT),
    (".5", "0.5", RIGHT),
    ("- 5", "-5", RIGHT),
    ("(5)", "5", RIGHT),
    ("~5", "5", RIGHT),
    (r"\boxed{x ≤ 3}", r"x \le 3", RIGHT),
    ("<think>9</think>5", "5", RIGHT),
    ("<think>5</think>9", "5", WRONG),
    (r"<think>\boxed{9}</think> The answer is 5", "5", RIGHT),
    (r"<think>\boxed{5}</think>", "5", RIGHT),
    ("}}{{", "5", UNREAD),
]
HARD = [("$9^{9^{9^{9}}}$", "9"), ("\\(2003^{2002^{2001}}\\) [Answer: 009]", "9"), ("10^{10^{10^{10}}}", "10")]


def asked(rows: list[tuple[str, str, bool | None]]) -> list[bool | None]:
    return [judge(said, answer) for said, answer, _ in rows]


@pytest.fixture(scope="module")
def here() -> list[bool | None]:
    return asked(ROWS)


def test_every_row_of_the_table_is_judged_as_it_says(here: list[bool | None]) -> None:
    wrong = [(*row, found) for row, found in zip(ROWS, here, strict=True) if found is not row[2]]
    assert not wrong and len(ROWS) > 180


def test_another_thread_says_the_same(here: list[bool | None]) -> None:
    there: list[bool | None] = []
    thread = threading.Thread(target=lambda: there.extend(asked(ROWS)))
    thread.start()
    thread.join()
    assert there == here


@pytest.mark.parametrize("threaded", [False, True])
def test_powers_of_powers_are_given_up(threaded: bool) -> None:
    """Without a limit no machine would come to the end of these."""
    found: list[bool | None] = []

    def ask() -> None:
        for said, answer in HARD:
            found.append(judge(said, answer, seconds=1))

    if threaded:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    else:
        ask()
    assert len(found) == 3  # each came back, in whichever thread


def test_of_several_boxes_the_rule_says_which() -> None:
    text = "\\boxed{3}, no: \\boxed{4}"
    assert [judge(text, "4", box=rule) for rule in ("last", "first", "only")] == [True, False, False]
    assert judge("\\boxed{4} so again \\boxed{4}", "4", box="only") is True
    assert make({"name": "math-verify", "box": "first"})(text, Example(answer="3")) == 1.0
    with pytest.raises(ValueError, match='box is \'all\', but must be "last" or "first" or "only"'):
        make({"name": "math-verify", "box": "all"})


@pytest.mark.parametrize(
    ("spec", "said", "answer", "score", "silent"),
    [
        ("exact", "", "7", 0.0, True),
        ("exact", "8", "7", 0.0, False),
        ("exact", " 7 ", "7", 1.0, False),
        ("contains", " ", "7", 0.0, True),
        ("contains", "none", "7", 0.0, False),
        ({"name": "pattern", "pattern": "#### (.+)"}, "it is 7", "7", 0.0, True),
        ({"name": "pattern", "pattern": "#### (.+)"}, "#### 8", "7", 0.0, False),
        ({"name": "pattern", "pattern": "yes"}, "no", "", 0.0, False),
        ("think-answer", "7", "7", 1.0, False),
        ("think-answer", "8", "7", 0.0, True),
        ("think-answer", "<answer>7</answer>", "7", 1.0, False),
        ("equations", "well", "7", 0.0, True),
        ("equations", "1+1=3", "7", 0.0, False),
        ("equations", "1+1=2 and 1+1=3", "7", 0.5, False),
        ("math-verify", "no idea", "7", 0.0, True),
        ("math-verify", "8", "7", 0.0, False),
    ],
)
def test_unread_is_told_from_wrong(spec, said: str, answer: str, score: float, silent: bool) -> None:  # type: ignore[no-untyped-def]
    found = make(spec)(said, Example(answer=answer))
    assert found == score and unread(found) is silent


def test_an_empty_answer_is_in_no_text() -> None:
    with pytest.raises(ValueError, match=r"rows\.jsonl:3 has an empty answer, which every text contains"):
        make("contains")("anything", Example(answer=" ", where="rows.jsonl:3"))


@pytest.mark.parametrize(
    ("said", "answer", "score"),
    [
        ("\u5317\u4eac\u662f\u9996\u90fd", "\u5317\u4eac", 1.0),
        ("\u67097\u4e2a", "7", 1.0),
        ("\u670917\u4e2a", "7", 0.0),
        ("\uc11c\uc6b8\uc740", "\uc11c\uc6b8", 1.0),
        ("Parisian", "Paris", 0.0),
        ("\u00e9Paris", "Paris", 0.0),
        ("\u5df4\u9ece\u5728Paris\u3002", "Paris", 1.0),
    ],
)
def test_words_need_no_spaces_where_their_script_has_none(said: str, answer: str, score: float) -> None:
    assert make("contains")(said, Example(answer=answer)) == score


def test_expressions_that_take_years_are_given_up_and_long_sums_are_read(caplog: pytest.LogCaptureFixture) -> None:
    slow = make({"name": "pattern", "pattern": "(?:a|a)*(?:a|a)*$", "timeout": 0.2})
    assert slow("a" * 60 + "b", Example(answer="a")) == 0.0
    assert unread(
        make({"name": "pattern", "pattern": "((?:a|a)*(?:a|a)*)$", "timeout": 0.2})("a" * 60 + "b", Example(answer="a"))
    )
    assert caplog.text.count("was given up after 0.2 s") == 2
    for text in (
        "1+" * 50_000,
        "1+" * 50_000 + "=1",
        "1)" * 50_000,
        "1" * 100_000,
        "=1" * 50_000,
        "(" * 50_000 + "1+1=2",
    ):
        make("equations")(text, Example())
    with pytest.raises(ValueError, match="timeout is 0, but must be a number above 0"):
        make({"name": "pattern", "pattern": "a", "timeout": 0})


def test_answers_are_looked_for_in_texts_of_any_length() -> None:
    """More than a pass for each character would be 10¹⁰ steps: the suite would not end."""
    for text in (
        "\\boxed{" * 20_000,
        "1,1," * 20_000,
        "$" * 50_000,
        "1" * 100_000 + "\u00bd",
        "1, " * 30_000,
        "((" * 50_000,
    ):
        final(text, "last", True)


def test_a_calculation_with_an_endless_end_does_not_hold() -> None:
    assert make("equations")("1+1=" + "9" * 400, Example()) == 0.0
