"""Units of measurement: what a written unit is worth in the unit its kind is compared in.

Symbols are read with their case (MB is not mb), words without. Months and years have no fixed length and are kinds of
their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Unit:
    """A value of it is ``(value - zero) * worth`` of ``kind``, the unit of comparison ("" for a bare number)."""

    kind: str
    worth: Fraction = Fraction(1)
    zero: Fraction = Fraction(0)


_WORTH = {
    "": {"%, percent, per cent, pct": "1/100"},
    "m": {
        "m, metre, metres, meter, meters": "1",
        "km, kilometre, kilometres, kilometer, kilometers, kms": "1000",
        "cm, centimetre, centimetres, centimeter, centimeters": "1/100",
        "mm, millimetre, millimetres, millimeter, millimeters": "1/1000",
        "μm, micrometre, micrometres, micrometer, micrometers": "1/1000000",
        "nm, nanometre, nanometres, nanometer, nanometers": "1/1000000000",
        "mi, mile, miles": "1609.344",
        "yd, yard, yards": "0.9144",
        "ft, foot, feet": "0.3048",
        "in, inch, inches": "0.0254",
    },
    "kg": {
        "kg, kilogram, kilograms, kilogramme, kilogrammes, kilo, kilos": "1",
        "g, gram, grams, gramme, grammes": "1/1000",
        "mg, milligram, milligrams": "1/1000000",
        "t, tonne, tonnes, metric ton, metric tons": "1000",
        "lb, lbs": "0.45359237",
        "oz, ounce, ounces": "0.028349523125",
    },
    "s": {
        "s, sec, secs, second, seconds": "1",
        "ms, millisecond, milliseconds": "1/1000",
        "min, mins, minute, minutes": "60",
        "h, hr, hrs, hour, hours": "3600",
        "d, day, days": "86400",
        "week, weeks": "604800",
    },
    "years": {
        "year, years, yr, yrs": "1",
        "decade, decades": "10",
        "century, centuries": "100",
        "millennium, millennia": "1000",
    },
    "m2": {
        "m2, m^2, sq m, square metre, square metres, square meter, square meters": "1",
        "km2, km^2, sq km, square kilometre, square kilometres, square kilometer, square kilometers": "1000000",
        "ha, hectare, hectares": "10000",
        "acre, acres": "4046.8564224",
        "mi2, mi^2, sq mi, square mile, square miles": "2589988.110336",
    },
    "l": {
        "l, L, litre, litres, liter, liters": "1",
        "ml, mL, millilitre, millilitres, milliliter, milliliters": "1/1000",
        "m3, m^3, cubic metre, cubic metres, cubic meter, cubic meters": "1000",
    },
    "m/s": {
        "m/s, metres per second, meters per second": "1",
        "km/h, kph, kmh, kilometres per hour, kilometers per hour": "5/18",
        "mph, miles per hour": "0.44704",
    },
    "B": {
        "B, byte, bytes": "1",
        "kB, KB, kilobyte, kilobytes": "1000",
        "MB, megabyte, megabytes": "1000000",
        "GB, gigabyte, gigabytes": "1000000000",
        "TB, terabyte, terabytes": "1000000000000",
        "KiB": "1024",
        "MiB": "1048576",
        "GiB": "1073741824",
    },
    "W": {
        "W, watt, watts": "1",
        "kW, kilowatt, kilowatts": "1000",
        "MW, megawatt, megawatts": "1000000",
        "GW, gigawatt, gigawatts": "1000000000",
    },
    "J": {
        "J, joule, joules": "1",
        "kJ, kilojoule, kilojoules": "1000",
        "kcal, kilocalorie, kilocalories": "4184",
        "kWh": "3600000",
    },
    "Hz": {"Hz, hertz": "1", "kHz, kilohertz": "1000", "MHz, megahertz": "1000000", "GHz, gigahertz": "1000000000"},
    "usd": {"$, US$, USD, dollar, dollars, us dollar, us dollars": "1", "cent, cents": "1/100"},
    "eur": {"€, EUR, euro, euros": "1"},
    "gbp": {"£, GBP": "1"},
    "yen or yuan": {"¥": "1"},
    "inr": {"₹, INR, rupee, rupees": "1"},
}
"""For each kind, what its units are worth."""
_UNITS = {
    name: Unit(kind, Fraction(worth))
    for kind, units in _WORTH.items()
    for names, worth in units.items()
    for name in names.split(", ")
} | {
    name: Unit("°C", worth, zero)
    for names, worth, zero in (
        ("°C, celsius, degrees celsius, degrees centigrade", Fraction(1), Fraction(0)),
        ("°F, fahrenheit, degrees fahrenheit", Fraction(5, 9), Fraction(32)),
        ("K, kelvin, kelvins", Fraction(1), Fraction("273.15")),
    )
    for name in names.split(", ")
}
KINDS = frozenset(known.kind for known in _UNITS.values())
"""The units of comparison; "" is that of bare numbers."""
CURRENCIES = ("US$", "$", "€", "£", "¥", "₹", "USD", "EUR", "GBP", "INR")
"""What may stand before a number."""


def unit(name: str) -> Unit | None:
    """The unit so written, or None when it is none that is listed here."""
    found = _UNITS.get(name)
    if found is None and len(name) > 1:
        found = _UNITS.get(name.casefold())
    return found
