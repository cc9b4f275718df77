from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from banyan.infer.scheduling import Budget, Line


@dataclass
class Item:
    num_tokens: int
    num_slots: int = 1
    is_done: bool = False
    owner: str = ""


ITEMS = st.lists(st.builds(Item, st.integers(1, 50), st.integers(0, 2), st.booleans()), max_size=20)


@given(ITEMS, st.integers(1, 60), st.integers(2, 5))
def test_everybody_is_served_once_in_the_order_of_coming_and_within_budget(
    items: list[Item], num_tokens: int, num_slots: int
) -> None:
    line: Line[Item] = Line()
    line.join(items)
    served: list[Item] = []
    while len(line):
        taken = line.take(Budget(num_tokens=num_tokens, num_slots=num_slots))
        assert sum(item.num_slots for item in taken) <= num_slots
        assert sum(item.num_tokens for item in taken) <= num_tokens or len(taken) == 1
        served += taken
    assert [id(item) for item in served] == [id(item) for item in items if not item.is_done]


def test_one_that_needs_more_slots_than_are_free_is_not_overtaken() -> None:
    line: Line[Item] = Line()
    line.join([Item(5, 2), Item(5, 1)])
    assert line.take(Budget(num_tokens=100, num_slots=1)) == []
    assert len(line.take(Budget(num_tokens=100, num_slots=3))) == 2


def test_a_prompt_longer_than_the_budget_still_gets_its_turn_alone() -> None:
    line: Line[Item] = Line()
    line.join([Item(500), Item(1)])
    assert [item.num_tokens for item in line.take(Budget(num_tokens=100, num_slots=9))] == [500]


def test_the_line_can_be_emptied_at_once() -> None:
    line: Line[Item] = Line()
    line.join([Item(1), Item(2)])
    assert len(line.take_all()) == 2 and len(line) == 0


def test_owners_take_turns_and_keep_their_own_order() -> None:
    line: Line[Item] = Line()
    line.join([Item(1, owner="much"), Item(2, owner="much"), Item(3, owner="much"), Item(4, owner="little")])
    taken = line.take(Budget(num_tokens=100, num_slots=3))
    assert [item.num_tokens for item in taken] == [1, 4, 2]
    assert [item.num_tokens for item in line.take(Budget(num_tokens=100, num_slots=3))] == [3]
