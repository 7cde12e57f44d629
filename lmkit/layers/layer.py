"""The base of every lmkit layer: plain keywords, explicit dtypes, and a `get_config` that cannot forget one."""

import inspect
from typing import Any

import keras


class Layer(keras.layers.Layer):
    """A Keras layer whose constructor keywords are its attributes of the same names; those of a base come through `**options`.

    Two departures from Keras's defaults. Nothing is cast behind the back of `call`: inputs keep their dtype and weights,
    float32 in training, are cast where they are used. And `build` needs no shapes, so that a layer inside another is always built by its
    parent, under the parent's name.

    Sums in layers are written `x + y`: `keras.ops.add` on TensorFlow takes any second operand with one long axis for a bias
    over the last one, and [2, 2] + [2, 1] comes out transposed (Keras 3.15).
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        keras.saving.register_keras_serializable(package=cls.__module__)(cls)  # or Keras refuses to make it from a config

    def __new__(cls, *args: Any, **options: Any) -> Any:
        layer = super().__new__(cls, *args, **options)
        layer._given = frozenset(options)
        return layer

    def __init__(self, **options: Any) -> None:
        super().__init__(autocast=False, **options)

    def get_config(self) -> dict[str, Any]:
        """The keywords that make this layer again, layers among them in Keras's serialized form."""
        own, *bases = [_keywords(cls) for cls in type(self).__mro__ if issubclass(cls, Layer) and "__init__" in vars(cls)]
        names = [*own, *(name for base in bases for name in base if name in self._given)]  # the others `own` decides, or nobody
        return super().get_config() | {name: _serialized(getattr(self, name)) for name in names}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Layer":
        return cls(**{name: value if name == "dtype" else _deserialized(value) for name, value in config.items()})

    def get_build_config(self) -> None:
        """None: a layer made from a config is built by its parent, else its weights would lose the parent's name."""
        return None


def _keywords(cls: type) -> list[str]:
    parameters = inspect.signature(vars(cls)["__init__"]).parameters
    return [name for name, parameter in parameters.items() if name != "self" and parameter.kind is not parameter.VAR_KEYWORD]


def _serialized(value: Any) -> Any:
    if isinstance(value, keras.layers.Layer):
        return keras.saving.serialize_keras_object(value)
    if isinstance(value, list | tuple):
        return [_serialized(item) for item in value]
    if isinstance(value, dict):
        return {name: _serialized(item) for name, item in value.items()}
    return value


def _deserialized(value: Any) -> Any:
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _deserialized(item) for name, item in value.items()}
    return [_deserialized(item) for item in value] if isinstance(value, list) else value
