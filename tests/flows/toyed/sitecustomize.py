"""Makes the profile `toy` known in every process of a test that has this folder, and the repository, in PYTHONPATH."""

import encoders.profiles
import encoders.registry
from tests.toys import TOYS, TOY

encoders.registry.FACTORIES = {**encoders.registry.FACTORIES, **TOYS}
encoders.profiles.PROFILES = {**encoders.profiles.PROFILES, TOY.name: TOY}
