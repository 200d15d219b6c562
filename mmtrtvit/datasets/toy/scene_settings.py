"""Every number that decides how hard the scenes are."""

import dataclasses
from dataclasses import dataclass

from ...errors import ConfigError


@dataclass(frozen=True)
class SceneSettings:
    """Composition of the toy data set's scenes. Pairs are ``(lowest, highest)``, drawn uniformly.

    Attributes:
        image_side: Height and width of an image, pixels, drawn apart from each other.
        objects: Objects that are tried per image. One that finds no place is left out.
        object_size: Diameter of the circle around a shape, as a share of the image's shorter side.
        aspect: Squeeze of a shape along one of its own axes, before it is tilted.
        tilt: Rotation of a shape from upright, degrees.
        max_outside: Most of the diameter that may stick out of the image on one side.
        min_visible: Least share of an object's whole shape that stays in sight, after the image's edge and
            the objects in front of it have taken theirs.
        placement_tries: Places tried for one object before it is left out.
        background_crop: Side of the background crop, as a share of the largest one the photograph allows.
        background_contrast: Factor on the background's distance from its own mean.
        background_brightness: Added to the background; 1 is the way from black to white.
        background_tint: Factor on each colour channel of the background.
        fill_saturation: Saturation (HSV) of an object's colour. The hue is any.
        fill_value: Value (HSV) of an object's colour.
        fill_texture: Share of photograph blended into an object's colour.
        min_contrast: Wanted distance (CIE 1976 Delta E) between an object and what it covers, reached by all
            but a tenth of its pixels. The best of ``colour_tries`` colours is taken when none reaches it.
        colour_tries: Colours tried for one object.
        jpeg_quality: Quality that the images are written with.
    """

    image_side: tuple[int, int] = (160, 240)
    objects: tuple[int, int] = (3, 5)
    object_size: tuple[float, float] = (0.28, 0.5)
    aspect: tuple[float, float] = (0.75, 1.0)
    tilt: tuple[float, float] = (-15.0, 15.0)
    max_outside: float = 0.05
    min_visible: float = 0.85
    placement_tries: int = 20
    background_crop: tuple[float, float] = (0.4, 1.0)
    background_contrast: tuple[float, float] = (0.25, 0.5)
    background_brightness: tuple[float, float] = (-0.1, 0.1)
    background_tint: tuple[float, float] = (0.8, 1.2)
    fill_saturation: tuple[float, float] = (0.45, 1.0)
    fill_value: tuple[float, float] = (0.35, 1.0)
    fill_texture: tuple[float, float] = (0.0, 0.25)
    min_contrast: float = 55.0
    colour_tries: int = 12
    jpeg_quality: int = 95

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            pair = isinstance(value, tuple) and len(value) == 2
            if isinstance(field.default, tuple) and not (pair and value[0] <= value[1]):
                raise ConfigError(
                    f'SceneSettings: {field.name} is {value!r}.',
                    expected='a tuple (lowest, highest).',
                    fix=f'give for example {field.name}={field.default!r}.',
                )
        for name, right in {
            'image_side': self.image_side[0] >= 32,
            'objects': self.objects[0] >= 1 and self.objects[1] <= 99,
            'object_size': self.object_size[0] >= 0.05 and self.object_size[1] <= 1,
            'aspect': self.aspect[0] >= 0.1 and self.aspect[1] <= 1,
            'min_visible': 0 < self.min_visible <= 1,
            'max_outside': 0 <= self.max_outside < 0.5,
            'placement_tries': self.placement_tries >= 1,
            'colour_tries': self.colour_tries >= 1,
            'background_crop': self.background_crop[0] > 0 and self.background_crop[1] <= 1,
            'jpeg_quality': 1 <= self.jpeg_quality <= 100,
        }.items():
            if not right:
                raise ConfigError(
                    f'SceneSettings: {name} is {getattr(self, name)!r}, with which no scene can be made.',
                    expected='a value near the default.',
                    fix=f'give for example {name}={type(self).__dataclass_fields__[name].default!r}.',
                )
