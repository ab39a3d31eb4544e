from glcm_mae.training.means import Means


def test_an_interrupted_mean_goes_on_to_the_bit() -> None:
    values = [0.1, 0.2, 0.7, 1e-9]
    whole, first = Means(), Means()
    for value in values:
        whole.add({"a": value})
    for value in values[:2]:
        first.add({"a": value})
    rest = Means(first.sums)
    for value in values[2:]:
        rest.add({"a": value})
    assert rest.take() == whole.take()


def test_what_goes_on_does_not_change_what_it_came_from() -> None:
    first = Means({"a": (1.0, 1)})
    Means(first.sums).add({"a": 5.0})
    assert first.take() == {"a": 1.0}
