"""Names of files in one folder do not collide."""

from mmtrtvit.unique_names import UniqueNames


def test_names_that_are_taken_get_a_number():
    names = ['a', 'b', 'a', 'A', 'a_2', 'a']
    assert list(map(UniqueNames(), names)) == ['a', 'b', 'a_2', 'A_3', 'a_2_2', 'a_4']
