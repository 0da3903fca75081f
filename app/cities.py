"""Time zones of the cities that the clock tool knows. A table and nothing else.

Names are in spoken form: lower case, without punctuation.
"""

from __future__ import annotations

from typing import Final

TIME_ZONES: Final = {
    "accra": "Africa/Accra", "amsterdam": "Europe/Amsterdam", "ankara": "Europe/Istanbul", "athens": "Europe/Athens",
    "atlanta": "America/New_York", "auckland": "Pacific/Auckland", "baghdad": "Asia/Baghdad",
    "bangkok": "Asia/Bangkok", "barcelona": "Europe/Madrid", "beijing": "Asia/Shanghai", "belgrade": "Europe/Belgrade",
    "berlin": "Europe/Berlin", "bern": "Europe/Zurich", "bogota": "America/Bogota", "boston": "America/New_York",
    "brisbane": "Australia/Brisbane", "brussels": "Europe/Brussels", "bucharest": "Europe/Bucharest",
    "budapest": "Europe/Budapest", "cairo": "Africa/Cairo", "calgary": "America/Edmonton",
    "cape town": "Africa/Johannesburg", "caracas": "America/Caracas", "chicago": "America/Chicago",
    "copenhagen": "Europe/Copenhagen", "dallas": "America/Chicago", "damascus": "Asia/Damascus",
    "delhi": "Asia/Kolkata", "denver": "America/Denver", "detroit": "America/Detroit", "dubai": "Asia/Dubai",
    "dublin": "Europe/Dublin", "edinburgh": "Europe/London", "florence": "Europe/Rome", "frankfurt": "Europe/Berlin",
    "geneva": "Europe/Zurich", "glasgow": "Europe/London", "hamburg": "Europe/Berlin", "hanoi": "Asia/Ho_Chi_Minh",
    "havana": "America/Havana", "helsinki": "Europe/Helsinki", "hong kong": "Asia/Hong_Kong",
    "honolulu": "Pacific/Honolulu", "houston": "America/Chicago", "istanbul": "Europe/Istanbul",
    "jakarta": "Asia/Jakarta", "jerusalem": "Asia/Jerusalem", "kabul": "Asia/Kabul", "karachi": "Asia/Karachi",
    "kingston": "America/Jamaica", "lagos": "Africa/Lagos", "lima": "America/Lima", "lisbon": "Europe/Lisbon",
    "liverpool": "Europe/London", "london": "Europe/London", "los angeles": "America/Los_Angeles",
    "madrid": "Europe/Madrid", "manchester": "Europe/London", "manila": "Asia/Manila", "marseille": "Europe/Paris",
    "melbourne": "Australia/Melbourne", "mexico city": "America/Mexico_City", "miami": "America/New_York",
    "milan": "Europe/Rome", "montreal": "America/Toronto", "moscow": "Europe/Moscow", "mumbai": "Asia/Kolkata",
    "munich": "Europe/Berlin", "nairobi": "Africa/Nairobi", "naples": "Europe/Rome", "new york": "America/New_York",
    "nice": "Europe/Paris", "osaka": "Asia/Tokyo", "oslo": "Europe/Oslo", "ottawa": "America/Toronto",
    "oxford": "Europe/London", "panama city": "America/Panama", "paris": "Europe/Paris", "perth": "Australia/Perth",
    "philadelphia": "America/New_York", "phoenix": "America/Phoenix", "portland": "America/Los_Angeles",
    "prague": "Europe/Prague", "quito": "America/Guayaquil", "reykjavik": "Atlantic/Reykjavik", "riga": "Europe/Riga",
    "rio de janeiro": "America/Sao_Paulo", "rome": "Europe/Rome", "rotterdam": "Europe/Amsterdam",
    "san francisco": "America/Los_Angeles", "santiago": "America/Santiago", "seattle": "America/Los_Angeles",
    "seoul": "Asia/Seoul", "shanghai": "Asia/Shanghai", "singapore": "Asia/Singapore", "sofia": "Europe/Sofia",
    "stockholm": "Europe/Stockholm", "sydney": "Australia/Sydney", "tallinn": "Europe/Tallinn",
    "tehran": "Asia/Tehran", "tokyo": "Asia/Tokyo", "toronto": "America/Toronto", "tunis": "Africa/Tunis",
    "vancouver": "America/Vancouver", "venice": "Europe/Rome", "vienna": "Europe/Vienna", "warsaw": "Europe/Warsaw",
    "washington": "America/New_York", "zagreb": "Europe/Zagreb", "zurich": "Europe/Zurich",
}  # fmt: skip
"""City -> IANA time zone."""
