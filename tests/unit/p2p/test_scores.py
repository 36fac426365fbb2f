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


def test_scores_fade_from_the_last_fault_on_whatever_the_clock_says() -> None:
    book = ScoreBook()
    book.add("p", 50, now_s=1_000)
    assert book.score("p", 1_000.5) == 49.5
    book.add("p", 30, now_s=1_010)
    assert book.score("p", 1_010) == 70 and book.score("p", 1_020) == 60


@pytest.mark.parametrize(("weight", "banned"), [(99.5, False), (100, True)])
def test_a_score_of_just_a_hundred_is_a_ban(weight: float, banned: bool) -> None:
    assert ScoreBook().add("p", weight, now_s=7) is banned


def test_only_what_weighs_something_counts() -> None:
    book = ScoreBook()
    book.add("p", 50, 0)
    for weight in (0, -50):
        assert not book.add("p", weight, 0) and not book.add("stranger", weight, 0)
    assert book.score("p", 0) == 50 and list(book._records) == ["p"]
    book.add("p", 0.5, 0)
    assert book.score("p", 0) == 50.5


def test_who_has_been_quiet_longest_is_forgotten_first() -> None:
    book = ScoreBook(peers_max=2)
    for peer in ("a", "b", "a", "c"):
        book.add(peer, 10, 0)
    assert [book.score(peer, 0) for peer in ("a", "b", "c")] == [20, 0, 10]


def test_a_ban_lasts_a_day_at_most() -> None:
    book, now, lengths = ScoreBook(ban_s_first=60), 0.0, []
    for _ in range(40):
        book.add("p", 100, now)
        lengths.append(book.ban_left_s("p", now))
        now += lengths[-1] + 1
    assert lengths[:3] == [60, 120, 240] and max(lengths) == lengths[-1] == 24 * 3600
