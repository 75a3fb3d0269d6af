"""The words of the world: real cities, verbs that take a place, invented names of people."""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np

VERBS: Final = ("fled", "inhabits", "serves")
"""The relations, as words that make a sentence of person, verb and city."""

CITIES: Final = tuple(
    """
    Accra Algiers Amman Ankara Athens Baghdad Bamako Bangkok Beirut Belgrade Berlin Bogota Brasilia Bratislava Brussels
    Bucharest Budapest Cairo Canberra Caracas Copenhagen Dakar Dhaka Doha Dublin Freetown Gaborone Hanoi Harare Havana
    Helsinki Jakarta Kabul Kampala Khartoum Kigali Kingston Lima Lisbon London Luanda Lusaka Madrid Managua Manila
    Maputo Minsk Montevideo Muscat Nairobi Nassau Niamey Oslo Ottawa Paris Prague Pretoria Quito Rabat Riga
    """.split()
)

_ONSETS = "B C D F G H J K L M N P R S T V Z Br Dr Kr Sh Th Tr".split()
_MIDDLES = "al an ar el en er il in ir ol on or ul un ad ed om am".split()
_ENDS = "a ia is o us e en ette or ina elle ius".split()


def invent_names(count: int, rng: np.random.Generator) -> list[str]:
    """So many different names of people, in random order; none is a city or a verb. At most 4968."""
    names = ["".join(parts) for parts in product(_ONSETS, _MIDDLES, _ENDS)]
    fresh = sorted(set(names) - set(CITIES) - set(VERBS))
    return [fresh[i] for i in rng.permutation(len(fresh))[:count]]
