"""Ratings are lists in the row of what is rated, in order of time, and a screen says who is new when."""

import pytest

from stages.samples.ratings import Ratings, rating_columns
from stages.sources.base import Rating


def test_ratings_are_lists_in_order_of_time():
    columns = rating_columns([Rating("b", 2.0, 9, "test"), Rating("a", 4.0, 3, "train")])
    assert columns == {
        "rating_users": ["a", "b"],
        "rating_values": [4.0, 2.0],
        "rating_times": [3, 9],
        "rating_splits": ["train", "test"],
    }


@pytest.mark.parametrize(
    ("ratings", "message"),
    [
        ([Rating("a", 1.0, 1, "later")], "expected a number and a split, one of train, val, test"),
        ([Rating("a", float("nan"), 1, "train")], "expected a number and a split"),
        ([Rating("a", 1.0, 1, "train"), Rating("a", 2.0, 2, "test")], "rated twice by 'a'"),
    ],
)
def test_a_rating_that_cannot_be_used_is_named(ratings, message):
    with pytest.raises(ValueError, match=message):
        rating_columns(ratings)


def test_the_screen_tells_who_and_what_is_new():
    told = Ratings()
    told.add(rating_columns([Rating("a", 4.0, 1, "train"), Rating("b", 5.0, 2, "test")]), "train")
    told.add(rating_columns([Rating("c", 1.0, 3, "test")]), "val")
    assert list(told.lines()) == [
        "ratings: 3 by 3 users, 1 to 5, mean 3.33 (train/val/test): 1/0/2",
        "ratings of test: 2 of 2 users and 1 of 2 samples have none in training",
    ]
