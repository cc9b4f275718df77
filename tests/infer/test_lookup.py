from banyan.infer.lookup import LONGEST, PromptLookup


def test_what_followed_the_longest_run_is_guessed_and_of_equal_ones_the_latest() -> None:
    lookup = PromptLookup()
    lookup.read([1, 2, 3, 10, 11, 9, 2, 3, 20, 21, 1, 2])
    lookup.read([3])
    assert lookup.guess(2) == (10, 11)  # behind 1 2 3, though 2 3 stood later, too
    lookup.read([9, 2, 3])
    assert lookup.guess(9) == (20, 21, 1, 2, 3, 9, 2, 3)


def test_nothing_is_guessed_of_what_never_stood_there() -> None:
    lookup = PromptLookup()
    assert lookup.guess(3) == ()
    lookup.read(range(10))
    assert lookup.guess(3) == ()
    lookup.read([3])
    assert lookup.guess(3) == ()  # one token alone says too little


def test_a_circle_is_guessed_on_as_far_as_it_was_read() -> None:
    lookup = PromptLookup()
    lookup.read([1, 2, 3] * LONGEST)
    assert lookup.guess(5) == (1, 2, 3)
