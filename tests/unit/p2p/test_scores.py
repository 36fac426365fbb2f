"""Faults, fading, bans."""

import pytest

from p2p.scores import ScoreBook


def test_faults_add_up_to_a_ban_that_ends() -> None:
    book = ScoreBook(ban_s_first=60)
    assert not book.add("p", 50, now_s=0)
    assert book.add("p", 60, now_s=1)
    assert book.ban_left_s("p", 1) == 60
    assert book.ban_left_s("p", 61) == 0
    assert book.score("p", 61) == 0


def test_a_score_fades() -> None:
    book = ScoreBook()
    book.add("p", 50, now_s=0)
    assert book.score("p", 20) == pytest.approx(30)
    assert not book.add("p", 60, now_s=20)
    assert book.score("p", 1000) == 0


def test_each_ban_is_twice_as_long_and_faults_while_banned_do_not_add_bans() -> None:
    book = ScoreBook(ban_s_first=60)
    now, lengths = 0.0, []
    for _ in range(4):
        assert book.add("p", 200, now)
        assert not book.add("p", 200, now)
        lengths.append(book.ban_left_s("p", now))
        now += lengths[-1] + 500
    assert lengths == [60, 120, 240, 480]


def test_no_weight_leaves_no_trace_and_a_pardon_forgets() -> None:
    book = ScoreBook()
    assert not book.add("p", 0, 0)
    book.add("p", 150, 0)
    book.pardon("p")
    assert book.ban_left_s("p", 0) == 0


def test_the_table_is_bounded() -> None:
    book = ScoreBook(peers_max=10)
    for index in range(100):
        book.add(f"p{index}", 10, 0)
    assert book.score("p0", 0) == 0
    assert book.score("p99", 0) == 10
    assert len(book._records) == 10
