"""A config holds every keyword that a layer was made with, its own and those of its bases, and none that it decides itself."""

from typing import Any

from lmkit.layers.layer import Layer


class Base(Layer):
    def __init__(self, size: int, *, scale: float = 1.0, bias: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.size, self.scale, self.bias = size, scale, bias


class Between(Base):
    def __init__(self, size: int, *, bias: bool = True, **options: Any) -> None:
        super().__init__(size, bias=bias, **options)


class Heir(Between):
    def __init__(self, size: int, *, own: int = 0, **options: Any) -> None:
        super().__init__(size, **options)
        self.own = own


class Decided(Base):
    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(size, scale=2.0, **options)


def facts(layer: Layer) -> dict[str, Any]:
    return {name: getattr(layer, name) for name in ("name", "size", "scale", "bias", "own") if hasattr(layer, name)}


def test_words_of_every_base_come_back() -> None:
    words = {"size": 3, "scale": 5.0, "bias": False, "own": 7, "name": "it"}
    again = Heir.from_config(Heir(**words).get_config())  # type: ignore[arg-type]
    assert facts(again) == words
    assert again.get_config() == Heir(**words).get_config()  # type: ignore[arg-type]


def test_what_was_not_said_is_the_default_of_the_nearest_class_that_has_one() -> None:
    assert facts(Heir.from_config(Heir(3, name="it").get_config())) == facts(Heir(3, name="it")) == facts(Heir(3, bias=True, name="it"))


def test_what_a_class_decides_for_its_base_is_not_asked_of_it_again() -> None:
    made = Decided(3, bias=True, name="it")
    assert "scale" not in made.get_config()
    assert facts(Decided.from_config(made.get_config())) == facts(made)
