from banyan.core.ids import new_ulid


def test_ids_are_unique_and_sort_by_time() -> None:
    made = [new_ulid() for _ in range(1000)]
    assert len(set(made)) == 1000 and all(len(one) == 26 for one in made)
    stamps = [one[:10] for one in made]
    assert stamps == sorted(stamps)
